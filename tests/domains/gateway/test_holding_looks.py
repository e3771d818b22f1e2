"""The chore looks at waiting orders when their keys have changed, and not again and again."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.domains.gateway.enums import ProviderKind
from agentvine.domains.gateway.holding import HoldingChores
from agentvine.domains.gateway.limits import TOLD
from agentvine.domains.gateway.models import ModelProvider, ProviderCredential
from agentvine.domains.work import holds
from agentvine.kit.clock import ManualClock
from agentvine.kit.ids import new_id
from agentvine.reactions.routing import build_reactions
from tests.support.builders.work import SETTINGS, Crew, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR = timedelta(hours=1)


@dataclass
class Desk:
    """An order that needs the one key of a provider, on a clock that is moved by hand."""

    crew: Crew
    clock: ManualClock
    chores: HoldingChores
    key_id: uuid.UUID
    order_id: uuid.UUID

    async def limit(self, until: datetime | None) -> None:
        """What the provider said of the key."""
        async with self.crew.database.transaction() as tx:
            reason = TOLD if until else None
            await tx.execute(
                update(ProviderCredential)
                .where(ProviderCredential.id == self.key_id)
                .values(limited_until=until, limit_reason=reason)
            )

    async def slip(self) -> None:
        """The order is not held up any more, by nobody's will."""
        async with self.crew.database.transaction() as tx:
            assert await holds.let_go(tx, [self.order_id]) == 1

    async def is_held_after_look(self) -> bool:
        """Whether the order is held up when the chore has looked."""
        assert await self.chores.look() == 0
        return (await self.crew.order(self.order_id)).line_id == holds.HELD


async def start(settings: DatabaseSettings) -> Desk:
    """A new project with its provider, whose key has reached its limit."""
    clock = ManualClock(datetime.now(UTC))
    database = await Database.open(settings, clock, reactions=build_reactions(SETTINGS))
    crew = await make_crew(database)
    provider = ModelProvider(
        id=new_id(),
        project_id=crew.ground.repository.project_id,
        name="claude",
        kind=ProviderKind.ANTHROPIC,
        base_url="https://api.anthropic.com",
        models=[],
        seen_models=[],
    )
    key = ProviderCredential(
        id=new_id(),
        provider_id=provider.id,
        name="first",
        fingerprint="f" * 32,
        limited_until=clock.now() + HOUR,
        limit_reason=TOLD,
    )
    async with database.transaction() as tx:
        tx.add(provider)
        await tx.flush()
        tx.add(key)
    order_id = await crew.enqueue(run_runtime="claude-code", run_command=None)
    return Desk(crew, clock, HoldingChores(database), key.id, order_id)


async def test_orders_are_looked_at_when_keys_have_changed_and_seldom_else(
    shared_settings: DatabaseSettings,
):
    desk = await start(shared_settings)
    assert await desk.is_held_after_look()
    await desk.slip()
    assert not await desk.is_held_after_look(), "the keys are as they were"

    desk.clock.advance(11)
    assert await desk.is_held_after_look(), "soon after a change it looks again"
    await desk.slip()
    desk.clock.advance(11)
    assert not await desk.is_held_after_look()
    desk.clock.advance(300)
    assert await desk.is_held_after_look(), "other things may have changed by now"

    await desk.slip()
    await desk.limit(desk.clock.now() + 2 * HOUR)
    assert await desk.is_held_after_look(), "a key has changed"
    await desk.crew.database.close()


async def test_the_end_of_a_limit_is_noticed_though_nobody_has_changed_a_key(
    shared_settings: DatabaseSettings,
):
    desk = await start(shared_settings)
    await desk.limit(desk.clock.now() + timedelta(seconds=100))
    assert await desk.is_held_after_look()
    desk.clock.advance(11)
    assert await desk.is_held_after_look()
    desk.clock.advance(88)
    assert await desk.is_held_after_look()
    desk.clock.advance(2)
    assert not await desk.is_held_after_look()
    await desk.crew.database.close()
