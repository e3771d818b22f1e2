"""Introducing the worker to the server, and what it can do."""

import asyncio
import os
import socket
import uuid
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version

import structlog

from agentvine.client import Client
from agentvine.kit.errors import Invalid
from agentvine.protocol.controls import WorkerControls
from agentvine.protocol.workers import WorkerRegisterIn
from agentvine.runtimes.base import RuntimeInfo
from agentvine.runtimes.noticing import look_for_signs
from agentvine.runtimes.registry import RuntimeNotUsable, RuntimeRegistry, detect_runtimes
from agentvine.runtimes.reports import report_on
from agentvine.worker.config import WorkerConfig
from agentvine.worker.heartbeat import Identity
from agentvine.worker.isolation import Isolation
from agentvine.worker.tools import WorkerTools

log = structlog.get_logger(__name__)

_TOLD_SINCE = {"isolation": 1, "controls": 2, "runtime_reports": 4}
"""The minor version of the protocol in which a worker began to tell of something."""
_FILES_SINCE = 5
"""And the one in which it began to tell, among what it can do to runs, that it takes files."""


async def look_for_runtimes(config: WorkerConfig, registry: RuntimeRegistry) -> list[RuntimeInfo]:
    """What is here of the runtimes to offer: of those asked for, or of all.

    Raises:
        RuntimeNotUsable: One that was asked for does not work here, or none does.
        RuntimeUnknown: One that was asked for does not exist.
    """
    found = await detect_runtimes(registry, config.runtimes)
    problems = [f"{info.name}: {info.problem}" for info in found if not info.is_available]
    if problems and (config.runtimes or len(problems) == len(found)):
        raise RuntimeNotUsable("Not usable on this machine: " + "; ".join(problems))
    return found


async def notice_runtimes(
    tools: WorkerTools,
    known: Sequence[RuntimeInfo],
    on_found: Callable[[Sequence[RuntimeInfo]], None],
) -> None:
    """See what is installed, removed or logged in while the worker works; it never returns.

    Args:
        tools: The worker's.
        known: What was found when it started.
        on_found: Told what there is, whenever that has changed.
    """
    names, seen = tools.config.runtimes, await asyncio.to_thread(look_for_signs)
    while True:
        await asyncio.sleep(tools.config.look_seconds)
        signs = await asyncio.to_thread(look_for_signs)
        if signs == seen:
            continue
        found = await detect_runtimes(tools.runtimes, names)
        if await asyncio.to_thread(look_for_signs) != signs:
            # It is being installed at this moment: look again when that is over.
            continue
        seen = signs
        usable = [info.name for info in found if info.is_available]
        # To offer none would be to offer all.
        if usable and found != known:
            log.info("worker.runtimes_changed", runtimes=usable)
            known = found
            on_found(found)


async def register(
    client: Client,
    config: WorkerConfig,
    *,
    session_id: uuid.UUID,
    runtimes: Sequence[RuntimeInfo],
    held: Iterable[uuid.UUID],
    isolation: Isolation,
) -> Identity:
    """Introduce this process; what the worker held otherwise goes back to the queue."""
    message = WorkerRegisterIn(
        name=config.name,
        session_id=session_id,
        version=version("agentvine"),
        hostname=socket.gethostname(),
        pid=os.getpid(),
        accepts=list(config.accepts),
        runtimes=[info.name for info in runtimes if info.is_available],
        queues=list(config.queues),
        capabilities=dict(config.capabilities),
        max_concurrent_tasks=config.concurrency,
        held=list(held),
    )
    controls = WorkerControls(
        can_pause=True,
        steers=[info.name for info in runtimes if info.takes_messages and info.is_available],
    )
    told = {
        "isolation": isolation.told,
        "controls": controls.model_copy(update={"takes_files": True}),
        "runtime_reports": [report_on(info) for info in runtimes],
    }
    try:
        answer = await client.workers.register(message.model_copy(update=told))
    except Invalid:
        if client.server_minor >= _FILES_SINCE:
            raise
        # An older server refuses what it does not know; which it is, its answer tells.
        told["controls"] = controls
        known = {
            name: value for name, value in told.items() if client.server_minor >= _TOLD_SINCE[name]
        }
        answer = await client.workers.register(message.model_copy(update=known))
    log.info("worker.registered", worker_id=str(answer.worker_id), released=answer.released)
    return Identity(
        worker_id=answer.worker_id,
        session_id=session_id,
        lease_seconds=answer.lease_seconds,
        heartbeat_seconds=answer.heartbeat_seconds,
        long_poll_seconds=answer.long_poll_seconds,
    )
