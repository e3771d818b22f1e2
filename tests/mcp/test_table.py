"""What holds for every tool."""

import json
import uuid

from agentvine.kit.actor import UserActor
from agentvine.mcp.table import description_of, schema_of
from agentvine.mcp.tools import TOOLBOX


def test_every_tool_says_what_it_is_for_in_a_shape_that_all_models_take():
    for tool in [*TOOLBOX.for_runs.values(), *TOOLBOX.for_people.values()]:
        schema = schema_of(tool)
        words = json.dumps(schema)
        assert len(description_of(tool)) > 40, tool.name
        assert schema["type"] == "object"
        for unusual in ("$ref", "$defs", "anyOf", "oneOf"):
            assert unusual not in words, f"{tool.name}: {unusual}"


def test_who_acts_through_a_run_is_no_admin():
    project = uuid.uuid4()
    actor = UserActor(
        user_id=project, username="ada", role="admin", only_project=project, through="run 1"
    )
    assert not actor.is_admin
    assert actor.label == "user:ada through run 1"
