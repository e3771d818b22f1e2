"""Searches find their rows by the index of words, and never look at all rows of a table."""

import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio
from sqlalchemy import select, update

from agentvine.db.session import Database, ReadSession
from agentvine.domains.agents import recall
from agentvine.domains.agents.recall import Asked
from agentvine.domains.identity.models import User
from agentvine.domains.knowledge import queries, rules
from agentvine.domains.knowledge.models import ContextDocument
from agentvine.domains.knowledge.queries import Wanted
from agentvine.domains.projects.enums import MemberRole
from agentvine.domains.projects.models import ProjectMember
from agentvine.kit.actor import SYSTEM, UserActor
from agentvine.kit.clock import SystemClock
from agentvine.kit.ids import new_id
from agentvine.kit.pagination import PageRequest
from agentvine.protocol.enums import TaskType
from benchmarks.search.filling import Filled, Language, fill
from tests.support.per_file import own_database
from tests.support.query_plans import plan_of, statements_of

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

ADMIN = UserActor(user_id=uuid.uuid4(), username="admin", role="admin")
BIG = ("agent_memory", "context_documents")

Search = Callable[[ReadSession, Filled, str], Awaitable[object]]


@dataclass(frozen=True)
class Library:
    database: Database
    made: Filled
    member: UserActor
    """Who sees some of the projects, and is no admin."""
    word: str
    """One that few rows have: for half of them a database would rightly read the whole table."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def library(
    shared_kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Library]:
    with own_database(shared_kind, tmp_path_factory.mktemp("library"), request) as settings:
        database = await Database.open(settings, SystemClock())
        try:
            language = Language()
            sizes = {"documents": 3000, "memories": 6000, "agents": 6, "words": (10, 30)}
            made = await fill(database, language, **sizes)
            yield Library(database, made, await a_member(database, made), language.words[2000])
        finally:
            await database.close()


async def a_member(database: Database, made: Filled) -> UserActor:
    async with database.transaction() as tx:
        member = User(username="member", email="member@example.org", password_hash="-")
        tx.add(member)
        await tx.flush()
        tx.add_all(
            ProjectMember(project_id=project.id, user_id=member.id, role=MemberRole.DEVELOPER)
            for project in made.projects[:6]
        )
    return UserActor(user_id=member.id, username="member", role="developer")


async def documents(read: ReadSession, made: Filled, word: str) -> object:
    return await queries.search_documents(read, ADMIN, word, Wanted(), limit=20)


async def documents_of_a_project(read: ReadSession, made: Filled, word: str) -> object:
    wanted = Wanted(project_id=made.projects[0].id)
    return await queries.search_documents(read, ADMIN, word, wanted, limit=20)


async def documents_for_a_run(read: ReadSession, made: Filled, word: str) -> object:
    about = rules.ForTask(
        project_id=made.projects[0].id,
        repository_id=None,
        task_type=TaskType.FEATURE,
        text=word,
    )
    return await rules.documents_for(read, SYSTEM, about)


async def memories(read: ReadSession, made: Filled, word: str) -> object:
    return await recall.recall(read, ADMIN, made.agents[0], Asked(text=word))


async def memories_for_a_run(read: ReadSession, made: Filled, word: str) -> object:
    asked = Asked(text=word, project_id=made.agents[0].project_id)
    return await recall.recall_for_run(read, SYSTEM, made.agents[0], asked)


async def most_important(read: ReadSession, made: Filled, word: str) -> object:
    return await recall.recall(read, SYSTEM, made.agents[0], Asked())


@pytest.mark.parametrize("search", [documents, documents_of_a_project, memories])
async def test_words_are_looked_up_in_their_index(library: Library, search: Search):
    with statements_of(library.database) as seen:
        async with library.database.read() as read:
            await search(read, library.made, library.word)
    plans = [await plan_of(library.database, *each) for each in seen if "_words" in each[0]]

    assert plans
    for plan in plans:
        if library.database.dialect.serialises_writers:
            assert "VIRTUAL TABLE INDEX" in plan, plan
        else:
            assert "Bitmap Index Scan on idx_" in plan, plan
            assert "_words" in plan, plan


@pytest.mark.parametrize(
    "search",
    [documents, documents_of_a_project, documents_for_a_run, memories, memories_for_a_run],
)
async def test_no_search_looks_at_all_rows(library: Library, search: Search):
    with statements_of(library.database) as seen:
        async with library.database.read() as read:
            await search(read, library.made, library.word)
    for each in seen:
        plan = await plan_of(library.database, *each)
        for table in BIG:
            assert not re.search(rf"(SCAN|Seq Scan on) {table}\b", plan), plan
            assert f"Seq Scan on {table}_words" not in plan, plan


async def test_of_several_projects_documents_are_found_by_their_words(library: Library):
    with statements_of(library.database) as seen:
        async with library.database.read() as read:
            await queries.search_documents(read, library.member, library.word, Wanted(), limit=20)
    plans = [await plan_of(library.database, *each) for each in seen]
    (plan,) = [each for each in plans if "_words" in each]
    for each in plans:
        assert not re.search(r"(SCAN|Seq Scan on) context_documents\b", each), each
    if library.database.dialect.serialises_writers:
        assert "VIRTUAL TABLE INDEX" in plan, plan
    else:
        assert "Bitmap Index Scan on idx_context_documents_words" in plan, plan


async def test_documents_with_a_rare_tag_are_found_by_its_index(library: Library):
    tag = f"rare-{new_id()}"
    wanted, page = Wanted(tags=[tag]), PageRequest(limit=20)
    async with library.database.transaction() as tx:
        one = select(ContextDocument.id).order_by(ContextDocument.id).limit(1).scalar_subquery()
        await tx.execute(
            update(ContextDocument).where(ContextDocument.id == one).values(tags=[tag])
        )
    with statements_of(library.database) as seen:
        async with library.database.read() as read:
            found = await queries.list_documents(read, ADMIN, page, wanted)
    assert len(found.items) == 1
    (plan,) = [await plan_of(library.database, *each) for each in seen]
    # SQLite has no index of what is in lists.
    if not library.database.dialect.serialises_writers:
        assert "idx_context_docs_tags" in plan, plan


async def test_the_most_important_memories_are_read_in_their_order(library: Library):
    with statements_of(library.database) as seen:
        async with library.database.read() as read:
            await most_important(read, library.made, library.word)
    (plan,) = [await plan_of(library.database, *each) for each in seen if "importance" in each[0]]

    assert "idx_agent_memory_importance" in plan, plan
    assert "TEMP B-TREE" not in plan, plan
