"""Anthropic's Messages."""

from collections.abc import Iterator

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
from agentvine.llm.scripted.wires.base import Counts, Incoming, Reply, Told, compact, given, sse

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


class AnthropicMessages:
    """``POST /v1/messages``."""

    name = "anthropic"

    def read(self, incoming: Incoming) -> Asked:
        """What is asked. Messages of the role ``system`` may stand between the others."""
        body, told = incoming.body, Transcript()
        for message in map(as_dict, as_list(body.get("messages"))):
            content = message.get("content")
            blocks = [as_dict(block) for block in as_list(content)]
            results = sum(block.get("type") == "tool_result" for block in blocks)
            if message.get("role") == "assistant":
                told.add_reply()
            elif message.get("role") == "system":
                told.remarks += texts_of(content)
            else:
                # Words beside results were said while the tools ran.
                told.add_results(results)
                told.add_prompt(texts_of(content))
        tools = [as_dict(tool) for tool in as_list(body.get("tools"))]
        return Asked(
            wire=self.name,
            model=str(body.get("model", "")),
            is_stream=body.get("stream") is True,
            system="\n".join(texts_of(body.get("system"))),
            transcript=told,
            tools=tuple(
                Offered(str(tool.get("name", "")), as_dict(tool.get("input_schema")))
                for tool in tools
            ),
            key=incoming.key,
            size=incoming.size,
            max_output=as_count(body.get("max_tokens")),
        )

    def told(self, counts: Counts) -> Told:
        """Input comes without what the caches held, output with what was thought."""
        tokens_in = counts.input + counts.cache_read + counts.cache_write
        return Told(tokens_in, counts.output, counts.cache_read, counts.cache_write)

    def whole(self, reply: Reply) -> Json:
        """The message."""
        usage = {**_input_usage(reply.counts), "output_tokens": reply.counts.output}
        message = _message(reply, [block for block, _ in _blocks(reply)], usage)
        return {**message, "stop_reason": _stop_reason(reply)}

    def events(self, reply: Reply) -> Iterator[bytes]:
        """The message's beginning with the input's usage, its blocks, its end with the output's."""
        usage = {**_input_usage(reply.counts), "output_tokens": 1}
        yield _event("message_start", message=_message(reply, [], usage))
        yield _event("ping")
        for index, (block, deltas) in enumerate(_blocks(reply)):
            yield _event("content_block_start", index=index, content_block=_empty(block))
            for delta in deltas:
                yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        yield _event(
            "message_delta",
            delta={"stop_reason": _stop_reason(reply), "stop_sequence": None},
            usage={"output_tokens": reply.counts.output},
        )
        yield _event("message_stop")

    def error(self, status: int, fault: Fault) -> Json:
        """A refusal."""
        kind = fault.type or _ERRORS.get(status, "api_error")
        error = given(type=kind, code=fault.code, message=fault.message)
        return {"type": "error", "error": error}

    def error_event(self, fault: Fault) -> bytes:
        """A failure in the middle of a stream."""
        return sse(self.error(529, fault), event="error")


def _event(kind: str, **members: object) -> bytes:
    return sse({"type": kind, **members}, event=kind)


def _message(reply: Reply, content: list[Json], usage: Json) -> Json:
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "role": "assistant",
        "model": reply.asked.model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _blocks(reply: Reply) -> Iterator[tuple[Json, list[Json]]]:
    """Each block with the deltas that it is streamed in."""
    if reply.thinking:
        signature = f"signature-{reply.id}"
        deltas = [{"type": "thinking_delta", "thinking": p} for p in reply.pieces(reply.thinking)]
        deltas.append({"type": "signature_delta", "signature": signature})
        block = {"type": "thinking", "thinking": reply.thinking, "signature": signature}
        yield block, deltas
    if reply.text:
        deltas = [{"type": "text_delta", "text": piece} for piece in reply.pieces(reply.text)]
        yield {"type": "text", "text": reply.text}, deltas
    for number, call in enumerate(reply.calls):
        arguments = compact(call.input)
        deltas = [
            {"type": "input_json_delta", "partial_json": piece} for piece in reply.pieces(arguments)
        ]
        call_id = f"toolu_{reply.id}_{number}"
        yield (
            {"type": "tool_use", "id": call_id, "name": call.tool, "input": call.input},
            deltas,
        )


def _empty(block: Json) -> Json:
    """A block as it begins in a stream."""
    blank: Json = {"thinking": "", "signature": "", "text": "", "input": {}}
    return {name: blank.get(name, value) for name, value in block.items()}


def _input_usage(counts: Counts) -> Json:
    return {
        "input_tokens": counts.input,
        "cache_creation_input_tokens": counts.cache_write,
        "cache_read_input_tokens": counts.cache_read,
    }


def _stop_reason(reply: Reply) -> str:
    if reply.stop != "done":
        return reply.stop
    return "tool_use" if reply.calls else "end_turn"
