"""Plain claims and completions on SQLite: short statements for each order, in one transaction.

SQLite has one writer, and no statement there changes two tables. Starting one costs next to
nothing; what costs is the transaction, and the hop into a thread. So all that several workers ask,
claims and completions, goes into one block, one after the other, as if each had come alone.
"""

import uuid
from collections.abc import Generator, Mapping, Sequence
from typing import Any

import structlog

from agentvine.config.settings import QueueSettings
from agentvine.db import blocks
from agentvine.db.blocks import Statement, StatementRefused, Steps
from agentvine.db.direct import Row
from agentvine.db.rowwise import RowStatement, stored
from agentvine.db.session import Database
from agentvine.domains.work.asked import (
    MOST_AT_ONCE,
    Claiming,
    Completing,
    tell_of_claims,
    tell_of_completions,
)
from agentvine.domains.work.plain import Plain
from agentvine.kit.gathering import Gatherer
from agentvine.kit.ids import new_id

log = structlog.get_logger(__name__)

Asked = Claiming | Completing
_Answer = Generator[Statement, list[blocks.Row], list[dict[str, Any]]]

_CALLER = ("token_id", "label", "request_id")
_ASKED = ("worker_id", "session_id", "claim_token", "number", "slots", *_CALLER)
_ROOM = """
    SELECT least(asked.slots, w.max_concurrent_tasks - (
        SELECT count(*) FROM work_orders o WHERE o.worker_id = w.id AND o.status = 'claimed'
    ))
    FROM asked JOIN workers w ON w.id = asked.worker_id
    WHERE {may_claim} AND {nothing_is_new} AND NOT EXISTS (
        SELECT FROM work_orders o
        WHERE o.worker_id = w.id AND o.status = 'claimed' AND o.claim_token = asked.claim_token
    )
"""
_READY = """
    SELECT o.id, o.task_id, o.fence + 1, o.retry_count, o.runtime, o.payload,
        (SELECT t.project_id FROM tasks t WHERE t.id = o.task_id)
    FROM work_orders o WHERE {is_ready} ORDER BY o.rank, o.id LIMIT :room
"""
_FOUND = ("id", "task_id", "fence", "retry_count", "runtime", "payload", "project_id")
_CLAIMED = (*_FOUND, *_ASKED, "execution_id", "assignment_id")
_CLAIM = """
    UPDATE work_orders AS o SET {as_claimed}, execution_id = s.execution_id
    FROM claimed s WHERE o.id = s.id
"""
_NOTE = """
    UPDATE workers AS w SET updated_at = :now, {as_noted} FROM asked s WHERE w.id = s.worker_id
"""

_REPORTED = ("order_id", "fence", "exit_code", "duration_seconds", "metrics", "report", *_CALLER)
_OWN = """
    SELECT o.id, o.task_id, o.execution_id, o.worker_id, t.project_id, t.status
    FROM asked JOIN work_orders o ON {is_held} JOIN tasks t ON t.id = o.task_id
    WHERE ({order_guard}) AND ({task_guard})
"""
_HELD = ("id", "task_id", "execution_id", "worker_id", "project_id", "task_status")
_COMPLETED = (*_HELD, *_REPORTED)
_COMPLETE = """
    UPDATE work_orders AS o SET {as_completed} FROM completed own WHERE o.id = own.id
"""


class PlainRows:
    """Gathers what several workers ask into the next block."""

    def __init__(self, database: Database, settings: QueueSettings, described: Plain) -> None:
        """Prepare; nobody has asked yet."""
        self._database = database
        self._settings = settings
        self._reason = described.reason

        def made(name: str, sql: str, source: str, columns: Sequence[str]) -> RowStatement:
            return RowStatement(name, described.filled(sql), source, columns)

        self._room = made("room", _ROOM, "asked", _ASKED)
        self._ready = made("ready", _READY, "asked", ())
        self._note = made("note", _NOTE, "asked", _ASKED)
        self._own = made("own", _OWN, "asked", _REPORTED)
        self._of_claimed = [
            made(name, sql, "claimed", _CLAIMED)
            for name, sql in {"claimed": _CLAIM, **described.claimed}.items()
        ]
        self._of_completed = [
            made(name, sql, "completed", _COMPLETED)
            for name, sql in {"completed": _COMPLETE, **described.completed}.items()
        ]
        looks = (self._room, self._ready, self._note, self._own)
        self.statements = {
            each.name: each.sql for each in (*looks, *self._of_claimed, *self._of_completed)
        }
        self._asked = Gatherer(self._do_together, fits=_fit, turns_at_once=1)

    async def claim(self, claiming: Claiming) -> Sequence[Row]:
        """What a claim is granted: see ``Way``."""
        return await self._asked.join(claiming)

    async def complete(self, completing: Completing) -> Sequence[Row]:
        """What is completed: see ``Way``."""
        return await self._asked.join(completing)

    async def _do_together(self, asked: Sequence[Asked]) -> Sequence[Sequence[Row]]:
        answers: list[list[dict[str, Any]]] = []
        try:
            await self._database.run_block(self.steps(asked, answers), self.statements)
        except StatementRefused:  # somebody's values
            if len(asked) > 1:
                return [(await self._do_together([each]))[0] for each in asked]
            log.warning("shortcut.refused", exc_info=True)
            return [[]]
        hints = self._database.hints
        for each, rows in zip(asked, answers, strict=True):
            tell = tell_of_claims if isinstance(each, Claiming) else tell_of_completions
            tell(hints, rows)
        return answers

    def steps(self, asked: Sequence[Asked], answers: list[list[dict[str, Any]]]) -> Steps:
        """All of it, between BEGIN and COMMIT; ``answers`` is filled with what each is answered."""
        for each in asked:
            do = self._claim(each) if isinstance(each, Claiming) else self._complete(each)
            answers.append((yield from do))

    def _claim(self, claiming: Claiming) -> _Answer:
        asked = stored(self._claim_values(claiming))
        found = yield self._room.ask(asked)
        if not found:
            return []
        room: Any = found[0][0]
        # No room is no limit, in SQLite's LIMIT.
        ready = (yield self._ready.ask(asked | {"room": room})) if room > 0 else []
        if not ready:
            return [{"room": room, "id": None}]
        rows = [
            asked
            | dict(zip(_FOUND, row, strict=True))
            | {"room": room, "execution_id": new_id().hex, "assignment_id": new_id().hex}
            for row in ready
        ]
        yield self._note.write([asked])
        for part in self._of_claimed:
            yield part.write(rows)
        return [_with_ids(row) for row in rows]

    def _complete(self, completing: Completing) -> _Answer:
        caller = stored(self._caller(completing) | {"reason": self._reason})
        rows: list[dict[str, Any]] = []
        for values in completing.plain:
            asked = caller | stored(values)
            found = yield self._own.ask(asked)
            rows.extend(asked | dict(zip(_HELD, row, strict=True)) for row in found)
        for part in self._of_completed if rows else ():
            yield part.write(rows)
        return [_with_ids(row) for row in rows]

    def _claim_values(self, claiming: Claiming) -> dict[str, Any]:
        message, wanted = claiming.message, claiming.wanted
        return self._caller(claiming) | {
            "worker_id": message.worker_id,
            "session_id": message.session_id,
            "claim_token": message.claim_token,
            "number": message.number,
            "slots": message.slots,
            "lease": self._settings.lease_seconds,
            "queue": wanted.queues[0],
            "worker_types": wanted.worker_types or None,
            "runtimes": wanted.runtimes,
            "sets": wanted.capability_sets,
            "newest_set": wanted.newest_set,
            "projects": wanted.projects or None,
        }

    def _caller(self, asked: Asked) -> dict[str, Any]:
        return {
            "now": self._database.clock.now(),
            "token_id": asked.actor.token_id,
            "label": asked.actor.label,
            "request_id": asked.request_id,
        }


def _fit(chosen: Sequence[Asked], asked: Asked) -> bool:
    return sum(map(_size, (*chosen, asked))) <= MOST_AT_ONCE


def _size(asked: Asked) -> int:
    return asked.message.slots if isinstance(asked, Claiming) else len(asked.plain)


def _with_ids(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as the server takes it: ids are texts in SQLite."""
    ids = ("id", "execution_id", "project_id")
    return {**row, **{name: uuid.UUID(hex=row[name]) for name in ids}}
