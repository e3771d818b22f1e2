"""A server dies while a model answers in a plan's chat: the part is kept, each call is counted."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.kit.errors import Conflict
from agentvine.protocol.enums import BudgetScope
from agentvine.protocol.planning_chat import ChatSayIn, ChatState, PlanChatMessageOut, PlanChatOut
from agentvine.protocol.plans import PlanCreateIn
from agentvine.protocol.projects import RepositoryCreateIn
from agentvine.protocol.providers import ProviderCreateIn, ProviderKind
from agentvine.protocol.usage import BudgetCreateIn, BudgetOut, CallFilter, CallOut
from tests.support.fleet import Fleet
from tests.support.models import scripted_model
from tests.support.repositories import make_repo

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

MODEL = "claude-haiku-4-5"
SCRIPT = f"""
mode: sequence
usage: {{input: 1000, output: 100}}
turns:
  - {{text: "{"dig " * 400}", chunk: 4, pace: 0.5}}
  - text: Dig in spring.
  - text: Water in summer.
"""
LATER = timedelta(minutes=20)
"""By then an answer that nobody renews is known to be broken, and its call is counted."""


@pytest.fixture
async def fleet(database_settings: DatabaseSettings, tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path, database_settings)
    await fleet.prepare()
    await fleet.start_server()
    yield fleet
    fleet.stop()


class Talk:
    """A chat about a plan, whose calls a budget pays for."""

    def __init__(self, owner: Client, chat: PlanChatOut, budget: BudgetOut) -> None:
        self.owner = owner
        self.place = (chat.plan_id, chat.id)
        self._budget = budget

    async def messages(self) -> list[PlanChatMessageOut]:
        return (await self.owner.plan_chats.get(*self.place)).messages

    async def budget(self) -> BudgetOut:
        return await self.owner.budgets.get(self._budget.id)

    async def until_some_came(self) -> PlanChatMessageOut:
        """The answer, once some of it is kept."""
        while not (last := (await self.messages())[-1]).text:
            assert last.state is ChatState.ANSWERING, last.error
            await asyncio.sleep(0.05)  # the model speaks; nothing tells us
        return last

    async def heard(self, after: int) -> PlanChatMessageOut:
        """The message at this place, at its end."""
        async for item in self.owner.plan_chats.follow(*self.place, after=after):
            if isinstance(item, PlanChatMessageOut):
                return item
        pytest.fail("the stream ended before the answer did")

    async def calls_once_counted(self, count: int) -> list[CallOut]:
        """What was paid, once nothing is set aside any more."""
        while True:
            if not (await self.budget()).reserved_usd:
                break
            await asyncio.sleep(0.05)  # a chore counts what a dead server has left
        calls = (await self.owner.usage.calls(CallFilter()).page(limit=10)).items
        assert len(calls) == count
        return calls


async def begin(owner: Client, folder: Path, model_url: str) -> Talk:
    location = str(make_repo(folder / "repository").path)
    repository = await owner.repositories.create(RepositoryCreateIn(location=location))
    provider = ProviderCreateIn(
        name="scripted",
        kind=ProviderKind.ANTHROPIC,
        base_url=model_url,
        models=[MODEL],
        key=SecretStr("sk-canary-0123456789"),
    )
    await owner.providers.create(provider)
    amount = BudgetCreateIn(
        name="plans",
        scope=BudgetScope.PROJECT,
        project_id=repository.project_id,
        amount_usd=Decimal(5),
    )
    budget = await owner.budgets.create(amount)
    plan = await owner.plans.create(PlanCreateIn(repository_id=repository.id, name="beds"))
    return Talk(owner, await owner.plan_chats.open(plan.id), budget)


async def test_an_answer_that_a_kill_broke_is_shown_as_a_part_and_the_dialogue_goes_on(
    fleet: Fleet, tmp_path: Path
):
    async with scripted_model(SCRIPT) as model, fleet.client() as owner, asyncio.timeout(200):
        talk = await begin(owner, tmp_path, model.url)
        await owner.plan_chats.say(*talk.place, ChatSayIn(text="When?", model=MODEL))
        part = await talk.until_some_came()
        fleet.kill(fleet.server)

        await fleet.start_server()
        # Another server might be making it still: nobody takes its place for a while.
        [asked, left] = await talk.messages()
        assert (asked.text, left.id, left.state) == ("When?", part.id, ChatState.ANSWERING)
        assert left.text.startswith(part.text)
        with pytest.raises(Conflict, match="still answers"):
            await owner.plan_chats.again(*talk.place)
        assert (await talk.budget()).reserved_usd > 0
        assert len(model.requests) == 1, "nobody asks again by himself"

        fleet.kill(fleet.server)
        fleet.launch_server(wrong_by_seconds=LATER.total_seconds())
        await fleet.until_ready()
        [_, broken] = await talk.messages()
        assert (broken.text, broken.state) == (left.text, ChatState.INTERRUPTED)
        await owner.plan_chats.again(*talk.place)
        whole = await talk.heard(after=2)
        await owner.plan_chats.say(*talk.place, ChatSayIn(text="And then?"))
        last = await talk.heard(after=4)

        assert (whole.state, whole.text) == (ChatState.COMPLETE, "Dig in spring.")
        assert (last.state, last.text) == (ChatState.COMPLETE, "Water in summer.")
        assert [row.state for row in await talk.messages()] == [
            *(ChatState.COMPLETE, ChatState.INTERRUPTED, ChatState.COMPLETE),
            *(ChatState.COMPLETE, ChatState.COMPLETE),
        ]
        assert len(model.requests) == 3
        retold = json.dumps(model.requests[2].body)
        assert "Dig in spring." in retold
        assert "dig dig" not in retold, "what broke off was no answer"

        # The broken call is in the books, as the most that it can have cost.
        calls = await talk.calls_once_counted(3)
        [estimated] = [call for call in calls if call.is_estimated]
        exact = [call for call in calls if not call.is_estimated]
        assert sorted(call.cost_usd for call in exact) == sorted([whole.cost_usd, last.cost_usd])
        assert estimated.cost_usd > whole.cost_usd
        assert (await talk.budget()).spent_usd == sum(call.cost_usd for call in calls)
