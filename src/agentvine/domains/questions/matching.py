"""Which tools and inputs a rule is about. Pure: texts in, yes or no out.

A rule that allows must not be talked into more than its words say, and one that denies must not be
talked around. So a command is taken apart where a shell would: every part of it must be allowed,
and one denied part is enough. What cannot be taken apart for certain (substitutions, redirections)
only an exact rule allows. It is text all the same: the sandbox, not a rule, is what holds a run.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

_COMMAND_KEYS = ("command", "cmd", "script")
_PATH_KEYS = ("file_path", "path", "filePath", "absolute_path", "notebook_path", "filename")
_OTHER_KEYS = ("url", "query", "pattern")
_OPERATORS = re.compile(r"^[;&|()\n]+$")
_UNCERTAIN = re.compile(r"[`<>]|\$\(|\$\{|\\\n")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_WORDS = re.compile(r"[^\s'\"]+")


def input_hash(tool_input: Mapping[str, Any] | None) -> str:
    """The same for equal inputs."""
    return hashlib.sha256(json.dumps(tool_input or {}, sort_keys=True).encode()).hexdigest()


def command_of(tool_input: Mapping[str, Any] | None) -> str | None:
    """The shell command in a tool's input."""
    for key in _COMMAND_KEYS:
        value = (tool_input or {}).get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return shlex.join(str(word) for word in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON edge
    return None


def path_of(tool_input: Mapping[str, Any] | None) -> str | None:
    """The file in a tool's input."""
    return _first(tool_input, _PATH_KEYS)


def text_of(tool_input: Mapping[str, Any] | None) -> str:
    """What patterns are compared with: the command, the path, or all of the input as JSON."""
    found = command_of(tool_input) or path_of(tool_input) or _first(tool_input, _OTHER_KEYS)
    return json.dumps(tool_input or {}, sort_keys=True) if found is None else found


def is_about_tool(rule: str, tool: str | None) -> bool:
    """Whether a rule's tool, with ``*``, is this one."""
    return fnmatchcase((tool or "").casefold(), rule.casefold())


def allows(pattern: str, tool_input: Mapping[str, Any] | None) -> bool:
    """Whether a pattern covers all that this input would do."""
    if pattern == "*":
        return True
    command, text = command_of(tool_input), text_of(tool_input)
    if command is None:
        return _covers(pattern, _normal_path(text))
    if command.strip() == pattern.strip():
        return True
    parts = _parts(command)
    return parts is not None and all(_covers(pattern, part) for part in parts)


def denies(pattern: str, tool_input: Mapping[str, Any] | None) -> bool:
    """Whether a pattern names anything that this input would do."""
    command, text = command_of(tool_input), text_of(tool_input)
    if command is None:
        return _covers(pattern, text) or _covers(pattern, _normal_path(text))
    parts = [command, *(_parts(command) or []), *re.split(r"[;&|()`\n]+|\$\(", command)]
    return any(_covers_some_tail(pattern, part.strip()) for part in parts if part.strip())


def lies_inside(path: str, worktree: str | None) -> bool:
    """Whether a path is one of the work tree's."""
    parts = PurePosixPath(path).parts
    if ".." in parts or ".git" in parts or path.startswith("~"):
        return False
    if not path.startswith("/"):
        return True
    return worktree is not None and PurePosixPath(path).is_relative_to(worktree)


def _covers(pattern: str, text: str) -> bool:
    # Only ``*`` is special: commands are full of brackets and question marks.
    literal = "".join(f"[{char}]" if char in "?[" else char for char in pattern.strip())
    return fnmatchcase(text, literal) or (
        # ``git push *`` is about ``git push``, too.
        literal.endswith(" *") and fnmatchcase(text, literal[:-2])
    )


def _covers_some_tail(pattern: str, text: str) -> bool:
    """Whether it covers a text from some word on, so that ``sudo`` or ``sh -c`` hides nothing."""
    plain = " ".join(text.replace("'", " ").replace('"', " ").split())
    ways = (text, plain)
    return any(
        _covers(pattern, way[word.start() :]) for way in ways for word in _WORDS.finditer(way)
    )


def _parts(command: str) -> list[str] | None:
    """The simple commands of a line; None where that is not certain."""
    if _UNCERTAIN.search(command) is not None:
        return None
    lexer = shlex.shlex(command, posix=False, punctuation_chars=";&|()\n")
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    lexer.commenters = ""
    parts: list[list[str]] = [[]]
    try:
        for token in lexer:
            if _OPERATORS.match(token):
                parts.append([])
            else:
                parts[-1].append(token)
    except ValueError:
        return None
    commands = [words for words in parts if words]
    if not commands or any(_ASSIGNMENT.match(words[0]) for words in commands):
        # ``PATH=... git status`` is another program's git.
        return None
    return [" ".join(words) for words in commands]


def _normal_path(text: str) -> str:
    # ``src/../../etc`` is covered by ``src/*`` as a text, and must not be.
    return text if ".." not in PurePosixPath(text).parts else "\0"


def _first(tool_input: Mapping[str, Any] | None, keys: tuple[str, ...]) -> str | None:
    for key in keys:
        value = (tool_input or {}).get(key)
        if isinstance(value, str):
            return value
    return None
