"""Reads of what agents remember: lists, and what is of use for something now.

How useful a memory is comes from three things: how much of what is asked occurs in it (by the
database's rank, beside the best one's), its importance, and how long ago it was last told; after a
month that counts half. Memories are taken in this order while there is room for them.
"""

import json
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.agents import queries
from agentvine.domains.agents.models import MEMORY_WORDS, Agent, AgentMemory
from agentvine.domains.projects import queries as projects
from agentvine.kit.actor import Actor
from agentvine.kit.pagination import Page, PageRequest
from agentvine.kit.words import WordQuery, any_word, rough_tokens
from agentvine.protocol.memories import RECALL_TOKENS

_RELEVANCE, _IMPORTANCE, _RECENCY = 0.6, 0.25, 0.15
_HALF_LIFE_DAYS = 30.0
_LOOKED_AT = 200
_WORDS_OF_RUN = 20
"""Of a task's title and description, which says first what it is about; each one is looked for."""
_LOOKED_AT_FOR_RUN = 100
"""Three times as many as there is room for, most often."""
ALWAYS_TOLD = 9
"""From this importance on, a run is told it whatever it is about."""
_ALWAYS_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class Recalled:
    """A memory, and how useful it is."""

    memory: AgentMemory
    score: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Recall:
    """What had room, the most useful first."""

    items: Sequence[Recalled]
    left_out: int

    @property
    def tokens(self) -> int:
        """Of all of them."""
        return sum(each.tokens for each in self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is to be recalled."""

    text: str = ""
    """What it is about; empty: whatever is most important."""
    project_id: uuid.UUID | None = None
    """Of this project, and in general; None: of all."""
    category: str | None = None
    max_tokens: int = RECALL_TOKENS
    limit: int = _LOOKED_AT


def visible_memories(actor: Actor, agent: Agent) -> Select[AgentMemory]:
    """What an agent remembers, as far as the actor may see it; without what has expired."""
    seen = projects.visible_projects(actor)
    return select(AgentMemory).where(
        AgentMemory.agent_id == agent.id,
        AgentMemory.agent_id.in_(queries.visible_agents(actor)),
        or_(AgentMemory.project_id.is_(None), AgentMemory.project_id.in_(seen)),
    )


async def list_memories(
    read: ReadSession, actor: Actor, agent: Agent, page: PageRequest, asked: Asked
) -> Page[AgentMemory]:
    """What an agent remembers, oldest first; of a project, what it knows in general too."""
    query = visible_memories(actor, agent).where(*_conditions(read, asked))
    return await fetch_page(read, query, AgentMemory.id, page)


async def recall(read: ReadSession, actor: Actor, agent: Agent, asked: Asked) -> Recall:
    """What an agent remembers of something, as much as there is room for."""
    seen = visible_memories(actor, agent)
    words = any_word(asked.text)
    if words.is_empty:
        found = await _most_important(read, seen, asked, _LOOKED_AT)
    else:
        found = await _related(read, seen, agent, asked, words, _LOOKED_AT)
    return _with_room(_weighed(found), asked)


async def recall_for_run(
    read: ReadSession, actor: Actor, agent: Agent, asked: Asked
) -> Sequence[Recalled]:
    """What a run is told: what is most important anyway, then what has to do with its task."""
    seen = visible_memories(actor, agent)
    words = any_word(asked.text, _WORDS_OF_RUN)
    related = await _related(read, seen, agent, asked, words, _LOOKED_AT_FOR_RUN)
    known = {each.memory.id for each in related}
    important = await _most_important(read, seen, asked, _ALWAYS_LOOKED_AT)
    always = [
        each
        for each in important
        if each.memory.importance >= ALWAYS_TOLD and each.memory.id not in known
    ]
    weighed = _weighed([*related, *always])
    weighed.sort(key=lambda each: each.memory.importance < ALWAYS_TOLD)
    return _with_room(weighed, asked).items


def memory_text(memory: AgentMemory) -> str:
    """A memory's value as one reads it."""
    value = memory.value
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def usefulness(relevance: float, importance: int, age_days: float) -> float:
    """Between 0 and 1, of a relevance between 0 and 1 and an importance between 1 and 10."""
    recency = math.exp2(-max(0.0, age_days) / _HALF_LIFE_DAYS)
    return _RELEVANCE * relevance + _IMPORTANCE * importance / 10 + _RECENCY * recency


@dataclass(frozen=True, slots=True)
class _Found:
    memory: AgentMemory
    rank: float
    age_seconds: float


async def _related(
    read: ReadSession,
    seen: Select[AgentMemory],
    agent: Agent,
    asked: Asked,
    words: WordQuery,
    limit: int,
) -> list[_Found]:
    if words.is_empty:
        return []
    ranked = read.dialect.full_text.ranked(MEMORY_WORDS, words, {"agent_id": [agent.id]})
    query = (
        seen.add_columns(ranked.c.rank, _age(read))
        .join(ranked, ranked.c.ident == AgentMemory.id)
        .where(*_conditions(read, asked))
        .order_by(ranked.c.rank.desc(), AgentMemory.id.desc())
        .limit(limit)
    )
    return [_Found(memory, rank, age) for memory, rank, age in await read.execute(query)]


async def _most_important(
    read: ReadSession, seen: Select[AgentMemory], asked: Asked, limit: int
) -> list[_Found]:
    query = (
        seen.add_columns(_age(read))
        .where(*_conditions(read, asked))
        .order_by(AgentMemory.importance.desc(), AgentMemory.updated_at.desc())
        .limit(limit)
    )
    return [_Found(memory, 0.0, age) for memory, age in await read.execute(query)]


def _conditions(read: ReadSession, asked: Asked) -> list[ColumnElement[bool]]:
    now = read.dialect.now_sql()
    conditions = [or_(AgentMemory.expires_at.is_(None), AgentMemory.expires_at > now)]
    if asked.project_id is not None:
        mine = AgentMemory.project_id == asked.project_id
        conditions.append(or_(AgentMemory.project_id.is_(None), mine))
    if asked.category is not None:
        conditions.append(AgentMemory.category == asked.category)
    return conditions


def _age(read: ReadSession) -> ColumnElement[Any]:
    return read.dialect.seconds_between(
        AgentMemory.updated_at.expression, read.dialect.now_sql()
    ).label("age")


def _weighed(found: Sequence[_Found]) -> list[Recalled]:
    best = max((each.rank for each in found), default=0.0) or 1.0
    recalled = [
        Recalled(
            each.memory,
            usefulness(each.rank / best, each.memory.importance, each.age_seconds / 86400),
            rough_tokens(f"{each.memory.category} {each.memory.key} {memory_text(each.memory)}"),
        )
        for each in found
    ]
    return sorted(recalled, key=lambda each: each.score, reverse=True)


def _with_room(recalled: Sequence[Recalled], asked: Asked) -> Recall:
    """The first ones that fit; one that is too long does not keep out those after it."""
    kept: list[Recalled] = []
    room = asked.max_tokens
    for each in recalled:
        if len(kept) < asked.limit and each.tokens <= room:
            kept.append(each)
            room -= each.tokens
    return Recall(kept, len(recalled) - len(kept))
