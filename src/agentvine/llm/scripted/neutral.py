"""Calls by neutral names, put into the words of whichever tools a request offers.

Agents name the same things differently: ``Write``, ``write``, ``write_file``, ``apply_patch``. A
script that says ``write_file`` works with all of them, and with a bare shell.
"""

import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from agentvine.llm.scripted.asked import Asked, Json, Offered
from agentvine.llm.scripted.script import ScriptInvalid, ToolCall

# Tools that do the same, the more fitting first.
_SHELLS = ("exec_command", "run_shell_command", "Bash", "bash", "shell", "shell_command", "run")
_TOOLS: Mapping[str, tuple[str, ...]] = {
    "write_file": ("write_file", "Write", "write", "create_file", "apply_patch"),
    "edit_file": ("edit_file", "Edit", "edit", "replace", "str_replace", "apply_patch"),
    "read_file": ("read_file", "Read", "read"),
    "list_files": ("list_files", "list_directory", "LS", "list", "glob", "Glob"),
    "search": ("search", "grep_search", "Grep", "grep", "search_file_content"),
    "run_command": ("run_command", *_SHELLS),
    "ask": ("ask", "AskUserQuestion", "request_user_input", "question", "ask_user"),
    "finish": ("finish",),
}
_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file_path", "filePath", "absolute_path", "filename", "dir_path"),
    "content": ("content", "contents", "file_text"),
    "old": ("old", "old_string", "oldString", "old_str"),
    "new": ("new", "new_string", "newString", "new_str"),
    "command": ("command", "cmd"),
    "pattern": ("pattern", "query", "regex"),
    "timeout": ("timeout", "timeout_seconds", "timeout_ms"),
}
_DEFAULTS: Mapping[str, Any] = {"string": "as scripted", "boolean": False, "number": 0}
_EDIT = (
    "import sys; path, old, new = sys.argv[1:]; text = open(path).read(); "
    "assert text.count(old) == 1; open(path, 'w').write(text.replace(old, new))"
)


@dataclass(frozen=True, slots=True)
class Played:
    """A call as it goes over the wire."""

    tool: str
    input: Json | str
    """Text for custom tools."""
    namespace: str | None = None

    @property
    def is_custom(self) -> bool:
        """Whether the tool takes text."""
        return isinstance(self.input, str)

    @property
    def arguments(self) -> str:
        """The input as text."""
        return self.input if isinstance(self.input, str) else json.dumps(self.input)


def play_call(call: ToolCall, asked: Asked) -> Played:
    """A scripted call, as the request's tools have it.

    Raises:
        ScriptInvalid: The request offers no tool that could do it.
    """
    if call.server is not None:
        return _play_mcp(call.server, call, asked)
    if not call.is_neutral:
        return Played(call.tool, call.input if call.input is not None else {})
    given: Json = dict(call.input)
    for name in _TOOLS.get(call.tool, (call.tool,)):
        tool = asked.find_tool(name)
        if tool is None:
            continue
        if tool.is_custom:
            return Played(tool.name, _patch(given))
        return Played(tool.name, _BY_TOOL.get(call.tool, _fit)(given, tool, asked))
    if (shell := _find_shell(asked)) and (command := _as_command(call.tool, given)):
        return Played(shell.name, _fit({"command": command}, shell, asked))
    offered = ", ".join(tool.name for tool in asked.tools) or "none"
    raise ScriptInvalid(f"No offered tool can do {call.tool}; there are: {offered}.")


def shell_command_of(call: ToolCall) -> str:
    """A scripted call as a shell command, for agents that read commands out of the text.

    Raises:
        ScriptInvalid: No command does this.
    """
    command = _as_command(call.tool, dict(call.input))
    if command is None:
        raise ScriptInvalid(f"{call.tool} cannot be written as a command.")
    return command


def _find_shell(asked: Asked) -> Offered | None:
    return next((tool for name in _SHELLS if (tool := asked.find_tool(name))), None)


def _fit(given: Json, tool: Offered, asked: Asked) -> Json:
    """The arguments under the tool's own names, and what else it requires."""
    properties = tool.properties
    fitted: Json = {}
    for name, value in given.items():
        known = next((each for each in _PARAMETERS.get(name, ()) if each in properties), name)
        fitted[known] = value
        if name == "path" and known != "path" and asked.folder:
            # Where a path goes by another name, agents want it to be absolute.
            fitted[known] = str(PurePosixPath(asked.folder, str(value)))
    for name in tool.required:
        kind = str(properties.get(name, {}).get("type", "string"))
        fitted.setdefault(name, _DEFAULTS.get(kind, ""))
    return fitted


def _fit_command(given: Json, tool: Offered, asked: Asked) -> Json:
    """As ``_fit``; where a command is a list of words, a shell is called."""
    fitted = _fit(given, tool, asked)
    for name in _PARAMETERS["command"]:
        if tool.properties.get(name, {}).get("type") == "array" and isinstance(fitted[name], str):
            fitted[name] = ["bash", "-lc", fitted[name]]
    return fitted


def _fit_question(given: Json, tool: Offered, asked: Asked) -> Json:
    """A question with its options; most tools take a list of questions."""
    if "questions" not in tool.properties:
        return _fit(given, tool, asked)
    text = str(given.get("question", ""))
    options = [{"label": each, "description": each} for each in given.get("options", [])]
    question: Json = {"question": text, "header": text[:12], "options": options}
    return {"questions": [{**question, "id": "question", "multiSelect": False, "multiple": False}]}


_BY_TOOL: Mapping[str, Callable[[Json, Offered, Asked], Json]] = {
    "run_command": _fit_command,
    "ask": _fit_question,
}


def _play_mcp(server: str, call: ToolCall, asked: Asked) -> Played:
    """A tool of an MCP server: agents list it under names of their own, or not at all."""
    given: Json = call.input if call.input is not None else {}
    names = (f"mcp__{server}__{call.tool}", f"mcp_{server}_{call.tool}", f"{server}_{call.tool}")
    for name in names:
        if asked.find_tool(name):
            return Played(name, given)
    if asked.wire == "responses":
        return Played(call.tool, given, namespace=f"mcp__{server}")
    return Played(names[0], given)


def _patch(given: Json) -> str:
    """A file's new text, or an exact replacement, as a patch of Codex's form."""
    path, lines = str(given["path"]), list[str]()
    if "content" in given:
        lines.append(f"*** Add File: {path}")
        lines += [f"+{line}" for line in str(given["content"]).splitlines()]
    else:
        lines += [f"*** Update File: {path}", "@@"]
        lines += [f"-{line}" for line in str(given["old"]).splitlines()]
        lines += [f"+{line}" for line in str(given["new"]).splitlines()]
    return "\n".join(["*** Begin Patch", *lines, "*** End Patch", ""])


def _as_command(tool: str, given: Json) -> str | None:
    path = shlex.quote(str(given.get("path", ".")))
    match tool:
        case "run_command":
            command = str(given["command"])
        case "write_file":
            command = f"printf %s {shlex.quote(str(given['content']))} > {path}"
        case "edit_file":
            words = [_EDIT, str(given["path"]), str(given["old"]), str(given["new"])]
            command = f"python3 -c {shlex.join(words)}"
        case "read_file":
            command = f"cat {path}"
        case "list_files":
            command = f"ls {path}"
        case "search":
            command = f"grep -rn -- {shlex.quote(str(given['pattern']))} {path}"
        case _:
            return None
    return command
