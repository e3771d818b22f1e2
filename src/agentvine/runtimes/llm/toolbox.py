"""The tools of the built-in agent: what the model is told of them, and what they do."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentvine.kit.process import ExitReason, Stream
from agentvine.llm.messages import Tool, ToolCall, ToolResult
from agentvine.protocol.enums import PermissionLevel
from agentvine.protocol.questions import QuestionKind, QuestionOption
from agentvine.runtimes.asking import RunAnswer, RunQuestion
from agentvine.runtimes.base import RunContext
from agentvine.runtimes.llm.files import ToolRefused, Tree
from agentvine.runtimes.llm.own_tools import OwnTools
from agentvine.runtimes.runner import Program, describe_end, prepare_program
from agentvine.runtimes.shell import SHELL

_MAX_RESULT = 30_000
"""Characters of a tool's result that the model is shown."""
_READ_LINES = 800
_RUN_SECONDS = 120.0
_MOST_RUN_SECONDS = 1800.0

Waits = Callable[[Awaitable[RunAnswer]], Awaitable[RunAnswer]]
"""Lets a person's time pass without its counting as the run's."""


class _Input(BaseModel):
    model_config = ConfigDict(extra="ignore")


class ReadFile(_Input):
    """Read a text file. Long files come in parts: go on with from_line."""

    path: Annotated[str, Field(description="Path from the repository's root.")]
    from_line: Annotated[int, Field(ge=1)] = 1


class ListFiles(_Input):
    """List files below a folder, as paths from the repository's root."""

    path: str = "."
    pattern: Annotated[str | None, Field(description="Such as *.py")] = None


class Search(_Input):
    """Find the lines of files that match a regular expression (Python's)."""

    pattern: str
    path: str = "."
    files: Annotated[str | None, Field(description="Only files whose name fits, as *.py")] = None


class EditFile(_Input):
    """Replace a text in a file by another. The old text must be exact, with its blanks."""

    path: str
    old: str
    new: str
    everywhere: Annotated[bool, Field(description="Whether every occurrence is meant.")] = False


class WriteFile(_Input):
    """Make a file, or give it a wholly new text. To change a part of one use edit_file."""

    path: str
    content: str


class RunCommand(_Input):
    """Run a shell command at the repository's root; you get its output and exit code.

    What it leaves running is ended with it.
    """

    command: str
    timeout_seconds: Annotated[float, Field(gt=0, le=_MOST_RUN_SECONDS)] = _RUN_SECONDS


class Ask(_Input):
    """Ask a person, when you cannot find out yourself what is wanted. Answers may take long."""

    question: str
    options: list[str] = Field(default_factory=list)


class Finish(_Input):
    """Say that the task is done: what you changed, and how you know that it works.

    A few sentences are enough. Nothing can be done after it.
    """

    summary: str


@dataclass(frozen=True, slots=True)
class Done:
    """What came of one call."""

    text: str
    is_error: bool = False
    is_denied: bool = False
    summary: str | None = None
    """The agent is through."""


class Toolbox:
    """The tools, for one run."""

    def __init__(self, context: RunContext, waits: Waits, own: OwnTools | None = None) -> None:
        """Work in the context's tree, and with the server's tools."""
        self._context = context
        self._own = own
        self._waits = waits
        self._tree = Tree(context.worktree.resolve())
        self._tools: Mapping[str, tuple[type[_Input], Callable[[Any, str], Awaitable[Done]]]] = {
            "read_file": (ReadFile, self._read),
            "list_files": (ListFiles, self._list),
            "search": (Search, self._search),
            "edit_file": (EditFile, self._edit),
            "write_file": (WriteFile, self._write),
            "run_command": (RunCommand, self._run),
            "ask": (Ask, self._ask),
            "finish": (Finish, self._finish),
        }

    @property
    def offered(self) -> list[Tool]:
        """What the model is told."""
        here = [
            Tool(name=name, description=_description(shape), schema=_schema(shape))
            for name, (shape, _) in self._tools.items()
        ]
        return [*here, *self._server_s]

    @property
    def _server_s(self) -> list[Tool]:
        there = self._own.offered if self._own is not None else ()
        return [tool for tool in there if tool.name not in self._tools]

    async def use(self, call: ToolCall) -> Done:
        """Do what the model wants; what it cannot do is told to it.

        Raises:
            AnswerDeferred: It asked, and the run is to end until there is an answer.
        """
        known = self._tools.get(call.name)
        if call.problem is not None and (known is not None or self._is_server_s(call)):
            return Done(call.problem, True)
        if known is None and self._own is not None and self._is_server_s(call):
            text, is_error = await self._own.use(call.name, call.input)
            return Done(_cut(text), is_error)
        if known is None:
            there = ", ".join([*self._tools, *(tool.name for tool in self._server_s)])
            return Done(f"There is no tool {call.name}; there are: {there}.", True)
        shape, do = known
        try:
            done = await do(shape.model_validate(dict(call.input)), call.id)
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
                for each in error.errors(include_url=False)
            ]
            return Done("; ".join(problems), True)
        except ToolRefused as error:
            return Done(error.detail, True)
        return replace(done, text=_cut(done.text))

    def _is_server_s(self, call: ToolCall) -> bool:
        return any(tool.name == call.name for tool in self._server_s)

    async def _read(self, given: ReadFile, _: str) -> Done:
        text = await asyncio.to_thread(self._tree.read, given.path)
        lines = text.splitlines(keepends=True)
        begin = given.from_line - 1
        shown = lines[begin : begin + _READ_LINES]
        left = len(lines) - begin - len(shown)
        note = f"\n({left} more lines; go on with from_line {begin + _READ_LINES + 1})"
        return Done("".join(shown) + (note if left > 0 else ""))

    async def _list(self, given: ListFiles, _: str) -> Done:
        found = await asyncio.to_thread(self._tree.list_files, given.path, given.pattern)
        return Done("\n".join(found) or "(no files)")

    async def _search(self, given: Search, _: str) -> Done:
        hits = await asyncio.to_thread(self._tree.search, given.pattern, given.path, given.files)
        return Done("\n".join(hits) or "(nothing found)")

    async def _edit(self, given: EditFile, _: str) -> Done:
        count = await asyncio.to_thread(
            self._tree.replace, given.path, given.old, given.new, everywhere=given.everywhere
        )
        return Done(f"{given.path}: replaced {count} time{'s' if count > 1 else ''}.")

    async def _write(self, given: WriteFile, _: str) -> Done:
        await asyncio.to_thread(self._tree.write, given.path, given.content)
        return Done(f"{given.path}: written.")

    async def _run(self, given: RunCommand, key: str) -> Done:
        if (refusal := await self._refusal_of(given, key)) is not None:
            return refusal
        seconds = min(given.timeout_seconds, self._context.timeout_seconds)
        running = prepare_program(
            self._context, Program(argv=[SHELL, "-c", given.command], timeout_seconds=seconds)
        )
        kept = _Kept()
        ended = await running.run(kept.feed)
        output = kept.text.strip("\n")
        if ended.reason is ExitReason.EXITED:
            text = (
                f"{output}\n(exit code {ended.exit_code})"
                if output
                else f"exit code {ended.exit_code}"
            )
            return Done(text, is_error=ended.exit_code != 0)
        return Done(f"{output}\n({describe_end(ended, running.watch.times)})".strip(), True)

    async def _refusal_of(self, given: RunCommand, key: str) -> Done | None:
        """Commands of a run that is watched closely are allowed one by one."""
        brief = self._context.brief
        if brief is None or brief.permission_level is not PermissionLevel.HUMAN_REQUIRED:
            return None
        question = RunQuestion(
            key=f"{self._context.execution_id}-{key}"[:200],
            kind=QuestionKind.PERMISSION,
            text=f"May it run {given.command!r}?",
            tool_name="run_command",
            tool_input={"command": given.command},
        )
        answer = await self._waits(self._context.asker.ask(question))
        if answer.is_allowed:
            return None
        return Done(f"Not allowed. {answer.text}".strip(), is_error=True, is_denied=True)

    async def _ask(self, given: Ask, key: str) -> Done:
        question = RunQuestion(
            key=f"{self._context.execution_id}-{key}"[:200],
            kind=QuestionKind.QUESTION,
            text=given.question,
            options=[QuestionOption(label=each) for each in given.options],
        )
        answer = await self._waits(self._context.asker.ask(question))
        said = ", ".join(answer.choices) or answer.text
        return Done(said or "No answer: decide it yourself, and say what you decided.")

    async def _finish(self, given: Finish, _: str) -> Done:
        return Done("Good.", summary=given.summary)


class _Kept:
    """The beginning and the end of a program's output."""

    def __init__(self) -> None:
        self._head, self._tail, self._dropped = bytearray(), bytearray(), 0

    async def feed(self, _: Stream, chunk: bytes) -> None:
        room = _MAX_RESULT // 2 - len(self._head)
        self._head += chunk[: max(room, 0)]
        self._tail += chunk[max(room, 0) :]
        if (over := len(self._tail) - _MAX_RESULT // 2) > 0:
            self._dropped += over
            del self._tail[:over]

    @property
    def text(self) -> str:
        gap = f"\n[{self._dropped} bytes are left out]\n".encode() if self._dropped else b""
        return bytes(self._head + gap + self._tail).decode("utf-8", "replace")


def as_result(call: ToolCall, done: Done) -> ToolResult:
    """What the model is told of it."""
    return ToolResult(call=call, text=done.text, is_error=done.is_error)


def _cut(text: str) -> str:
    if len(text) <= _MAX_RESULT:
        return text
    return f"{text[:_MAX_RESULT]}\n[{len(text) - _MAX_RESULT} more characters are left out]"


def _description(shape: type[BaseModel]) -> str:
    return " ".join((shape.__doc__ or "").split())


def _schema(shape: type[BaseModel]) -> dict[str, Any]:
    schema = shape.model_json_schema()
    return {name: value for name, value in schema.items() if name not in {"title", "description"}}
