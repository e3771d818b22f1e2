"""Commands of the workers slice: register, beat, drain, retire."""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update

from agentvine.db.base import table_of
from agentvine.db.session import Transaction
from agentvine.domains.identity import history, tokens
from agentvine.domains.identity.models import ApiToken
from agentvine.domains.workers import enrolment
from agentvine.domains.workers.enums import WorkerStatus, WorkerType
from agentvine.domains.workers.errors import WorkerNameTaken, WorkerSuperseded
from agentvine.domains.workers.events import WorkerRetired
from agentvine.domains.workers.models import Worker, WorkerCapability
from agentvine.kit.actor import WorkerActor
from agentvine.kit.ids import new_id
from agentvine.protocol.workers import RuntimeLimit, WorkerRegisterIn

NEWS = "worker news"
"""The channel of the workers that should beat at once: something is to be told to them."""

_KEPT_SESSIONS = 20
"""So many earlier processes of a worker are known; the network holds no message back for longer."""


async def register_worker(tx: Transaction, actor: WorkerActor, wanted: WorkerRegisterIn) -> Worker:
    """Make a worker known, or take note that a known one was started anew.

    Raises:
        WorkerNameTaken: The name belongs to a worker with another token.
        WorkerNotAllowed: Its key is for another name, or for other work.
        WorkerSuperseded: A later process has registered: this message was held back or doubled.
    """
    wanted = enrolment.check_allowed(actor, wanted)
    worker, is_new = await _lock_or_make(tx, wanted)
    is_taken = not is_new and worker.deleted_at is None
    if is_taken and worker.token_id != actor.token_id:
        raise WorkerNameTaken(
            f"{wanted.name} was registered with another token; choose another name, or let an "
            "admin delete that worker.",
        )
    past_sessions = _past_sessions(worker, wanted.session_id)
    worker.token_id = actor.token_id
    worker.session_id = wanted.session_id
    worker.worker_type = _type_of(wanted)
    worker.status = WorkerStatus.IDLE
    worker.version = wanted.version
    worker.hostname = wanted.hostname
    worker.pid = wanted.pid
    worker.accepts = [kind.value for kind in wanted.accepts]
    worker.runtimes = wanted.runtimes
    worker.queues = wanted.queues
    worker.capabilities = [
        {"name": name, "level": level.value} for name, level in sorted(wanted.capabilities.items())
    ]
    worker.max_concurrent_tasks = wanted.max_concurrent_tasks
    isolation = wanted.isolation.model_dump(mode="json") if wanted.isolation else None
    controls = wanted.controls.model_dump(mode="json") if wanted.controls else None
    reports = [each.model_dump(mode="json") for each in wanted.runtime_reports or ()]
    worker.config = {
        **(worker.config or {}),
        "isolation": isolation,
        "controls": controls,
        "runtime_reports": reports,
        "past_sessions": past_sessions,
    }
    worker.is_draining = False
    worker.deleted_at = None
    worker.started_at = tx.now
    worker.last_heartbeat_at = tx.now
    await tx.flush()  # the capabilities refer to the worker
    await tx.execute(delete(WorkerCapability).where(WorkerCapability.worker_id == worker.id))
    for name, level in wanted.capabilities.items():
        tx.add(
            WorkerCapability(
                id=new_id(), worker_id=worker.id, capability_name=name, capability_level=level
            )
        )
    history.record(
        tx, "worker.registered", entity=("worker", worker.id), after={"name": worker.name}
    )
    await tx.flush()
    return worker


def _past_sessions(worker: Worker, session_id: uuid.UUID) -> list[str]:
    """The processes that this one is later than, newest last.

    A dead process's message that comes late would take the worker, and all that it runs, from the
    one that lives.
    """
    past: list[str] = (worker.config or {}).get("past_sessions") or []
    if str(session_id) in past:
        raise WorkerSuperseded(f"A newer process of {worker.name} has registered.")
    if worker.session_id is None or worker.session_id == session_id:
        return past
    return [*past, str(worker.session_id)][-_KEPT_SESSIONS:]


def _type_of(wanted: WorkerRegisterIn) -> WorkerType:
    return WorkerType(wanted.accepts[0]) if wanted.accepts else WorkerType.FEATURE


async def _lock_or_make(tx: Transaction, wanted: WorkerRegisterIn) -> tuple[Worker, bool]:
    # Two processes may introduce themselves by the same new name at once: the row decides.
    values = {
        "id": new_id(),
        "name": wanted.name,
        "worker_type": _type_of(wanted),
        "status": WorkerStatus.IDLE,
    }
    making = tx.dialect.upsert(table_of(Worker), values, keys=["name"])
    is_new = (await tx.execute(making.returning(Worker.id))).first() is not None
    query = select(Worker).where(Worker.name == wanted.name).with_for_update(key_share=True)
    return (await tx.execute(query)).scalar_one(), is_new


async def note_heartbeat(tx: Transaction, worker: Worker, *, held: int) -> None:
    """Keep a worker alive in people's eyes; leases are the queue's business."""
    worker.last_heartbeat_at = tx.now
    worker.status = WorkerStatus.BUSY if held else WorkerStatus.IDLE


def note_limit(worker: Worker, limit: RuntimeLimit, *, now: datetime) -> None:
    """Remember that a runtime's login on a worker takes no work before a time; the later holds."""
    known = {each.runtime: each for each in worker.limited_runtimes if each.until > now}
    before = known.get(limit.runtime)
    if before is None or before.until < limit.until:
        known[limit.runtime] = limit
    kept = {name: each.model_dump(mode="json", exclude={"runtime"}) for name, each in known.items()}
    worker.config = {**(worker.config or {}), "limited_runtimes": kept}


async def set_draining(tx: Transaction, worker: Worker, *, is_draining: bool) -> None:
    """Ask a worker to claim no more, or to go on."""
    worker.is_draining = is_draining
    tx.hint(NEWS, str(worker.id))
    action = "worker.drained" if is_draining else "worker.resumed"
    history.record(tx, action, entity=("worker", worker.id), after={"name": worker.name})


async def retire_worker(tx: Transaction, worker: Worker) -> None:
    """Forget a worker: its messages are refused from now on, and what it holds is freed."""
    worker.deleted_at = tx.now
    worker.status = WorkerStatus.OFFLINE
    worker.session_id = None
    tx.hint(NEWS, str(worker.id))
    history.record(tx, "worker.deleted", entity=("worker", worker.id), before={"name": worker.name})
    tx.emit(WorkerRetired(worker))


async def revoke_key(tx: Transaction, worker: Worker) -> None:
    """End the key that a worker came with; others that came with the same one are out, too."""
    token = await tx.get(ApiToken, worker.token_id) if worker.token_id else None
    if token is not None:
        await tokens.revoke_token(tx, token)


async def shut_out(tx: Transaction, worker: Worker) -> None:
    """A worker's key is not good any more: it is gone until it comes with another one."""
    worker.session_id = None
    worker.status = WorkerStatus.OFFLINE
    tx.hint(NEWS, str(worker.id))


async def mark_silent_workers_offline(tx: Transaction, *, silent_seconds: float) -> int:
    """Show workers as offline that have not been heard of."""
    gone = await tx.execute(
        update(Worker)
        .where(
            Worker.status.in_([WorkerStatus.IDLE, WorkerStatus.BUSY]),
            Worker.last_heartbeat_at < tx.now - timedelta(seconds=silent_seconds),
        )
        .values(status=WorkerStatus.OFFLINE)
        .returning(Worker.id)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())
