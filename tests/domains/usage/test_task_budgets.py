"""A task's own budget is set, changed and taken away over HTTP."""

import pytest

from tests.support.api import Api
from tests.support.scene import make_people, make_scene

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_tasks_budget_is_set_changed_and_taken_away(shared_api: Api):
    people = await make_people(shared_api)
    scene = await make_scene(shared_api, people)
    path = f"/tasks/{scene.names['other_id']}"

    for amount in ("0.50", "2.00", None):
        answer = await people.owner.call("PATCH", path, json={"budget_usd": amount})
        assert answer.is_success, answer.text
        assert (await people.owner.get(path))["budget_usd"] == amount
