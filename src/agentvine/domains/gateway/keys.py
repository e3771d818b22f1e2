"""Keys of runs: made for a claim and for one use, and dead with the claim's fence.

One is for the gateway, another for our own tools; neither is good in the other's place. A key for
the gateway that was looked at is believed for half a second. So a run that lost its order, was
cancelled or ended cannot begin a call a second later, and what it has under way is cut off as soon.
"""

import asyncio
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import func, select

from agentvine.db.session import Database, ReadSession, Transaction
from agentvine.domains.agents.models import Agent
from agentvine.domains.executions.models import Execution
from agentvine.domains.identity import tokens
from agentvine.domains.identity.enums import TokenKind
from agentvine.domains.identity.errors import KeyMisplaced
from agentvine.domains.identity.models import ApiToken
from agentvine.domains.tasks.models import Task
from agentvine.domains.usage.calls import Payer
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.errors import LeaseLost
from agentvine.domains.work.models import WorkOrder
from agentvine.domains.workers.models import Worker
from agentvine.kit.actor import WorkerActor
from agentvine.kit.crypto import equal, hash_token
from agentvine.kit.errors import Unauthenticated

BELIEVED_SECONDS = 0.5
_MAX_KNOWN = 10_000
_DUMMY_HASH = hash_token("no such key")


class KeyInvalid(Unauthenticated):
    """There is no such key, or its run has ended."""

    code = "run_key_invalid"


@dataclass(frozen=True, slots=True)
class RunKey:
    """Who calls a model: a claim, and on whose account it goes."""

    token_id: uuid.UUID
    token_hash: str = field(repr=False)
    payer: Payer


@dataclass(frozen=True, slots=True)
class KeyedRun:
    """Whose key for our own tools it is: a run that lasts."""

    payer: Payer
    project_id: uuid.UUID
    task_id: uuid.UUID
    execution_id: uuid.UUID
    order_id: uuid.UUID
    fence: int
    worker: WorkerActor
    """Who does it; the key stands for this run, and for nothing else of the worker's."""


@dataclass(frozen=True, slots=True)
class _Known:
    key: RunKey
    seen_at: float
    """When it was last known to be good, on the monotonic clock."""


async def make_key(
    tx: Transaction, actor: WorkerActor, execution_id: uuid.UUID, order_id: uuid.UUID, fence: int
) -> tuple[str, Payer]:
    """A new key for the gateway, and on whose account it goes; an earlier one is dead.

    Raises:
        LeaseLost: The claim is not the caller's any more.
    """
    found = await _lock_claim(tx, actor, execution_id, order_id, fence)
    text = await tokens.issue_run_key(
        tx, work_order_id=order_id, fence=fence, worker_id=found.worker_id
    )
    return text, _payer(found)


async def find_payer(
    tx: Transaction, actor: WorkerActor, execution_id: uuid.UUID, order_id: uuid.UUID, fence: int
) -> Payer:
    """On whose account the calls of a claim go.

    Raises:
        LeaseLost: The claim is not the caller's any more.
    """
    return _payer(await _lock_claim(tx, actor, execution_id, order_id, fence))


async def make_tool_key(
    tx: Transaction, actor: WorkerActor, execution_id: uuid.UUID, order_id: uuid.UUID, fence: int
) -> str:
    """A new key for our own tools; an earlier one is dead.

    Raises:
        LeaseLost: The claim is not the caller's any more.
    """
    found = await _lock_claim(tx, actor, execution_id, order_id, fence)
    return await tokens.issue_run_key(
        tx,
        work_order_id=order_id,
        fence=fence,
        worker_id=found.worker_id,
        begins=tokens.TOOL_KEY,
    )


async def find_keyed_run(read: ReadSession, text: str) -> KeyedRun:
    """The run whose key for our own tools this is.

    Raises:
        KeyInvalid: It is nobody's, or its run has ended.
    """
    query = (
        _keys()
        .add_columns(
            WorkOrder.id.label("order_id"),
            WorkOrder.fence,
            Worker.id.label("worker_id"),
            Worker.token_id.label("worker_token_id"),
            Worker.name.label("worker_name"),
        )
        .join(Worker, Worker.id == WorkOrder.worker_id)
        .where(ApiToken.prefix == tokens.prefix_of_run_key(text, tokens.TOOL_KEY))
    )
    found = (await read.execute(query)).one_or_none()
    # The comparison runs for unknown prefixes too, so that time tells nothing.
    is_same = equal(found.token_hash if found else _DUMMY_HASH, hash_token(text))
    if found is None or not is_same:
        raise _invalid()
    return KeyedRun(
        payer=_payer(found),
        project_id=found.project_id,
        task_id=found.task_id,
        execution_id=found.execution_id,
        order_id=found.order_id,
        fence=found.fence,
        worker=WorkerActor(
            token_id=found.worker_token_id, token_name=found.worker_name, worker_id=found.worker_id
        ),
    )


async def _lock_claim(
    tx: Transaction, actor: WorkerActor, execution_id: uuid.UUID, order_id: uuid.UUID, fence: int
) -> Any:
    query = _claims().where(
        WorkOrder.id == order_id,
        WorkOrder.fence == fence,
        Execution.id == execution_id,
        Worker.token_id == actor.token_id,
    )
    found = (
        await tx.execute(
            query.add_columns(WorkOrder.worker_id)
            .join(Worker, Worker.id == WorkOrder.worker_id)
            .with_for_update(key_share=True, of=WorkOrder)
        )
    ).one_or_none()
    if found is None:
        raise LeaseLost("The order was taken back, cancelled, or has ended.")
    return found


@dataclass(slots=True)
class KeyDesk:
    """Knows which keys are good."""

    database: Database
    _known: dict[str, _Known] = field(default_factory=dict[str, _Known])
    _asking: dict[str, "asyncio.Task[RunKey]"] = field(
        default_factory=dict[str, "asyncio.Task[RunKey]"]
    )

    async def check(self, text: str) -> RunKey:
        """Who sends this key.

        Raises:
            KeyInvalid: Nobody does, or their claim is over.
            KeyMisplaced: It is another kind of token.
        """
        prefix = tokens.prefix_of_run_key(text)
        if prefix is None:
            raise (KeyMisplaced if text.startswith("av") else KeyInvalid)(
                "The gateway takes the key that a run is given for its models, and nothing else."
            )
        known = self._known.get(prefix)
        if known is None or self._now() - known.seen_at > BELIEVED_SECONDS:
            key = await self._ask(prefix)
        else:
            key = known.key
        if not equal(key.token_hash, hash_token(text)):
            raise _invalid()
        return key

    async def dead_among(self, token_ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
        """Those of some keys that are no longer good."""
        async with self.database.read() as read:
            query = _keys().where(ApiToken.id.in_(token_ids))
            good = {row.token_id for row in await read.execute(query)}
        return set(token_ids) - good

    async def _ask(self, prefix: str) -> RunKey:
        # Many calls of one run at once ask the database once.
        task = self._asking.get(prefix)
        if task is None:
            task = asyncio.create_task(self._look_up(prefix))
            self._asking[prefix] = task
            task.add_done_callback(lambda _: self._asking.pop(prefix, None))
        return await asyncio.shield(task)

    async def _look_up(self, prefix: str) -> RunKey:
        asked_at = self._now()
        async with self.database.read() as read:
            key = await _find_key(read, prefix)
        if key is None:
            self._known.pop(prefix, None)
            raise _invalid()
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[prefix] = _Known(key, asked_at)
        return key

    def _now(self) -> float:
        return self.database.clock.monotonic()


async def _find_key(read: ReadSession, prefix: str) -> RunKey | None:
    row = (await read.execute(_keys().where(ApiToken.prefix == prefix))).one_or_none()
    if row is None:
        return None
    return RunKey(row.token_id, row.token_hash, _payer(row))


def _claims() -> Any:
    """Claims that hold, and who pays; who is cancelled or told to stop spends nothing more."""
    agent_id = func.coalesce(Execution.agent_id, Task.assigned_to_agent_id)
    return (
        select(
            Task.created_by.label("user_id"),
            Task.project_id,
            agent_id.label("agent_id"),
            Agent.type.label("agent_type"),
            Task.id.label("task_id"),
            Execution.id.label("execution_id"),
            Task.conversation_id,
        )
        .select_from(WorkOrder)
        .join(Task, Task.id == WorkOrder.task_id)
        .join(Execution, Execution.id == WorkOrder.execution_id)
        .outerjoin(Agent, Agent.id == agent_id)
        .where(
            WorkOrder.status == OrderStatus.CLAIMED,
            WorkOrder.cancel_requested_at.is_(None),
            WorkOrder.stop_requested_at.is_(None),
        )
    )


def _keys() -> Any:
    """Keys that are good, and who pays."""
    return (
        _claims()
        .add_columns(ApiToken.id.label("token_id"), ApiToken.token_hash)
        .join(ApiToken, ApiToken.work_order_id == WorkOrder.id)
        .where(
            ApiToken.kind == TokenKind.GATEWAY,
            ApiToken.revoked_at.is_(None),
            ApiToken.fence == WorkOrder.fence,
        )
    )


def _payer(row: Any) -> Payer:
    return Payer(**{each.name: getattr(row, each.name, None) for each in fields(Payer)})


def _invalid() -> KeyInvalid:
    return KeyInvalid("The key is unknown, or the run that it was made for has ended.")
