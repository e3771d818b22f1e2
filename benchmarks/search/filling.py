"""Documents and memories enough for searches to be measured, of words as often as words are."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import insert, text

from agentvine.db.base import table_of
from agentvine.db.session import Database
from agentvine.domains.agents.enums import AgentType
from agentvine.domains.agents.models import Agent, AgentMemory
from agentvine.domains.identity.models import User
from agentvine.domains.knowledge.enums import DocumentType
from agentvine.domains.knowledge.models import ContextDocument
from agentvine.domains.projects.models import Project
from agentvine.kit.ids import new_id

PROJECTS = 20
AGENTS = 50
_BATCH = 1000


@dataclass
class Language:
    """Words that come as often as in English once the fifty commonest are passed over.

    Those are not in the queries, either: both databases pass over them.
    """

    seed: int = 1
    chance: random.Random = field(init=False)
    words: list[str] = field(init=False)
    _weights: list[float] = field(init=False)

    def __post_init__(self) -> None:
        """Make the words up."""
        self.chance = random.Random(self.seed)
        syllables = [a + b for a in "bcdfglmnprstv" for b in "aeiou"]
        made = {"".join(self.chance.choices(syllables, k=number % 3 + 2)) for number in range(9000)}
        self.words = sorted(made)
        self.chance.shuffle(self.words)
        self._weights = list(itertools.accumulate(1 / (rank + 50) for rank in range(len(made))))

    def say(self, count: int) -> str:
        """So many words."""
        return " ".join(self.chance.choices(self.words, cum_weights=self._weights, k=count))


@dataclass(frozen=True)
class Filled:
    """What is there."""

    projects: list[Project]
    agents: list[Agent]


async def fill(
    database: Database,
    language: Language,
    *,
    documents: int,
    memories: int,
    agents: int,
    words: tuple[int, int] = (150, 1200),
) -> Filled:
    """Make projects and agents, and give them documents of so many words, and memories."""
    async with database.transaction() as tx:
        owner = User(username="bench", email="bench@example.org", password_hash="-")
        tx.add(owner)
        await tx.flush()
        projects = [Project(name=f"project {n}", owner_id=owner.id) for n in range(PROJECTS)]
        tx.add_all(projects)
        await tx.flush()
        team = [
            Agent(name=f"agent {n}", type=AgentType.CODER, project_id=projects[n % PROJECTS].id)
            for n in range(agents)
        ]
        tx.add_all(team)
        await tx.flush()
    made = Filled(projects, team)
    for model, rows in (
        (ContextDocument, _documents(language, made, documents, words)),
        (AgentMemory, _memories(language, made, memories)),
    ):
        while batch := list(itertools.islice(rows, _BATCH)):
            async with database.transaction() as tx:
                await tx.execute(insert(table_of(model)), batch)
    async with database.transaction() as tx:
        await tx.execute(text("ANALYZE"))
    return made


def _documents(
    language: Language, made: Filled, count: int, words: tuple[int, int]
) -> Iterator[dict[str, object]]:
    kinds = list(DocumentType)
    for number in range(count):
        yield {
            "id": new_id(),
            "title": language.say(5),
            "document_type": kinds[number % len(kinds)],
            "content": language.say(language.chance.randint(*words)),
            "tags": [f"tag{number % 30}"],
            "metadata": {},
            "version": 1,
            "project_id": made.projects[number % PROJECTS].id,
        }


def _memories(language: Language, made: Filled, count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        agent = made.agents[number % len(made.agents)]
        yield {
            "id": new_id(),
            "agent_id": agent.id,
            "project_id": agent.project_id if number % 3 else None,
            "category": f"category {number % 10}",
            "key": f"{language.say(3)} {number}",
            "value": {"text": language.say(25)},
            "importance": number % 10 + 1,
        }
