"""The hot path where nothing is special: many claims, or many completions, in one statement each.

The long way through sessions and reactions costs a hundred times what the database needs. Almost
all claims and completions are plain, and for those one statement (``plain.py``) does all that the
long way does: the order, the assignment, and the parts that other slices add for their own tables.
What is not plain is left untouched by the statement, and goes the long way; so there is one place
for limits, pauses, changes, cancellations and retries, and every doubt is decided there.

What several workers ask while statements are under way goes into the next one together: beginning
a statement, and waiting for the disk at its end, cost more than what is done for one order.
"""

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from agentvine.config.settings import QueueSettings
from agentvine.db.direct import Row
from agentvine.db.engine import to_json
from agentvine.db.session import Database
from agentvine.domains.work import store
from agentvine.domains.work.claiming import ClaimResult, filter_for
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.grants import Grant
from agentvine.domains.work.plain import Plain
from agentvine.domains.work.statements import run
from agentvine.domains.workers import queries as workers
from agentvine.kit.actor import WorkerActor
from agentvine.kit.gathering import Gatherer
from agentvine.kit.ids import new_id
from agentvine.protocol.queue import ClaimIn, CompleteIn, OrderOutcome

_MAX_PROFILES = 10_000
PROFILE_SECONDS = 5.0
"""So long a worker may be taken for one that can still run what its login no longer lets it."""
_MOST_AT_ONCE = 200
"""Orders in one statement."""
_TURNS = 2
"""Statements of a kind under way: what comes meanwhile goes together."""
_WORTH_A_STATEMENT = 4
"""So many who ask: fewer are quicker served in one statement than in two at the same time."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a worker's process can take, as it was when it was last looked up."""

    session_id: uuid.UUID
    wanted: store.ClaimFilter
    until: float
    """On the monotonic clock: after that it is looked up again."""


@dataclass(frozen=True, slots=True)
class Claiming:
    """A claim on its way into the statement."""

    actor: WorkerActor
    message: ClaimIn
    wanted: store.ClaimFilter
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Completing:
    """Completions of one worker on their way into the statement."""

    actor: WorkerActor
    plain: Sequence[Mapping[str, object]]
    request_id: str | None


class Shortcuts:
    """Tries the statements; whoever gets None, or misses an order, goes the long way."""

    def __init__(self, database: Database, settings: QueueSettings, plain: Plain) -> None:
        """Prepare; nobody has asked yet."""
        self._database = database
        self._settings = settings
        self._plain = plain
        self._profiles: dict[uuid.UUID, Profile] = {}
        self._claims = Gatherer(
            self._claim_together,
            fits=_claims_fit,
            turns_at_once=_TURNS,
            worth_a_turn=_WORTH_A_STATEMENT,
        )
        self._completions = Gatherer(
            self._complete_together,
            fits=_completions_fit,
            turns_at_once=_TURNS,
            worth_a_turn=_WORTH_A_STATEMENT,
        )

    def learn(self, message: ClaimIn, wanted: store.ClaimFilter) -> None:
        """Remember what a worker can take, for a while: it changes with its logins' limits."""
        if len(self._profiles) >= _MAX_PROFILES:
            self._profiles.clear()
        until = self._database.clock.monotonic() + PROFILE_SECONDS
        self._profiles[message.worker_id] = Profile(message.session_id, wanted, until)

    async def _wanted_by(self, actor: WorkerActor, message: ClaimIn) -> store.ClaimFilter:
        profile = self._profiles.get(message.worker_id)
        clock = self._database.clock
        is_fresh = profile is not None and clock.monotonic() < profile.until
        if profile is not None and is_fresh and profile.session_id == message.session_id:
            return profile.wanted
        async with self._database.read() as read:
            worker = await workers.get_calling_worker(
                read, actor, message.worker_id, message.session_id
            )
            wanted = await filter_for(read, worker, actor, clock.now())
        self.learn(message, wanted)
        return wanted

    async def claim(self, actor: WorkerActor, message: ClaimIn) -> ClaimResult | None:
        """Claim in one statement; None when that is not for it to decide.

        Raises:
            WorkerNotFound: It is not registered, or not by this token.
            WorkerSuperseded: A later process of the same worker has registered.
        """
        if self._database.direct is None:
            return None
        wanted = await self._wanted_by(actor, message)
        if len(wanted.queues) != 1:
            return None
        rows = await self._claims.join(Claiming(actor, message, wanted, _request_id()))
        room = rows[0]["room"] if rows else None
        if room is None:
            return None
        if room <= 0:
            return ClaimResult([])
        granted = [self._granted(row) for row in rows if row["id"] is not None]
        return ClaimResult(granted, wanted, room)

    async def complete(
        self, actor: WorkerActor, messages: Sequence[CompleteIn]
    ) -> dict[uuid.UUID, OrderOutcome]:
        """Complete what is plain, in one statement; by order, and only what was done.

        Each order may be in it once.
        """
        plain = [plain for plain in map(values_of, messages) if plain is not None]
        if self._database.direct is None or not plain:
            return {}
        done = await self._completions.join(Completing(actor, plain, _request_id()))
        return {
            order_id: OrderOutcome(order_id=order_id, status=OrderStatus.COMPLETED)
            for order_id in done
        }

    async def _claim_together(self, claims: Sequence[Claiming]) -> Sequence[Sequence[Row]]:
        direct = self._database.direct
        assert direct is not None, "looked at before"
        rows = await run(self._plain.claim, direct, self.claim_values(claims))
        if rows is None:  # somebody's values are refused
            return [
                [] if len(claims) == 1 else (await self._claim_together([claim]))[0]
                for claim in claims
            ]
        self._tell({str(row["project_id"]) for row in rows if row["id"] is not None})
        answers: defaultdict[int, list[Row]] = defaultdict(list)
        for row in rows:
            answers[row["place"]].append(row)
        return [answers[place] for place in range(1, len(claims) + 1)]

    async def _complete_together(self, asked: Sequence[Completing]) -> Sequence[set[uuid.UUID]]:
        direct = self._database.direct
        assert direct is not None, "looked at before"
        rows = await run(self._plain.complete, direct, self.complete_values(asked))
        if rows is None:
            return [
                set() if len(asked) == 1 else (await self._complete_together([each]))[0]
                for each in asked
            ]
        self._tell({str(row["project_id"]) for row in rows})
        for row in rows:
            self._database.hints.publish("logs", str(row["execution_id"]))
        done = {row["id"] for row in rows}
        return [done & _orders_of(each) for each in asked]

    def claim_values(self, claims: Sequence[Claiming]) -> dict[str, Any]:
        """The parameters of claims that want the same."""
        wanted, messages = claims[0].wanted, [each.message for each in claims]
        fresh = range(sum(message.slots for message in messages))
        return self._callers([(each.actor, each.request_id) for each in claims]) | {
            "worker_ids": [message.worker_id for message in messages],
            "session_ids": [message.session_id for message in messages],
            "claim_tokens": [message.claim_token for message in messages],
            "numbers": [message.number for message in messages],
            "slots": [message.slots for message in messages],
            "lease": self._settings.lease_seconds,
            "queue": wanted.queues[0],
            "worker_types": list(wanted.worker_types) or None,
            "runtimes": list(wanted.runtimes),
            "sets": list(wanted.capability_sets),
            "newest_set": wanted.newest_set,
            "projects": list(wanted.projects) or None,
            "execution_ids": [new_id() for _ in fresh],
            "assignment_ids": [new_id() for _ in fresh],
        }

    def complete_values(self, asked: Sequence[Completing]) -> dict[str, Any]:
        """The parameters of many completions, from those of each."""
        plain = [values for each in asked for values in each.plain]
        callers = [(each.actor, each.request_id) for each in asked for _ in each.plain]
        columns = {name: [each[name] for each in plain] for name in plain[0]}
        return self._callers(callers) | columns | {"reason": self._plain.reason}

    def _callers(self, callers: Sequence[tuple[WorkerActor, str | None]]) -> dict[str, Any]:
        return {
            "now": self._database.clock.now(),
            "token_ids": [actor.token_id for actor, _ in callers],
            "labels": [actor.label for actor, _ in callers],
            "request_ids": [request_id for _, request_id in callers],
        }

    def _tell(self, projects: set[str]) -> None:
        # Executions are told of without their project.
        for project in {"", *projects} if projects else ():
            self._database.hints.publish("events", project)

    def _granted(self, row: Row) -> Grant:
        return Grant(
            order_id=row["id"],
            execution_id=row["execution_id"],
            fence=row["fence"],
            attempt=row["retry_count"] + 1,
            lease_seconds=self._settings.lease_seconds,
            payload=row["payload"],
        )


def _claims_fit(chosen: Sequence[Claiming], claim: Claiming) -> bool:
    # Two claims of one worker follow each other; those who want different things are asked apart.
    return (
        claim.wanted == chosen[0].wanted
        and all(each.message.worker_id != claim.message.worker_id for each in chosen)
        and sum(each.message.slots for each in (*chosen, claim)) <= _MOST_AT_ONCE
    )


def _completions_fit(chosen: Sequence[Completing], asked: Completing) -> bool:
    # Two reports about one order follow each other, too.
    orders = _orders_of(asked)
    return sum(len(each.plain) for each in (*chosen, asked)) <= _MOST_AT_ONCE and all(
        orders.isdisjoint(_orders_of(each)) for each in chosen
    )


def _orders_of(asked: Completing) -> set[object]:
    return {values["order_ids"] for values in asked.plain}


def _request_id() -> str | None:
    return structlog.contextvars.get_contextvars().get("request_id")


def values_of(message: CompleteIn) -> dict[str, object] | None:
    """The values of one completion; None when it is not plain."""
    report = message.report
    if report.change is not None:
        return None
    try:
        metrics = to_json(
            {
                **report.metrics,
                "duration_seconds": report.duration_seconds,
                "peak_memory_bytes": report.peak_memory_bytes,
            }
        )
    except ValueError:
        return None
    return {
        "order_ids": message.order_id,
        "fences": message.fence,
        "exit_codes": report.exit_code,
        "durations": round(report.duration_seconds),
        "metrics": metrics,
        "reports": report.model_dump_json(),
    }
