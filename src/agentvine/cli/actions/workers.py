"""What ``agentvine worker`` does."""

import uuid
from collections.abc import Sequence

from pydantic import SecretStr

from agentvine.cli import resolve
from agentvine.cli.lazy import load
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.kit.clock import SystemClock
from agentvine.kit.lifeline import stop_without_parent
from agentvine.kit.logs import configure_logging
from agentvine.protocol.enums import CapabilityLevel, TaskType
from agentvine.protocol.runs import RunLimits
from agentvine.protocol.workers import EnrolmentCreateIn, EnrolmentOut, RuntimeLimit, WorkerOut


async def work(
    session: Session,
    *,
    name: str | None,
    types: Sequence[TaskType],
    runtimes: Sequence[str],
    capabilities: Sequence[tuple[str, CapabilityLevel]],
    queues: Sequence[str],
    concurrency: int,
    drain_timeout: float | None,
    enrolment: str | None,
    parent: int | None,
) -> int:
    """Be a worker until told to stop."""
    settings = session.settings
    configure_logging(level=settings.log_level, as_json=settings.log_json)
    connection = session.connection
    config = load(session.parts.worker_config)(
        server_url=connection.url,
        token=SecretStr(connection.token),
        enrolment=SecretStr(enrolment or ""),
        # A token that somebody named is meant; one that merely lies about is not.
        prefers_own_key=not (session.options.token or settings.token.get_secret_value()),
        data_dir=settings.data_dir,
        name=name or "",
        accepts=tuple(types),
        runtimes=tuple(runtimes),
        capabilities=dict(capabilities),
        queues=tuple(queues) or ("default",),
        concurrency=concurrency,
        drain_timeout_seconds=drain_timeout,
        max_log_bytes=settings.worker.max_log_mib * 2**20,
        answer_wait_seconds=settings.worker.answer_wait_seconds,
        max_cache_bytes=settings.worker.cache_mib * 2**20,
        leftover_seconds=settings.worker.leftover_days * 86_400,
        minimum_containment=settings.worker.minimum_containment,
        limits=RunLimits.model_validate(
            settings.worker.model_dump(include=set(RunLimits.model_fields))
        ),
    )
    with stop_without_parent(parent):
        return await load(session.parts.run_worker)(config)


async def list_workers(session: Session, *, limit: int | None) -> None:
    """All workers."""
    columns = [
        Column[WorkerOut]("name", lambda row: row.name),
        Column[WorkerOut](
            "status", lambda row: "draining" if row.is_draining else row.status.value
        ),
        Column[WorkerOut]("takes", lambda row: row.accepts or "all"),
        Column[WorkerOut]("runtimes", lambda row: row.runtimes),
        Column[WorkerOut]("slots", lambda row: row.max_concurrent_tasks),
        Column[WorkerOut]("seen", lambda row: row.last_heartbeat_at),
        Column[WorkerOut]("id", lambda row: row.id),
    ]
    rows = await resolve.collect(session.client.workers.list(), limit)
    session.out.table(rows, columns, nothing="No worker has come yet; start `agentvine worker`.")


async def show(session: Session, *, name: str) -> None:
    """One worker."""
    row = await resolve.find_worker(session, name)
    now = SystemClock().now()
    session.out.record(
        row,
        [
            ("worker", row.name),
            ("id", row.id),
            ("status", row.status.value),
            ("draining", row.is_draining or None),
            ("takes", row.accepts or "all kinds of task"),
            ("runtimes", row.runtimes),
            ("waits for", [_waits(each) for each in row.limited_runtimes if each.until > now]),
            ("queues", row.queues),
            ("knows", [_skill(item) for item in row.capabilities]),
            ("slots", row.max_concurrent_tasks),
            ("holds runs by", _containment(row)),
            ("sandbox", _sandbox(row)),
            ("machine", row.hostname),
            ("version", row.version),
            ("seen", row.last_heartbeat_at),
        ],
    )


async def invite(
    session: Session,
    *,
    name: str,
    types: Sequence[TaskType],
    queues: Sequence[str],
    projects: Sequence[str],
    expires_in: int,
) -> None:
    """Invite a worker."""
    body = EnrolmentCreateIn(
        name=name,
        types=list(types),
        queues=list(queues),
        project_ids=[await resolve.project_id(session, project) for project in projects],
        expires_in_minutes=max(1, expires_in // 60),
    )
    made = await session.client.workers.invite(body)
    session.out.done(made.token, made)
    session.out.note(
        "Shown this once, and good for one worker: agentvine worker "
        f"--server {session.connection.url} --enrol {made.info.prefix}_..."
    )


async def invitations(session: Session, *, limit: int | None) -> None:
    """All invitations."""
    columns = [
        Column[EnrolmentOut]("name", lambda row: row.name),
        Column[EnrolmentOut]("begins with", lambda row: row.prefix),
        Column[EnrolmentOut]("for", lambda row: row.scopes or "all work"),
        Column[EnrolmentOut]("worker", lambda row: row.worker_name),
        Column[EnrolmentOut]("made", lambda row: row.created_at),
        Column[EnrolmentOut]("used", lambda row: row.used_at),
        Column[EnrolmentOut]("withdrawn", lambda row: row.revoked_at),
        Column[EnrolmentOut]("id", lambda row: row.id),
    ]
    rows = await resolve.collect(session.client.workers.invitations(), limit)
    session.out.table(rows, columns, nothing="Nobody was invited; `agentvine worker invite`.")


async def withdraw(session: Session, *, invitation: uuid.UUID) -> None:
    """Withdraw an invitation."""
    await session.client.workers.withdraw(invitation)
    session.out.done("nobody can come by it any more", {"withdrawn": invitation})


async def revoke(session: Session, *, name: str, yes: bool) -> None:
    """End a worker's key."""
    row = await resolve.find_worker(session, name)
    session.confirm(f"End the key of {row.name}, and give what it runs to others?", yes=yes)
    row = await session.client.workers.revoke(row.id)
    session.out.done(f"the key of {row.name} is not good any more", row)


async def drain(session: Session, *, name: str) -> None:
    """Let a worker finish."""
    row = await resolve.find_worker(session, name)
    row = await session.client.workers.drain(row.id)
    session.out.done(f"{row.name} finishes what it runs and takes no more", row)


async def delete(session: Session, *, name: str, yes: bool) -> None:
    """Forget a worker."""
    row = await resolve.find_worker(session, name)
    session.confirm(f"Forget the worker {row.name}?", yes=yes)
    await session.client.workers.delete(row.id)
    session.out.done(f"{row.name} is forgotten", {"deleted": row.id})


def _waits(limit: RuntimeLimit) -> str:
    return f"the login of {limit.runtime}, until {limit.until:%Y-%m-%d %H:%M} UTC ({limit.reason})"


def _containment(row: WorkerOut) -> str | None:
    if row.isolation is None:
        return None
    told = "; ".join(f"no {level}: {why}" for level, why in row.isolation.problems.items())
    return f"{row.isolation.containment}{f' ({told})' if told else ''}"


def _sandbox(row: WorkerOut) -> str | None:
    if row.isolation is None:
        return None
    if row.isolation.has_sandbox:
        return "can be made"
    return f"none: {row.isolation.sandbox_problem}"


def _skill(item: object) -> str:
    if isinstance(item, dict):
        return ":".join(str(value) for value in item.values())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON of the server
    return str(item)
