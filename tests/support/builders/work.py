"""A queue with workers, at the level of commands: what the routes do, without HTTP."""

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, inspect, select, update

from agentvine.config.settings import QueueSettings
from agentvine.db.base import table_of
from agentvine.db.session import Database, Transaction
from agentvine.domains.executions import log_store
from agentvine.domains.executions.models import Execution
from agentvine.domains.identity.enums import TokenKind
from agentvine.domains.identity.last_use import LastUses
from agentvine.domains.identity.models import ApiToken
from agentvine.domains.identity.tokens import Credentials
from agentvine.domains.projects.models import Project
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import claiming, settling
from agentvine.domains.work.beats import Beats
from agentvine.domains.work.models import WorkOrder
from agentvine.domains.work.shortcuts import Shortcuts
from agentvine.domains.workers import service as worker_service
from agentvine.domains.workers.last_heard import LastHeard
from agentvine.kit.actor import WorkerActor
from agentvine.kit.ids import new_id, random_token
from agentvine.protocol.enums import ExecutionPhase, FailureClass
from agentvine.protocol.executions import LogBatchIn, LogLineIn
from agentvine.protocol.queue import (
    ClaimedOrder,
    ClaimIn,
    CompleteIn,
    ExecutionReport,
    FailIn,
    HeartbeatIn,
    Held,
    LeaseState,
    OrderOutcome,
    ReleaseIn,
)
from agentvine.protocol.tasks import TaskEditIn, TaskRun
from agentvine.protocol.workers import WorkerRegisterIn
from agentvine.reactions.shortcuts import BEAT, PLAIN
from tests.support.builders.identity import unique
from tests.support.builders.projects import Ground, make_ground
from tests.support.builders.tasks import make_task

SETTINGS = QueueSettings(retry_base_seconds=0, retry_jitter=0)
"""Retries without a pause: a test that is about the pause brings its own."""


def new_token() -> WorkerActor:
    """A worker's token, as commands see it; with the first worker it gets a row."""
    return WorkerActor(token_id=new_id(), token_name=unique("token"))


@dataclass
class Crew:
    """Somebody's project, its queue, and the workers that drain it."""

    ground: Ground
    queue_name: str
    settings: QueueSettings = SETTINGS
    draw: random.Random = field(default_factory=lambda: random.Random(7))
    takes_shortcuts: bool = True
    """Whether claims and completions first try the statements that do it all at once."""
    shortcuts: Shortcuts = field(init=False)
    beats: Beats = field(init=False)
    heard: LastHeard = field(init=False)
    tokens: dict[uuid.UUID, str] = field(default_factory=dict[uuid.UUID, str])
    """The texts of the tokens that have rows, by their ids."""

    def __post_init__(self) -> None:
        self.shortcuts = Shortcuts(self.database, self.settings, PLAIN)
        self.heard = LastHeard(self.database)
        uses = LastUses(self.database)
        self.beats = Beats(self.database, self.settings, BEAT, uses, self.heard)

    @property
    def database(self) -> Database:
        return self.ground.database

    async def enqueue(self, **fields: Any) -> uuid.UUID:
        """Make one task, queued; the id of its order. ``run_...`` fields go into its run."""
        (order_id,) = await self.enqueue_many(1, **fields)
        return order_id

    async def enqueue_many(self, count: int, **fields: Any) -> list[uuid.UUID]:
        """Make tasks in one transaction, each queued; the ids of their orders, oldest first."""
        run: dict[str, Any] = {"command": "true", "queue_name": self.queue_name}
        run |= {name[4:]: fields.pop(name) for name in list(fields) if name.startswith("run_")}
        async with self.ground.transaction() as tx:
            made = [
                await make_task(
                    tx, self.ground.owner, self.ground.repository, run=TaskRun(**run), **fields
                )
                for _ in range(count)
            ]
        async with self.database.read() as read:
            rows = await read.execute(
                select(WorkOrder.task_id, WorkOrder.id).where(
                    WorkOrder.task_id.in_([task.id for task in made])
                )
            )
            orders = {row.task_id: row.id for row in rows.all()}
        return [orders[task.id] for task in made]

    async def enqueue_copies(self, count: int, **fields: Any) -> list[uuid.UUID]:
        """Fill the queue by copying one task's rows: for thousands; the ids of the orders."""
        first = await self.order(await self.enqueue(**fields))
        task = await self.task_of(first.id)
        numbers = range(task.number + 1, task.number + count)
        copies = [row_of(task) | {"id": new_id(), "number": number} for number in numbers]
        orders = [
            row_of(first) | {"id": new_id(), "task_id": copy["id"], "rank": first.rank + number}
            for number, copy in enumerate(copies, 1)
        ]
        async with self.database.transaction() as tx:
            for table, rows in ((table_of(Task), copies), (table_of(WorkOrder), orders)):
                if rows:
                    await tx.execute(insert(table), rows)
            await tx.execute(
                update(Project)
                .where(Project.id == task.project_id)
                .values(next_task_number=task.number + count)
            )
        return [first.id, *(order["id"] for order in orders)]

    async def worker(self, name: str | None = None, **registration: Any) -> "Hand":
        """Register a worker with a token of its own."""
        hand = Hand(self, new_token(), name or unique("worker"), registration)
        await hand.register()
        return hand

    def credentials_of(self, actor: WorkerActor) -> Credentials:
        """What a worker shows of its token; nobody knows that of an actor without a row."""
        return Credentials.of(self.tokens.get(actor.token_id, "avw_unknown_token"))

    def add_token(self, tx: Transaction, actor: WorkerActor) -> None:
        """Give an actor's token its row."""
        prefix = f"avw_{random_token(6)}".replace("_", "x").replace("x", "_", 1)
        text = self.tokens[actor.token_id] = f"{prefix}_{random_token()}"
        shown = Credentials.of(text)
        tx.add(
            ApiToken(
                id=actor.token_id,
                kind=TokenKind.WORKER,
                name=actor.token_name,
                prefix=shown.prefix,
                token_hash=shown.token_hash,
                scopes=[],
            )
        )

    async def order(self, order_id: uuid.UUID) -> WorkOrder:
        """An order as it is now."""
        async with self.database.read() as read:
            return (
                await read.execute(select(WorkOrder).where(WorkOrder.id == order_id))
            ).scalar_one()

    async def task_of(self, order_id: uuid.UUID) -> Task:
        """The task of an order as it is now."""
        query = select(Task).join(WorkOrder, WorkOrder.task_id == Task.id)
        async with self.database.read() as read:
            return (await read.execute(query.where(WorkOrder.id == order_id))).scalar_one()

    async def executions_of(self, order_id: uuid.UUID) -> Sequence[Execution]:
        """The attempts at an order, oldest first."""
        query = select(Execution).where(Execution.work_order_id == order_id)
        async with self.database.read() as read:
            return (await read.scalars(query.order_by(Execution.fence))).all()

    async def change_order(self, order_id: uuid.UUID, **values: Any) -> None:
        """Change a row behind everybody's back, as only time could."""
        async with self.database.transaction() as tx:
            await tx.execute(update(WorkOrder).where(WorkOrder.id == order_id).values(**values))

    async def change_task(self, order_id: uuid.UUID, **values: Any) -> None:
        """Change the row of an order's task behind everybody's back."""
        task_id = (await self.order(order_id)).task_id
        async with self.database.transaction() as tx:
            await tx.execute(update(Task).where(Task.id == task_id).values(**values))

    async def edit_task(self, order_id: uuid.UUID, **fields: Any) -> None:
        """Edit an order's task as its owner would."""
        task_id = (await self.order(order_id)).task_id
        async with self.ground.transaction() as tx:
            task = await tasks.lock_task(tx, task_id)
            await task_service.edit_task(tx, task, TaskEditIn(**fields))

    async def cancel_task(self, order_id: uuid.UUID, reason: str = "") -> None:
        """Cancel an order's task as its owner would."""
        task_id = (await self.order(order_id)).task_id
        async with self.ground.transaction() as tx:
            await task_service.cancel_task(tx, await tasks.lock_task(tx, task_id), reason)

    async def let_lease_lapse(self, order_id: uuid.UUID) -> None:
        """What happens when nobody beats for a lease's time."""
        await self.change_order(order_id, lease_expires_at=long_ago())


@dataclass
class Hand:
    """A worker's process: says what a real one would, through the same commands."""

    crew: Crew
    actor: WorkerActor
    name: str
    registration: dict[str, Any]
    worker_id: uuid.UUID = field(default_factory=new_id)
    session_id: uuid.UUID = field(default_factory=new_id)

    async def register(self, *, held: Sequence[uuid.UUID] = ()) -> int:
        """Introduce this process; how many orders were freed."""
        wanted = {
            "runtimes": ["command"],
            "queues": [self.crew.queue_name],
            "max_concurrent_tasks": 10,
            **self.registration,
        }
        message = WorkerRegisterIn(
            name=self.name, session_id=self.session_id, held=list(held), **wanted
        )
        async with self.crew.database.transaction(self.actor) as tx:
            if self.actor.token_id not in self.crew.tokens:
                self.crew.add_token(tx, self.actor)
            worker = await worker_service.register_worker(tx, self.actor, message)
            freed = await claiming.take_back_from_earlier_process(
                tx,
                worker,
                still_held=message.held,
                settings=self.crew.settings,
                draw=self.crew.draw,
            )
        self.worker_id = worker.id
        return freed

    async def restart(self, *, held: Sequence[uuid.UUID] = ()) -> int:
        """The same worker in a new process."""
        self.session_id = new_id()
        return await self.register(held=held)

    async def claim(
        self, slots: int = 1, *, token: str | None = None, number: int | None = None
    ) -> list[ClaimedOrder]:
        """Ask once, without waiting; without a number, as a worker of 1.0 does."""
        message = ClaimIn(
            worker_id=self.worker_id,
            session_id=self.session_id,
            claim_token=token or random_token(24),
            slots=slots,
            number=number,
        )
        if self.crew.takes_shortcuts:
            quick = await self.crew.shortcuts.claim(self.actor, message)
            if quick is not None:
                return [grant.order() for grant in quick.granted]
        async with self.crew.database.transaction(self.actor) as tx:
            result = await claiming.claim_orders(tx, self.actor, message, self.crew.settings)
        return [grant.order() for grant in result.granted]

    async def claim_one(self) -> ClaimedOrder:
        """Claim the one order that must be there."""
        (order,) = await self.claim()
        return order

    async def beat(
        self, *orders: ClaimedOrder, phase: ExecutionPhase = ExecutionPhase.RUNNING
    ) -> list[LeaseState]:
        """One beat for some claims; what the server says of each."""
        held = [Held(order_id=order.order_id, fence=order.fence, phase=phase) for order in orders]
        message = HeartbeatIn(worker_id=self.worker_id, session_id=self.session_id, held=held)
        answer = None
        if self.crew.takes_shortcuts:
            shown = self.crew.credentials_of(self.actor)
            answer = await self.crew.beats.take_plain(shown, message)
        answer = answer or await self.crew.beats.take(self.actor, message)
        return [lease.state for lease in answer.leases]

    async def complete(self, order: ClaimedOrder, **report: Any) -> OrderOutcome:
        message = CompleteIn(
            order_id=order.order_id, fence=order.fence, report=ExecutionReport(**report)
        )
        if self.crew.takes_shortcuts:
            done = await self.crew.shortcuts.complete(self.actor, [message])
            if order.order_id in done:
                return done[order.order_id]
        async with self.crew.database.transaction(self.actor) as tx:
            return await settling.complete_order(tx, self.actor, message)

    async def fail(
        self,
        order: ClaimedOrder,
        failure_class: FailureClass = FailureClass.COMMAND_FAILED,
        message: str = "it went wrong",
        limit: Mapping[str, Any] | None = None,
        **report: Any,
    ) -> OrderOutcome:
        body = FailIn(
            **(limit or {}),
            order_id=order.order_id,
            fence=order.fence,
            failure_class=failure_class,
            message=message,
            report=ExecutionReport(**report),
        )
        async with self.crew.database.transaction(self.actor) as tx:
            return await settling.fail_order(
                tx, self.actor, body, self.crew.settings, self.crew.draw
            )

    async def release(self, order: ClaimedOrder) -> OrderOutcome:
        message = ReleaseIn(order_id=order.order_id, fence=order.fence)
        async with self.crew.database.transaction(self.actor) as tx:
            return await settling.release_order(
                tx, self.actor, message, self.crew.settings, self.crew.draw
            )

    async def log(
        self, order: ClaimedOrder, *messages: str, first_seq: int = 1, stream: str = "stdout"
    ) -> int:
        """Send lines; the highest number the server holds then."""
        batch = log_batch(order, *messages, first_seq=first_seq, stream=stream)
        async with self.crew.database.transaction(self.actor) as tx:
            return await log_store.append_lines(tx, self.actor, order.execution_id, batch)


def log_batch(
    order: ClaimedOrder, *messages: str, first_seq: int = 1, stream: str = "stdout"
) -> LogBatchIn:
    """A batch of lines, just written."""
    return LogBatchIn(
        order_id=order.order_id,
        fence=order.fence,
        stream=stream,
        first_seq=first_seq,
        lines=[LogLineIn(message=text, logged_at=datetime.now(UTC)) for text in messages],
    )


def row_of(entity: Task | WorkOrder) -> dict[str, Any]:
    """All columns of an entity, by their names in the table."""
    mapper = inspect(type(entity))
    return {column.name: getattr(entity, key) for key, column in mapper.columns.items()}


def long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


async def make_crew(database: Database, settings: QueueSettings = SETTINGS) -> Crew:
    """A project of its own, with a queue of its own."""
    return Crew(await make_ground(database), unique("queue"), settings)
