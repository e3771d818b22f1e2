"""Neutral calls fit the tools of each agent."""

from typing import Any

import pytest

from agentvine.llm.scripted.asked import Asked, Offered, Transcript
from agentvine.llm.scripted.neutral import play_call
from agentvine.llm.scripted.script import ScriptInvalid, ToolCall


def tool(name: str, *parameters: str, required: tuple[str, ...] = (), **types: Any) -> Offered:
    properties = {each: {"type": "string"} for each in parameters} | {
        each: {"type": kind} for each, kind in types.items()
    }
    return Offered(name, {"properties": properties, "required": list(required)})


CLAUDE = (
    tool("Bash", "command", "description"),
    tool("Write", "file_path", "content"),
    tool("Edit", "file_path", "old_string", "new_string"),
)
CODEX = (tool("exec_command", "cmd"), Offered("apply_patch", is_custom=True))
OPENCODE = (tool("write", "filePath", "content"), tool("bash", "command", "description"))
QWEN = (
    tool(
        *("run_shell_command", "command"),
        required=("command", "is_background"),
        is_background="boolean",
    ),
)
BARE = (tool("bash", "command"),)
WRITE = {"write_file": {"path": "a.txt", "content": "x\ny\n"}}
EDIT = {"edit_file": {"path": "a.txt", "old": "x", "new": "z"}}
RUN = {"run_command": {"command": "make"}}


@pytest.mark.parametrize(
    ("tools", "call", "name", "arguments"),
    [
        (CLAUDE, WRITE, "Write", {"file_path": "/repo/a.txt", "content": "x\ny\n"}),
        (
            *(CLAUDE, EDIT, "Edit"),
            {"file_path": "/repo/a.txt", "old_string": "x", "new_string": "z"},
        ),
        (CLAUDE, RUN, "Bash", {"command": "make"}),
        (CODEX, RUN, "exec_command", {"cmd": "make"}),
        (
            *(CODEX, WRITE, "apply_patch"),
            "*** Begin Patch\n*** Add File: a.txt\n+x\n+y\n*** End Patch\n",
        ),
        (
            *(CODEX, EDIT, "apply_patch"),
            "*** Begin Patch\n*** Update File: a.txt\n@@\n-x\n+z\n*** End Patch\n",
        ),
        (OPENCODE, WRITE, "write", {"filePath": "/repo/a.txt", "content": "x\ny\n"}),
        (QWEN, RUN, "run_shell_command", {"command": "make", "is_background": False}),
        (BARE, WRITE, "bash", {"command": "printf %s 'x\ny\n' > a.txt"}),
    ],
)
def test_a_neutral_call_uses_the_words_of_the_offered_tool(
    tools: tuple[Offered, ...], call: dict[str, Any], name: str, arguments: Any
):
    played = play_call(ToolCall.model_validate(call), asked(tools))

    assert (played.tool, played.input) == (name, arguments)


@pytest.mark.parametrize(
    ("wire", "listed", "name", "namespace"),
    [
        ("anthropic", "ToolSearch", "mcp__vine__ping", None),
        ("responses", "exec_command", "ping", "mcp__vine"),
        ("chat", "vine_ping", "vine_ping", None),
        ("gemini", "mcp_vine_ping", "mcp_vine_ping", None),
    ],
)
def test_an_mcp_tool_goes_by_the_name_that_the_agent_gives_it(
    wire: str, listed: str, name: str, namespace: str | None
):
    call = ToolCall(tool="ping", server="vine", input={"x": 1})

    played = play_call(call, asked((tool(listed),), wire=wire))

    assert (played.tool, played.namespace, played.input) == (name, namespace, {"x": 1})


def test_what_no_tool_can_do_is_refused_with_the_tools_there_are():
    with pytest.raises(ScriptInvalid, match="No offered tool can do ask; there are: look"):
        play_call(ToolCall.model_validate({"ask": {"question": "?"}}), asked((tool("look"),)))


def test_a_plain_call_goes_out_as_it_is_whether_or_not_it_is_offered():
    played = play_call(ToolCall(tool="Anything", input={"a": [1]}), asked(()))

    assert (played.tool, played.input) == ("Anything", {"a": [1]})


def asked(tools: tuple[Offered, ...], *, wire: str = "anthropic") -> Asked:
    system = "You are an agent.\nWorking directory: /repo\n"
    told = Transcript()
    return Asked(wire=wire, model="m", is_stream=False, system=system, transcript=told, tools=tools)


def test_a_path_leads_to_where_an_agent_that_has_moved_works_now():
    transcript = Transcript()
    transcript.add_prompt(["Your working directory is now /second: work there."])
    asked = Asked(
        wire="anthropic",
        model="m",
        is_stream=True,
        system="Working directory: /first\n",
        transcript=transcript,
        tools=CLAUDE,
    )
    played = play_call(ToolCall.model_validate(WRITE), asked)
    assert played.input == {"file_path": "/second/a.txt", "content": "x\ny\n"}
