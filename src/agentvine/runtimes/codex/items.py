"""The steps of Codex's work, and what it says of usage and limits, in our words."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.codex.asking import CHANGE_TOOL, COMMAND_TOOL, change_input
from agentvine.runtimes.error_words import class_of_text
from agentvine.runtimes.events import (
    AgentEvent,
    AssistantText,
    Failed,
    LimitNotice,
    ModelUsage,
    Notice,
    Thinking,
    ToolCall,
    ToolResult,
)
from agentvine.runtimes.json_rpc import Json

_COUNTS = (
    "inputTokens",
    "cachedInputTokens",
    "cacheWriteInputTokens",
    "outputTokens",
    "reasoningOutputTokens",
)
_CLASSES = {
    "contextWindowExceeded": FailureClass.CONTEXT_OVERFLOW,
    "sessionBudgetExceeded": FailureClass.BUDGET_EXHAUSTED,
    "usageLimitExceeded": FailureClass.QUOTA_EXHAUSTED,
    "rateLimitExceeded": FailureClass.RATE_LIMITED,
    "modelNotFound": FailureClass.MODEL_INVALID,
    "unauthorized": FailureClass.AUTH_FAILED,
    "serverOverloaded": FailureClass.NETWORK_FAILED,
    "internalServerError": FailureClass.NETWORK_FAILED,
    "tooManyDenials": FailureClass.PERMISSION_DENIED,
    "sandboxError": FailureClass.TOOL_FAILED,
}
_BY_STATUS = {
    401: FailureClass.AUTH_FAILED,
    402: FailureClass.BUDGET_EXHAUSTED,
    403: FailureClass.AUTH_FAILED,
    404: FailureClass.MODEL_INVALID,
    413: FailureClass.CONTEXT_OVERFLOW,
    429: FailureClass.RATE_LIMITED,
}
_USED_UP = 100
Called = tuple[str, Json]


def started(item: Json, cwd: str) -> list[AgentEvent]:
    """A step has begun; most that it does are tools' calls."""
    called = _CALLS.get(str(item.get("type")))
    if called is None:
        return []
    name, given = called(item, cwd)
    return [ToolCall(id=str(item["id"]), name=name, input=given)]


def completed(item: Json) -> list[AgentEvent]:
    """A step has ended; the call itself was told before."""
    kind = str(item.get("type"))
    if kind in _CALLS:
        return [_result(item)]
    match kind:
        case "agentMessage" | "plan":
            text = str(item.get("text") or "")
            return [AssistantText(text=text)] if text.strip() else []
        case "reasoning":
            parts = [str(part) for part in (*item.get("summary", ()), *item.get("content", ()))]
            return [Thinking(text="\n".join(parts))] if parts else []
        case "contextCompaction":
            return [Notice(text="It has shortened its conversation.")]
        case _:
            return []


def _mcp_call(item: Json, _: str) -> Called:
    given = item.get("arguments")
    about = cast("Json", given) if isinstance(given, dict) else {"arguments": given}
    return f"mcp__{item.get('server')}__{item.get('tool')}", about


def _change_call(item: Json, cwd: str) -> Called:
    return CHANGE_TOOL, change_input(cast("list[Json]", item.get("changes") or []), cwd)


_CALLS: dict[str, Callable[[Json, str], Called]] = {
    "commandExecution": lambda item, _: (
        COMMAND_TOOL,
        {"command": item.get("command"), "cwd": item.get("cwd")},
    ),
    "fileChange": _change_call,
    "mcpToolCall": _mcp_call,
    "dynamicToolCall": lambda item, _: (
        str(item.get("tool")),
        {"arguments": item.get("arguments")},
    ),
    "webSearch": lambda item, _: ("web_search", {"query": item.get("query")}),
    "imageView": lambda item, _: ("view_image", {"path": item.get("path")}),
}


def _result(item: Json) -> ToolResult:
    error = cast("Json", item.get("error") or {})
    output = item.get("aggregatedOutput") or error.get("message") or _texts(item.get("result"))
    is_denied = item.get("status") == "declined"
    has_failed = item.get("status") == "failed" or item.get("success") is False
    return ToolResult(
        id=str(item["id"]),
        output=str(output) or ("It was not allowed." if is_denied else ""),
        is_error=is_denied or has_failed or bool(item.get("exitCode")),
        is_denied=is_denied,
    )


def _texts(result: object) -> str:
    if not isinstance(result, dict):
        return ""
    content = cast("list[Json]", cast("Json", result).get("content") or [])
    return "\n".join(str(block.get("text") or "") for block in content if isinstance(block, dict))  # pyright: ignore[reportUnnecessaryIsInstance] - another program's JSON


def counts_of(told: Json) -> dict[str, int]:
    """Its own counts; what it reads from a cache is part of the input there."""
    return {name: int(told.get(name) or 0) for name in _COUNTS}


def usage_of(counts: Mapping[str, int]) -> ModelUsage:
    """The same in our classes, which do not overlap."""
    cached, written = counts["cachedInputTokens"], counts["cacheWriteInputTokens"]
    return ModelUsage(
        input_tokens=counts["inputTokens"] - cached - written,
        output_tokens=counts["outputTokens"],
        cache_read_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=counts["reasoningOutputTokens"],
    )


def limit_of(told: Json) -> LimitNotice | None:
    """A window of the account's that is used up; None while there is room."""
    windows = (told.get("primary"), told.get("secondary"))
    found = [cast("Json", each) for each in windows if isinstance(each, dict)]
    full = [each for each in found if int(each.get("usedPercent") or 0) >= _USED_UP]
    if not full and not told.get("rateLimitReachedType"):
        return None
    ends = [each["resetsAt"] for each in full if each.get("resetsAt")]
    return LimitNotice(
        text=f"The limit {told.get('limitName') or told.get('limitId') or 'of the account'} "
        "is reached.",
        is_reached=True,
        resets_at=datetime.fromtimestamp(max(ends), UTC) if ends else None,
    )


def failure_of(error: Json, resets_at: datetime | None) -> Failed:
    """Why a turn failed."""
    message = "; ".join(
        dict.fromkeys(
            str(error[name]) for name in ("message", "additionalDetails") if error.get(name)
        )
    )
    failure_class = _class_of(error.get("codexErrorInfo"), message)
    is_limit = failure_class in {FailureClass.RATE_LIMITED, FailureClass.QUOTA_EXHAUSTED}
    return Failed(
        failure_class=failure_class,
        message=message or "The turn failed, and Codex gave no reason.",
        retry_at=resets_at if is_limit else None,
    )


def _class_of(info: Any, message: str) -> FailureClass:
    told = class_of_text(message)
    if told is FailureClass.BUDGET_EXHAUSTED:
        # Our gateway's words: the status beside them is a bad request to it.
        return told
    if isinstance(info, str) and info in _CLASSES:
        return _CLASSES[info]
    if isinstance(info, dict):
        for about in cast("Json", info).values():
            status = about.get("httpStatusCode") if isinstance(about, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - another program's JSON
            if isinstance(status, int):
                by_server = FailureClass.NETWORK_FAILED if status >= 500 else None
                found = _BY_STATUS.get(status) or by_server
                if found is not None:
                    return found
        return told or FailureClass.NETWORK_FAILED
    return told or FailureClass.CRASHED
