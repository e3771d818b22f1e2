"""The worker's own key: made here, known to the server by its hash, kept beside the worker's work.

It is on disk before the server hears of it. So an answer that is lost loses nothing: the same key
is shown again, with the same invitation.
"""

import asyncio
from dataclasses import replace
from pathlib import Path

import structlog
from pydantic import BaseModel, SecretStr, ValidationError

from agentvine.client import Client, RetryPolicy
from agentvine.config.local_server import write_private
from agentvine.kit.crypto import hash_token
from agentvine.kit.errors import Invalid, Unavailable
from agentvine.kit.ids import random_token
from agentvine.protocol.workers import EnrolIn
from agentvine.worker.config import WorkerConfig

_PREFIX_BYTES = 6
_RETRY = RetryPolicy(base_seconds=0.5, cap_seconds=10.0)

log = structlog.get_logger(__name__)


class WorkerKeyMissing(Invalid):
    """The worker has nothing to show the server."""

    code = "worker_key_missing"


class WorkerKey(BaseModel):
    """A key, and the server that it is for."""

    server_url: str
    token: str
    is_enrolled: bool = False

    @property
    def prefix(self) -> str:
        """Its readable part."""
        return self.token[: self.token.find("_", 4)]


async def with_own_key(config: WorkerConfig, path: Path) -> WorkerConfig:
    """The same worker with the key it is to show; exchanged for its invitation where it has one.

    A token that was given wins over the own key; an invitation is used once, and may be left in a
    unit file: a worker that has its key does not look at it again.

    Raises:
        WorkerKeyMissing: It has neither a token, nor an invitation, nor a key of its own.
        EnrolmentInvalid: The invitation is not good.
    """
    key = _read(path, config.server_url)
    if key is not None and key.is_enrolled and config.prefers_own_key:
        return replace(config, token=SecretStr(key.token))
    if not config.enrolment.get_secret_value():
        if config.token.get_secret_value():
            return config
        raise WorkerKeyMissing(
            "Give it a token with --token, or an invitation with --enrol; an admin makes one with "
            "`agentvine worker invite`."
        )
    key = key or WorkerKey(server_url=config.server_url, token=_new_key())
    write_private(path, key.model_dump())
    await _enrol(config, key)
    write_private(path, key.model_copy(update={"is_enrolled": True}).model_dump())
    log.info("worker.enrolled", key=key.prefix)
    return replace(config, token=SecretStr(key.token))


async def _enrol(config: WorkerConfig, key: WorkerKey) -> None:
    message = EnrolIn(
        token=config.enrolment,
        worker_name=config.name,
        key_prefix=key.prefix,
        key_hash=hash_token(key.token),
    )
    failures = 0
    async with Client(config.server_url) as client:
        while True:
            try:
                await client.workers.enrol(message)
            except Unavailable as error:
                if failures == 0:
                    log.warning("worker.not_enrolled", code=error.code, problem=error.detail)
                await asyncio.sleep(_RETRY.pause(failures, error.retry_after))
                failures += 1
            else:
                return


def _read(path: Path, server_url: str) -> WorkerKey | None:
    """The key that is kept for this server."""
    try:
        key = WorkerKey.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return key if key.server_url == server_url else None


def _new_key() -> str:
    prefix = random_token(_PREFIX_BYTES).replace("_", "x").replace("-", "y")
    return f"avw_{prefix}_{random_token()}"
