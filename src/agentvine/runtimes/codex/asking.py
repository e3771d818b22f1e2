"""What Codex asks its client, as our questions; and our answers, as its."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from agentvine.protocol.questions import AnswerDecision, QuestionKind, QuestionOption
from agentvine.runtimes.asking import RunAnswer, RunQuestion
from agentvine.runtimes.json_rpc import Json, answer

_MAX_KEY = 200
_MAX_DIFF = 200_000
_NO_ANSWER = "Nobody answered; go on with your best judgement."
COMMAND_TOOL, CHANGE_TOOL = "exec_command", "apply_patch"


@dataclass(slots=True)
class Request:
    """A request of its that waits for people."""

    number: int | str
    questions: list[RunQuestion]
    allowed: Json = field(default_factory=dict[str, Any])
    """The answer that allows it."""
    denied: Json = field(default_factory=dict[str, Any])
    """The one that does not; the agent goes on without."""
    item_id: str = ""
    asked: dict[str, str] = field(default_factory=dict[str, str])
    """The ids of its own questions, by our keys; empty for permissions."""
    answers: Json = field(default_factory=dict[str, Any])

    def take(self, key: str, given: RunAnswer) -> str | None:
        """The line that answers it; None while it lacks more answers."""
        if not self.asked:
            return answer(self.number, self.allowed if given.is_allowed else self.denied)
        is_answered = given.decision is AnswerDecision.ANSWER or given.is_allowed
        words = [*given.choices, *([given.text] if given.text else [])] if is_answered else []
        self.answers[self.asked[key]] = {"answers": words or [given.text or _NO_ANSWER]}
        if len(self.answers) < len(self.asked):
            return None
        return answer(self.number, {"answers": self.answers})


def request_of(
    number: int | str, method: str, params: Json, item: Json, cwd: str
) -> Request | None:
    """What it asks; None for what we do not answer.

    Args:
        number: The request's own.
        method: What it asks for.
        params: About it.
        item: The step of its work that it belongs to, as far as that was told.
        cwd: The work tree.
    """
    match method:
        case "item/commandExecution/requestApproval":
            return _command(number, params, item)
        case "item/fileChange/requestApproval":
            return _change(number, params, item, cwd)
        case "item/permissions/requestApproval":
            return _permissions(number, params)
        case "item/tool/requestUserInput":
            return _questions(number, params)
        case _:
            return None


def change_input(changes: Sequence[Json], cwd: str) -> Json:
    """A change of files as a tool's input; first the file that lies outside, if one does."""
    paths = [str(change["path"]) for change in changes]
    root = Path(cwd).resolve()
    outside = [path for path in paths if not (root / path).resolve().is_relative_to(root)]
    return {"file_path": (outside or paths or ["."])[0], "paths": paths}


def _command(number: int | str, params: Json, item: Json) -> Request:
    command = str(params.get("command") or item.get("command") or "")
    given: Json = {"command": command, "cwd": str(params.get("cwd") or item.get("cwd") or "")}
    if reason := params.get("reason"):
        given["reason"] = str(reason)
    if network := params.get("networkApprovalContext"):
        given["network"] = network
    text = f"May the agent run this? {reason or ''}".strip()
    return _permission(number, params, COMMAND_TOOL, given, text, None)


def _change(number: int | str, params: Json, item: Json, cwd: str) -> Request:
    changes = cast("list[Json]", item.get("changes") or [])
    given = change_input(changes, cwd)
    if root := params.get("grantRoot"):
        given["file_path"] = str(root)
    text = f"May the agent change files? {params.get('reason') or ''}".strip()
    return _permission(number, params, CHANGE_TOOL, given, text, _diff(changes))


def _permission(
    number: int | str, params: Json, tool: str, given: Json, text: str, diff: str | None
) -> Request:
    item_id = str(params["itemId"])
    key = _key(f"{item_id}/{params.get('approvalId') or ''}".rstrip("/"))
    question = RunQuestion(
        key=key,
        kind=QuestionKind.PERMISSION,
        text=text,
        tool_name=tool,
        tool_input=given,
        diff=diff,
    )
    return Request(
        number, [question], {"decision": "accept"}, {"decision": "decline"}, item_id=item_id
    )


def _permissions(number: int | str, params: Json) -> Request:
    wanted = cast("Json", params.get("permissions") or {})
    question = RunQuestion(
        key=_key(f"{params['itemId']}/permissions"),
        kind=QuestionKind.PERMISSION,
        text=f"May the agent do more? {params.get('reason') or ''}".strip(),
        tool_name="request_permissions",
        tool_input=wanted,
    )
    granted: Json = {"permissions": wanted, "scope": "turn"}
    return Request(number, [question], granted, {"permissions": {}, "scope": "turn"})


def _questions(number: int | str, params: Json) -> Request:
    made = Request(number, [])
    for each in cast("list[Json]", params["questions"]):
        key = _key(f"{params['itemId']}/{each['id']}")
        options = cast("list[Json]", each.get("options") or [])
        made.asked[key] = str(each["id"])
        made.questions.append(
            RunQuestion(
                key=key,
                kind=QuestionKind.QUESTION,
                text=str(each["question"]),
                options=[
                    QuestionOption(
                        label=str(option["label"])[:500],
                        description=str(option.get("description") or "")[:4000],
                    )
                    for option in options
                ],
                allows_text=not options or bool(each.get("isOther")),
            )
        )
    return made


def _diff(changes: Sequence[Json]) -> str | None:
    parts = [f"--- {change['path']}\n{change.get('diff') or ''}" for change in changes]
    return "\n".join(parts)[:_MAX_DIFF] or None


def _key(text: str) -> str:
    return text if len(text) <= _MAX_KEY else hashlib.sha256(text.encode()).hexdigest()
