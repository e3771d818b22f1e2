"""What an agent asks its client, as our questions; and our answers, as the client's."""

import difflib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Protocol, cast

from agentvine.protocol.questions import AnswerDecision, QuestionKind, QuestionOption
from agentvine.runtimes.acp.updates import KnownCall
from agentvine.runtimes.asking import RunAnswer, RunQuestion
from agentvine.runtimes.json_rpc import Json, answer

_MAX_KEY = 200
_MAX_DIFF = 200_000
_MAX_OPTIONS = 50
_CUSTOM = "_custom"
"""Beside a field with choices, the field for another answer."""
_YES, _NO = "Yes", "No"


class Pending(Protocol):
    """A request of the agent's that waits for people."""

    @property
    def number(self) -> int | str:
        """The request's own."""
        ...

    @property
    def questions(self) -> list[RunQuestion]:
        """What is to be asked for it."""
        ...

    def take(self, key: str, given: RunAnswer) -> str | None:
        """The line that answers the request, once all that it needs is known."""
        ...

    def cancel(self) -> str:
        """The line that answers it when nothing is to be known any more."""
        ...


class PermissionRequest:
    """Whether a tool may do something."""

    def __init__(self, number: int | str, params: Json, call: KnownCall) -> None:
        """Read the request."""
        self.number = number
        self._options: list[Json] = params["options"]
        self.call_id = str(params["toolCall"]["toolCallId"])
        self.questions = [
            RunQuestion(
                key=_key(self.call_id),
                kind=QuestionKind.PERMISSION,
                text=f"May the agent use {call.name}? {call.title}".strip(),
                tool_name=call.name,
                tool_input=dict(call.input) or {"description": call.title},
                diff=_diff(call) or _diff_in(call.input),
            )
        ]

    def take(self, key: str, given: RunAnswer) -> str | None:  # noqa: ARG002 - there is one question
        """Choose by what an option means: each agent names them differently."""
        wanted = ("allow_once", "allow_always") if given.is_allowed else ("reject_once",)
        for kind in wanted:
            for option in self._options:
                if option.get("kind") == kind:
                    chosen = {"outcome": "selected", "optionId": option["optionId"]}
                    return answer(self.number, {"outcome": chosen})
        return self.cancel()

    def cancel(self) -> str:
        """As the protocol wants it when a prompt is cancelled."""
        return answer(self.number, {"outcome": {"outcome": "cancelled"}})


@dataclass(slots=True)
class _Field:
    """One field of a form, and the values that its options stand for."""

    name: str
    kind: str
    custom: str | None
    values: dict[str, Any] = field(default_factory=dict[str, Any])

    def value_of(self, given: RunAnswer) -> dict[str, Any]:
        """What is put into the form."""
        chosen = [self.values[label] for label in given.choices if label in self.values]
        if self.kind == "array":
            into: dict[str, Any] = {self.name: chosen} if chosen else {}
        elif chosen:
            into = {self.name: chosen[0]}
        elif not self.values and given.text:
            into = {self.name: _typed(self.kind, given.text)}
        else:
            into = {}
        if given.text and self.values and self.custom:
            into[self.custom] = given.text
        return into


class FormRequest:
    """A form with one or more questions."""

    def __init__(self, number: int | str, params: Json) -> None:
        """Read the request."""
        self.number = number
        self.questions: list[RunQuestion] = []
        self._fields: dict[str, _Field] = {}
        self._content: dict[str, Any] = {}
        self._open: set[str] = set()
        schema = cast("Json", params.get("requestedSchema") or {})
        properties = cast("dict[str, Json]", schema.get("properties") or {})
        base = str(params.get("toolCallId") or f"{params.get('sessionId')}/{number}")
        for name, about in properties.items():
            if name.endswith(_CUSTOM) and name.removesuffix(_CUSTOM) in properties:
                continue
            self._add(base, name, about, params, has_custom=f"{name}{_CUSTOM}" in properties)

    def take(self, key: str, given: RunAnswer) -> str | None:
        """Fill the field; the form is sent when all are."""
        if given.decision not in {AnswerDecision.ANSWER, AnswerDecision.ALLOW}:
            return answer(self.number, {"action": "decline"})
        self._content |= self._fields[key].value_of(given)
        self._open.discard(key)
        if self._open:
            return None
        return answer(self.number, {"action": "accept", "content": self._content})

    def cancel(self) -> str:
        """Nobody fills it."""
        return answer(self.number, {"action": "cancel"})

    def _add(self, base: str, name: str, about: Json, params: Json, *, has_custom: bool) -> None:
        kind = str(about.get("type") or "string")
        given = _Field(name, kind, f"{name}{_CUSTOM}" if has_custom else None)
        options: list[QuestionOption] = []
        for value, label, description in _choices(about):
            given.values[label] = value
            options.append(QuestionOption(label=label[:500], description=description[:4000]))
        key = _key(f"{base}/{name}")
        texts = [str(params.get("message") or ""), str(about.get("description") or "")]
        question = RunQuestion(
            key=key,
            kind=QuestionKind.QUESTION,
            text="\n\n".join(text for text in dict.fromkeys(texts) if text) or name,
            options=options[:_MAX_OPTIONS],
            allows_text=not options or has_custom,
            allows_several=kind == "array",
        )
        self.questions.append(question)
        self._fields[key] = given
        self._open.add(key)


def _choices(about: Json) -> list[tuple[Any, str, str]]:
    """Value, label and description of each option of a field."""
    if about.get("type") == "boolean":
        return [(True, _YES, ""), (False, _NO, "")]
    items = cast("Json", about.get("items") or about)
    titled = cast("list[Json]", items.get("oneOf") or items.get("anyOf") or [])
    found = [
        (each["const"], str(each.get("title") or each["const"]), str(each.get("description") or ""))
        for each in titled
    ]
    return found or [(value, str(value), "") for value in items.get("enum") or ()]


def _typed(kind: str, text: str) -> Any:
    try:
        return {"integer": int, "number": float}.get(kind, str)(text.strip())
    except ValueError:
        return text


def _key(text: str) -> str:
    if len(text) <= _MAX_KEY:
        return text
    return hashlib.sha256(text.encode()).hexdigest()


def _diff(call: KnownCall) -> str | None:
    parts: list[str] = []
    for path, old, new in call.changes:
        name = PurePath(path).as_posix().lstrip("/")
        lines = difflib.unified_diff(
            old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{name}", f"b/{name}"
        )
        parts += [line if line.endswith("\n") else f"{line}\n" for line in lines]
    return "".join(parts)[:_MAX_DIFF] or None


def _diff_in(given: Mapping[str, Any]) -> str | None:
    diff = given.get("diff")
    return diff[:_MAX_DIFF] if isinstance(diff, str) and diff else None
