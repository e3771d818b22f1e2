"""Merges are tried before anybody asks for them, and conflicts are shown before they happen."""

import asyncio
import uuid
from pathlib import Path

import pytest
from sqlalchemy import func, select

from agentvine.domains.identity.models import Event
from agentvine.domains.modifications.applying import ChangeApplier
from agentvine.domains.modifications.models import TrialMerge
from agentvine.domains.modifications.trial_merging import ForesightChore
from tests.support.api import Api
from tests.support.changes import Workshop, make_workshop
from tests.support.space import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")

FOUND = "modification.conflict_foreseen"


async def look(shop: Workshop) -> None:
    """Try all that there is to try; the server's own chore does the same beside us."""
    api = shop.space.api
    chore = ForesightChore(api.database, api.state.effect(ChangeApplier).desk)
    while await chore.look():
        pass


async def until_foreseen(shop: Workshop, *expected: tuple[str, str, list[str]]) -> None:
    async with asyncio.timeout(60):
        while await foreseen(shop) != list(expected):
            await look(shop)


async def foreseen(shop: Workshop, task: Json | None = None) -> list[tuple[str, str, list[str]]]:
    path = f"/repositories/{shop.space.repository_id}/conflicts"
    params = {"task_id": task["id"]} if task else {}
    rows = (await shop.space.owner.get(path, params=params))["items"]
    found: list[tuple[str, str, list[str]]] = []
    for row in rows:
        other = (row["other"] or {}).get("task_ref", "main")
        first, second = sorted([row["change"]["task_ref"], other])
        found.append((first, second, row["files"]))
    return sorted(found)


async def test_two_changes_of_the_same_lines_are_shown_to_conflict_before_one_is_applied(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    first, _ = await shop.run({"src/app.py": "x = 'first'\ny = 2\nz = 3\n"})
    second, _ = await shop.run({"src/app.py": "x = 'second'\ny = 2\nz = 3\n"})
    await shop.run({"src/app.py": "x = 1\ny = 2\nz = 'third'\n", "new.txt": "n\n"})
    conflict = ("T-1", "T-2", ["src/app.py"])
    await until_foreseen(shop, conflict)
    assert await foreseen(shop, first) == await foreseen(shop, second) == [conflict]
    (change,) = await shop.space.changes(first)
    (shown,) = (await shop.get(change))["conflicts"]
    assert shown["files"] == ["src/app.py"]
    await look(shop)
    assert await count_events(shop, change) == 1

    # Applied, one of them is in the target, with which the other conflicts now.
    await shop.decide(change, "approve")
    await until_foreseen(shop, ("T-2", "main", ["src/app.py"]))

    (other,) = await shop.space.changes(second)
    await shop.decide(other, "reject")
    await until_foreseen(shop)


async def test_a_repository_can_switch_trial_merges_off(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    path = f"/repositories/{shop.space.repository_id}"
    await shop.space.owner.call("PATCH", path, json={"trial_merges": False})
    for word in ("one", "two"):
        await shop.run({"src/app.py": f"x = '{word}'\ny = 2\nz = 3\n"})
    await look(shop)
    assert await foreseen(shop) == []
    async with shared_api.database.read() as read:
        own = TrialMerge.repository_id == uuid.UUID(shop.space.repository_id)
        assert await read.scalar(select(func.count()).where(own)) == 0


async def count_events(shop: Workshop, change: Json) -> int:
    async with shop.space.api.database.read() as read:
        query = select(func.count()).where(Event.type == FOUND, Event.entity_id == change["id"])
        return await read.scalar(query) or 0
