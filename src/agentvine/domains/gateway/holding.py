"""Orders that wait for a provider: held up while every key that could serve them has its limit.

Looked at when an order is made, when a key meets a limit, when providers are changed, and when the
time has come that a provider told. Where it told none, orders begin as ever.
"""

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import or_, select

from agentvine.db.session import Database, ReadSession, Transaction
from agentvine.domains.gateway.enums import ModelWire
from agentvine.domains.gateway.limits import UNTOLD, first_lifted
from agentvine.domains.gateway.models import ModelProvider, ProviderCredential
from agentvine.domains.gateway.queries import find_rules
from agentvine.domains.gateway.upstreams import read_keys, serving
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import holds
from agentvine.domains.work.holds import Waiting
from agentvine.domains.work.models import WorkOrder
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("gateway")
_BATCH = 500
_AGAIN_SECONDS = 10.0
"""For orders that were being made by what was known before a change."""
_SELDOM_SECONDS = 300.0
"""For what changes beside the keys, such as the model that a project names."""
_ONE_WIRE = {
    "claude-code": ModelWire.ANTHROPIC,
    "claude-agent-acp": ModelWire.ANTHROPIC,
    "codex": ModelWire.OPENAI,
    "codex-acp": ModelWire.OPENAI,
    "gemini": ModelWire.GEMINI,
    "qwen": ModelWire.OPENAI,
    "qwen-acp": ModelWire.OPENAI,
}
_WIRE_OF_MODEL = frozenset({"opencode", "aider", "mini-swe-agent"})
"""These ask for a model in its maker's language."""
_EITHER_WIRE = frozenset({"llm"})
"""Tries the one language, and then the other."""
RUNTIMES = frozenset(_ONE_WIRE) | _WIRE_OF_MODEL | _EITHER_WIRE
"""Whose runs call models through the gateway."""

_Need = tuple[uuid.UUID, uuid.UUID | None, str, str | None]


def wires_of(runtime: str, model: str | None) -> tuple[ModelWire, ...]:
    """In which languages a run may ask for a model."""
    if runtime in _ONE_WIRE:
        return (_ONE_WIRE[runtime],)
    if runtime in _EITHER_WIRE:
        return (ModelWire.ANTHROPIC, ModelWire.OPENAI)
    if runtime in _WIRE_OF_MODEL and model is not None:
        is_claude = model.startswith("claude")
        return (ModelWire.ANTHROPIC if is_claude else ModelWire.OPENAI,)
    return ()


async def hold_if_limited(tx: Transaction, order: WorkOrder, task: Task) -> None:
    """Hold up an order that is new, or new to what it asks for now."""
    waiting = holds.waiting_of(order, task)
    # One look at a small table decides for nearly all.
    if waiting is None or waiting.runtime not in RUNTIMES or not await _limited_places(tx, tx.now):
        return
    until = await _Needs(tx, tx.now).lifted_at(waiting)
    if until is not None and until >= waiting.available_at:
        await holds.hold(tx, [order.id], until)


@dataclass(slots=True)
class HoldingChores:
    """Level-triggered upkeep of the orders that wait for a provider."""

    database: Database
    _seen: Sequence[object] | None = None
    """What was known of all keys at the last whole look."""
    _due: float = 0.0
    """When to look at the orders again, by the monotonic clock."""

    async def look(self) -> int:
        """Hold up what is to be held up, and let go what is not. Returns 0: that was all.

        While all keys are as they were and no limit has ended, there is nothing to be done: only
        the keys are looked at then, however many orders wait, and the orders now and then.
        """
        async with self.database.read() as read:
            seen = await _state_of_keys(read, self.database.clock.now())
        now = self.database.clock.monotonic()
        is_new = seen != self._seen
        if is_new or now >= self._due:
            await self._look_at_orders()
            self._seen, self._due = seen, now + (_AGAIN_SECONDS if is_new else _SELDOM_SECONDS)
        return 0

    async def _look_at_orders(self) -> None:
        async with self.database.read() as read:
            places = await _limited_places(read, self.database.clock.now())
            if places:
                projects = None if None in places else {each for each in places if each}
                ids = await holds.list_waiting(read, RUNTIMES, projects)
            else:
                ids = await holds.list_held(read)
        for start in range(0, len(ids), _BATCH):
            await self._straighten(ids[start : start + _BATCH])

    async def _straighten(self, ids: Sequence[uuid.UUID]) -> None:
        async with self.database.read() as read:
            wrong = await _find_wrong(read, ids, self.database.clock.now())
        if wrong.ids:
            async with self.database.transaction(_ACTOR) as tx:
                await _put_right(tx, await _find_wrong(tx, wrong.ids, tx.now))


@dataclass(slots=True)
class _Wrong:
    """Orders that are held up and should not be, and the other way round."""

    free: list[uuid.UUID] = field(default_factory=list[uuid.UUID])
    held: dict[datetime, list[uuid.UUID]] = field(default_factory=dict[datetime, "list[uuid.UUID]"])

    @property
    def ids(self) -> list[uuid.UUID]:
        """All of them."""
        return [*self.free, *itertools.chain.from_iterable(self.held.values())]


async def _find_wrong(read: ReadSession, ids: Sequence[uuid.UUID], now: datetime) -> _Wrong:
    needs, wrong = _Needs(read, now), _Wrong()
    for order in await holds.read_waiting(read, ids):
        until = await needs.lifted_at(order)
        if until is None:
            wrong.free += [order.order_id] if order.is_held else []
        elif (order.is_held and until != order.available_at) or (
            not order.is_held and until >= order.available_at
        ):
            wrong.held.setdefault(until, []).append(order.order_id)
    return wrong


async def _put_right(tx: Transaction, wrong: _Wrong) -> None:
    for until, ids in wrong.held.items():
        await holds.hold(tx, ids, until)
    if wrong.free:
        await holds.let_go(tx, wrong.free)


class _Needs:
    """When the keys are good again that orders need; each kind of order is looked up once."""

    def __init__(self, read: ReadSession, now: datetime) -> None:
        """Look at this moment."""
        self._read = read
        self._now = now
        self._known: dict[_Need, datetime | None] = {}

    async def lifted_at(self, order: Waiting) -> datetime | None:
        """When the first of its keys is good again; None: one is, or nobody knows."""
        need = (order.project_id, order.agent_id, order.runtime, order.model)
        if need not in self._known:
            self._known[need] = await self._look_up(*need)
        return self._known[need]

    async def _look_up(
        self, project_id: uuid.UUID, agent_id: uuid.UUID | None, runtime: str, named: str | None
    ) -> datetime | None:
        rules = await find_rules(self._read, project_id, agent_id)
        model = named or rules.default_model
        rows = [
            row
            for wire in wires_of(runtime, model)
            for row in await read_keys(self._read, project_id, wire)
        ]
        # Which one an agent asks for that is told none, only it knows: any key may be the one.
        if model is not None:
            rows = serving(rows, rules.meant_by(model))
        return first_lifted([key for _, key in rows], self._now)


async def _limited_places(read: ReadSession, now: datetime) -> set[uuid.UUID | None]:
    """The projects that have a key with a limit whose end was told; None: all have."""
    query = (
        select(ModelProvider.project_id)
        .join(ProviderCredential, ProviderCredential.provider_id == ModelProvider.id)
        .where(
            ProviderCredential.limited_until > now,
            ProviderCredential.is_active.is_(True),
            or_(
                ProviderCredential.limit_reason.is_(None),
                ProviderCredential.limit_reason != UNTOLD,
            ),
        )
        .distinct()
    )
    return set((await read.scalars(query)).all())


async def _state_of_keys(read: ReadSession, now: datetime) -> Sequence[object]:
    """What decides about orders, of every provider and every key; another when a limit ends."""
    query = (
        select(
            ModelProvider.id,
            ModelProvider.is_active,
            ModelProvider.models,
            ProviderCredential.id,
            ProviderCredential.is_active,
            ProviderCredential.limited_until,
            ProviderCredential.limit_reason,
        )
        .join_from(
            ModelProvider,
            ProviderCredential,
            ProviderCredential.provider_id == ModelProvider.id,
            isouter=True,
        )
        .order_by(ModelProvider.id, ProviderCredential.id)
    )
    return [
        (*key, (until, reason) if until is not None and until > now else None)
        for *key, until, reason in (await read.execute(query)).all()
    ]
