"""``agentvine mcp``: an assistant's program starts it, and speaks with it over its pipes."""

import sys

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters

from tests.cli.conftest import Cli
from tests.support.cli import Sandbox


@pytest.mark.slow
async def test_an_assistant_uses_the_tools_of_who_is_signed_in_here(cli: Cli, team: Sandbox):
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "agentvine", "mcp"], env=team.environment
    )
    async with Client(server) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        listed = await client.call_tool("list_tasks", {"limit": 5})
        wrong = await client.call_tool("get_task", {"task": "T-987654"})

    assert {"list_questions", "decide_change"} <= set(names)
    assert "ask_human" not in names, "that one is for agents"
    assert not listed.is_error
    assert wrong.is_error
    assert "(task_not_found)" in str(wrong.content)


def test_without_a_server_it_says_what_to_do(alone: Cli):
    done = alone("mcp")
    assert done.exit_code == 7
    assert "agentvine up" in done.err
    assert done.out == ""
