"""OpenAI's Responses."""

from collections.abc import Iterator
from typing import Any

from agentvine.llm.scripted.asked import (
    Asked,
    Json,
    Offered,
    Transcript,
    as_count,
    as_dict,
    as_list,
    texts_of,
)
from agentvine.llm.scripted.script import Fault
from agentvine.llm.scripted.wires.base import Counts, Incoming, Reply, Told, given, sse
from agentvine.llm.scripted.wires.chat import openai_error

_RESULTS = ("function_call_output", "custom_tool_call_output", "tool_search_output")


class Responses:
    """``POST /v1/responses``."""

    name = "responses"

    def read(self, incoming: Incoming) -> Asked:
        """What is asked. One reply of the model's comes back as several items."""
        body, told = incoming.body, Transcript()
        system = [str(body.get("instructions") or "")]
        items = body.get("input")
        if isinstance(items, str):
            told.add_prompt([items])
        was_reply = False
        for item in map(as_dict, as_list(items)):
            kind, role = item.get("type", "message"), item.get("role")
            is_reply = role == "assistant" or (kind != "message" and kind not in _RESULTS)
            if is_reply:
                told.add_reply(is_new=not was_reply)
            elif kind in _RESULTS:
                told.add_results()
            elif role in ("system", "developer"):
                system += texts_of(item.get("content"))
            else:
                told.add_prompt(texts_of(item.get("content")))
            was_reply = is_reply
        return Asked(
            wire=self.name,
            model=str(body.get("model", "")),
            is_stream=body.get("stream") is True,
            system="\n".join(system),
            transcript=told,
            tools=tuple(_offered(as_dict(tool)) for tool in as_list(body.get("tools"))),
            key=incoming.key,
            size=incoming.size,
            max_output=as_count(body.get("max_output_tokens")),
        )

    def told(self, counts: Counts) -> Told:
        """Input comes with what the caches held; there is no writing into them."""
        return Told(counts.input, counts.output, counts.cache_read, 0)

    def whole(self, reply: Reply) -> Json:
        """The response."""
        return _response(reply, "completed", list(_items(reply)))

    def events(self, reply: Reply) -> Iterator[bytes]:
        """The response's beginning, its items, and its end with the usage."""
        bare = [*self._bare_events(reply)]
        for number, event in enumerate(bare):
            yield sse({**event, "sequence_number": number}, event=str(event["type"]))

    def _bare_events(self, reply: Reply) -> Iterator[Json]:
        items = list(_items(reply))
        begun = _response(reply, "in_progress", [])
        yield {"type": "response.created", "response": begun}
        yield {"type": "response.in_progress", "response": begun}
        for index, item in enumerate(items):
            at: Json = {"output_index": index, "item_id": item["id"]}
            yield {
                "type": "response.output_item.added",
                "output_index": index,
                "item": _begun(item),
            }
            yield from _item_events(reply, item, at)
            yield {"type": "response.output_item.done", "output_index": index, "item": item}
        ended = "incomplete" if reply.stop == "max_tokens" else "completed"
        yield {"type": f"response.{ended}", "response": _response(reply, ended, items)}

    def error(self, status: int, fault: Fault) -> Json:
        """A refusal."""
        return openai_error(status, fault)

    def error_event(self, fault: Fault) -> bytes:
        """A failure in the middle of a stream."""
        error = {"code": fault.code or "server_error", "message": fault.message}
        response: Json = {"id": "resp_failed", "object": "response", "status": "failed"}
        data: Json = {"type": "response.failed", "response": {**response, "error": error}}
        return sse(data, event="response.failed")


def _offered(tool: Json) -> Offered:
    name = str(tool.get("name") or tool.get("type", ""))
    return Offered(name, as_dict(tool.get("parameters")), is_custom=tool.get("type") == "custom")


def _response(reply: Reply, status: str, output: list[Json]) -> Json:
    is_over = status != "in_progress"
    return {
        "id": f"resp_{reply.id}",
        "object": "response",
        "created_at": reply.created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "metadata": {},
        "model": reply.asked.model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": _usage(reply.counts) if is_over else None,
    }


def _items(reply: Reply) -> Iterator[Json]:
    if reply.thinking:
        summary = [{"type": "summary_text", "text": reply.thinking}]
        yield {"id": f"rs_{reply.id}", "type": "reasoning", "summary": summary}
    if reply.text:
        part: Json = {"type": "output_text", "text": reply.text, "annotations": []}
        yield {
            "id": f"msg_{reply.id}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
    for number, call in enumerate(reply.calls):
        kind, field = _call_kind(is_custom=call.is_custom)
        yield given(
            id=f"{'ctc' if call.is_custom else 'fc'}_{reply.id}_{number}",
            type=kind,
            status="completed",
            call_id=f"call_{reply.id}_{number}",
            name=call.tool,
            namespace=call.namespace,
        ) | {field: call.arguments}


def _call_kind(*, is_custom: bool) -> tuple[str, str]:
    return ("custom_tool_call", "input") if is_custom else ("function_call", "arguments")


def _begun(item: Json) -> Json:
    """An item as it begins in a stream."""
    blank: Json = {"summary": [], "content": [], "arguments": "", "input": ""}
    begun = {name: blank.get(name, value) for name, value in item.items()}
    return begun | ({"status": "in_progress"} if "status" in item else {})


def _item_events(reply: Reply, item: Json, at: Json) -> Iterator[Json]:
    match item["type"]:
        case "reasoning":
            yield from _reasoning_events(reply, at)
        case "message":
            yield from _text_events(reply, item, at)
        case "custom_tool_call":
            kind = "response.custom_tool_call_input"
            for piece in reply.pieces(item["input"]):
                yield {"type": f"{kind}.delta", **at, "delta": piece}
            yield {"type": f"{kind}.done", **at, "input": item["input"]}
        case _:
            kind = "response.function_call_arguments"
            for piece in reply.pieces(item["arguments"]):
                yield {"type": f"{kind}.delta", **at, "delta": piece}
            yield {
                "type": f"{kind}.done",
                **at,
                "name": item["name"],
                "arguments": item["arguments"],
            }


def _reasoning_events(reply: Reply, at: Json) -> Iterator[Json]:
    at = {**at, "summary_index": 0}
    text, kind = reply.thinking, "response.reasoning_summary"
    empty, full = {"type": "summary_text", "text": ""}, {"type": "summary_text", "text": text}
    yield {"type": f"{kind}_part.added", **at, "part": empty}
    for piece in reply.pieces(text):
        yield {"type": f"{kind}_text.delta", **at, "delta": piece}
    yield {"type": f"{kind}_text.done", **at, "text": text}
    yield {"type": f"{kind}_part.done", **at, "part": full}


def _text_events(reply: Reply, item: Json, at: Json) -> Iterator[Json]:
    at = {**at, "content_index": 0}
    part: dict[str, Any] = item["content"][0]
    yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
    for piece in reply.pieces(reply.text):
        yield {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **at, "text": reply.text, "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": part}


def _usage(counts: Counts) -> Json:
    return {
        "input_tokens": counts.input,
        "input_tokens_details": {"cached_tokens": counts.cache_read},
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.input + counts.output,
    }
