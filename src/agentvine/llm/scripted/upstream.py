"""A provider of models that follows a script: an ASGI application without a framework.

It speaks Anthropic Messages, OpenAI Chat Completions and Responses, and Gemini, below any path
(``/anything/v1/messages``), whole and streamed, and keeps what it was asked and what it told.
"""

import hashlib
import json
import re
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.ids import new_id
from agentvine.llm.scripted.asked import Asked, Json, as_dict
from agentvine.llm.scripted.neutral import Played, play_call, shell_command_of
from agentvine.llm.scripted.playing import Player
from agentvine.llm.scripted.script import Conversation, Fault, Script, ScriptInvalid, Turn
from agentvine.llm.scripted.sending import Message, Receive, Send, Sender, Sent
from agentvine.llm.scripted.wires.anthropic import AnthropicMessages
from agentvine.llm.scripted.wires.base import Counts, Incoming, Reply, Told, Wire, compact
from agentvine.llm.scripted.wires.chat import ChatCompletions
from agentvine.llm.scripted.wires.gemini import GenerateContent
from agentvine.llm.scripted.wires.responses import Responses

_MAX_KEPT = 20_000
_JSON = {"content-type": "application/json"}
_SSE = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
_KEY_HEADERS = ("x-api-key", "x-goog-api-key", "authorization")
_SECRETS = (*_KEY_HEADERS, "proxy-authorization", "cookie")
_COUNTS = re.compile(r"/messages/count_tokens$|/models/[^/]+:countTokens$")
_MODELS = re.compile(r"/(?:v1|v1beta)/models$|^/models$")
_WIRES: tuple[tuple[re.Pattern[str], Wire], ...] = (
    (re.compile(r"/messages$"), AnthropicMessages()),
    (re.compile(r"/chat/completions$"), ChatCompletions()),
    (re.compile(r"/responses$"), Responses()),
    (re.compile(r"/models/[^/]+:(?:stream)?[gG]enerateContent$"), GenerateContent()),
)


@dataclass(slots=True, kw_only=True)
class Received:
    """One request, and what became of it."""

    number: int
    """From 1, in the order in which they came."""
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """In small letters; keys and cookies are not among them."""
    key_id: str
    """The beginning of the API key's SHA-256: the same for the same key. Empty without one."""
    body: object
    wire: str | None = None
    model: str | None = None
    is_aside: bool = False
    """Whether it got the script's title, as requests on the side do."""
    usage: Told | None = None
    """What the model used, in the ledger's words; None where it was not reached."""
    hides_usage: bool = False
    """Whether the caller did not ask to be told (a stream of Chat Completions)."""
    fault: Fault | None = None
    """How the script let it fail."""
    problem: str | None = None
    """Why the script could not be followed."""
    sent: Sent = field(default_factory=Sent)

    @property
    def is_told(self) -> bool:
        """Whether all of the answer went out, with its usage."""
        is_whole = self.fault is None and self.sent.is_whole
        return self.usage is not None and is_whole and not self.hides_usage

    def to_json(self) -> Json:
        """For who looks from outside."""
        fault = self.fault and self.fault.model_dump(exclude_defaults=True)
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        usage = self.usage and asdict(self.usage)
        more = {"fault": fault, "usage": usage, "sent": asdict(self.sent)}
        return plain | more | {"is_told": self.is_told}


class ScriptedUpstream:
    """The application."""

    def __init__(self, script: Script, *, clock: Clock | None = None) -> None:
        """Play this script from its beginning."""
        self._script = script
        self._clock = clock or SystemClock()
        self._player = Player(script)
        self._received: deque[Received] = deque(maxlen=_MAX_KEPT)
        self._count = 0

    @property
    def requests(self) -> list[Received]:
        """What came to the models, oldest first; the last 20,000."""
        return list(self._received)

    def play(self, script: Script) -> None:
        """Play another script from its beginning, and forget the requests."""
        self._script, self._player = script, Player(script)
        self._received.clear()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            # Refused before it is accepted: clients then take plain HTTP.
            await send({"type": "websocket.close", "code": 1000})
        else:
            raw = await _read_body(receive)
            if scope["path"] == "/_script/requests":
                async with Sender(receive, send, Sent()) as sender:
                    await self._tell_requests(sender)
            else:
                received, key = self._note(scope, raw)
                async with Sender(receive, send, received.sent) as sender:
                    await self._answer(received, raw, key, sender)

    async def _tell_requests(self, sender: Sender) -> None:
        lines = "".join(f"{compact(each.to_json())}\n" for each in self._received)
        await sender.whole(200, {"content-type": "application/jsonl"}, lines.encode())

    async def _answer(self, received: Received, raw: bytes, key: str, sender: Sender) -> None:
        path = received.path
        wire = next((wire for pattern, wire in _WIRES if pattern.search(path)), None)
        if received.method == "POST" and wire is not None:
            try:
                await self._say(received, wire, raw, key, sender)
            except ScriptInvalid as error:
                received.problem = error.detail
                fault = Fault(status=400, message=error.detail)
                headers = {**_JSON, "x-should-retry": "false"}
                await sender.whole(400, headers, compact(wire.error(400, fault)).encode())
        else:
            await self._answer_aside(received, raw, sender)

    def _note(self, scope: Mapping[str, Any], raw: bytes) -> tuple[Received, str]:
        self._count += 1
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        key = next((headers[name] for name in _KEY_HEADERS if name in headers), "")
        key = key.removeprefix("Bearer ") or query.get("key", "")
        received = Received(
            number=self._count,
            method=scope["method"],
            path=scope["path"],
            query={name: value for name, value in query.items() if name != "key"},
            headers={name: value for name, value in headers.items() if name not in _SECRETS},
            key_id=hashlib.sha256(key.encode()).hexdigest()[:12] if key else "",
            body=_parse(raw),
        )
        self._received.append(received)
        return received, key

    async def _say(
        self, received: Received, wire: Wire, raw: bytes, key: str, sender: Sender
    ) -> None:
        asked = wire.read(
            Incoming(
                path=received.path,
                query=received.query,
                body=as_dict(received.body),
                size=len(raw),
                key=key,
            )
        )
        received.wire, received.model = wire.name, asked.model
        turn, fault, conversation = self._player.choose(asked)
        received.is_aside, received.fault = conversation is None, fault
        await sender.wait(turn.delay + (fault.delay if fault else 0))
        if fault is not None and not _reaches_model(fault, asked):
            await _refuse(fault, wire, sender)
            return
        reply = self._reply(turn, conversation, asked, wire)
        received.hides_usage = asked.is_stream and not asked.wants_usage
        received.usage = wire.told(reply.counts)
        cut_at = fault.cut_after_bytes if fault else None
        if asked.is_stream:
            await sender.stream(
                {**(_SSE if asked.is_sse else _JSON), **turn.headers},
                _with_fault(wire.events(reply), wire, fault),
                pace=turn.pace,
                cut_at=cut_at,
                cut_after=fault.cut_after_events if fault else None,
            )
        else:
            body = compact(wire.whole(reply)).encode()
            await sender.whole(200, {**_JSON, **turn.headers}, body, cut_at=cut_at)

    def _reply(
        self, turn: Turn, conversation: Conversation | None, asked: Asked, wire: Wire
    ) -> Reply:
        text, calls = turn.text, list[Played]()
        if conversation is not None and conversation.as_text is not None:
            for call in turn.calls:
                text += f"\n\n```{conversation.as_text}\n{shell_command_of(call)}\n```\n"
        else:
            calls = [play_call(call, asked) for call in turn.calls]
        usage = turn.usage or self._script.usage
        said = len(text) + len(turn.thinking) + sum(len(call.arguments) for call in calls)
        counts = Counts(
            input=asked.size // 4 if usage.input is None else usage.input,
            output=said // 4 + 1 if usage.output is None else usage.output,
            cache_read=usage.cache_read,
            cache_write=usage.cache_write,
            reasoning=usage.reasoning,
        )
        return Reply(
            id=new_id().hex,
            asked=asked,
            text=text,
            thinking=turn.thinking,
            calls=tuple(calls),
            counts=_within(asked.max_output, counts, wire),
            stop=turn.stop,
            chunk=turn.chunk,
            created=int(self._clock.now().timestamp()),
        )

    async def _answer_aside(self, received: Received, raw: bytes, sender: Sender) -> None:
        """Counting, the list of models, and whatever asks only whether somebody is there."""
        path, method = received.path, received.method
        if method == "POST" and _COUNTS.search(path):
            number = self._script.usage.input
            number = len(raw) // 4 if number is None else number
            body: Json = {"input_tokens": number, "totalTokens": number}
            await sender.whole(200, _JSON, compact(body).encode())
        elif method == "GET" and _MODELS.search(path):
            await sender.whole(200, _JSON, compact(self._list_models()).encode())
        elif method == "HEAD" or path.endswith(("/api/hello", "/")):
            await sender.whole(200, _JSON, b"" if method == "HEAD" else b"{}")
        else:
            body = {"error": {"type": "not_found_error", "message": f"No {method} {path} here."}}
            await sender.whole(404, _JSON, compact(body).encode())

    def _list_models(self) -> Json:
        """One list that fits Anthropic's, OpenAI's and Gemini's clients."""
        names = self._script.models
        since = "2026-01-01T00:00:00Z"
        models: list[Json] = [
            {
                "id": name,
                "type": "model",
                "object": "model",
                "display_name": name,
                "created_at": since,
                "created": 1_767_225_600,
                "owned_by": "agentvine",
            }
            for name in names
        ]
        methods = ["generateContent", "countTokens"]
        listed: list[Json] = [
            {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods}
            for name in names
        ]
        ends: Json = {"first_id": names[0], "last_id": names[-1], "has_more": False}
        return {"object": "list", "data": models, "models": listed, **ends}


def _within(limit: int | None, counts: Counts, wire: Wire) -> Counts:
    """What an answer uses at most where the request limits it, as providers hold it."""
    if limit is None:
        return counts
    counts = replace(counts, reasoning=min(counts.reasoning, limit))
    excess = wire.told(counts).tokens_out - limit
    return replace(counts, output=counts.output - excess) if excess > 0 else counts


def _with_fault(events: Iterator[bytes], wire: Wire, fault: Fault | None) -> Iterator[bytes]:
    if fault is None or fault.error_after_events is None:
        yield from events
        return
    yield from islice(events, fault.error_after_events)
    yield wire.error_event(fault)


def _reaches_model(fault: Fault, asked: Asked) -> bool:
    """Whether something is said before it fails. A whole answer has no events to fail after."""
    if fault.status is not None:
        return False
    return asked.is_stream or fault.cut_after_bytes is not None


async def _refuse(fault: Fault, wire: Wire, sender: Sender) -> None:
    status = fault.status or 500
    body = wire.error(status, fault) if fault.body is None else fault.body
    text = body if isinstance(body, str) else compact(body)
    kind = {"content-type": "text/plain"} if isinstance(body, str) else _JSON
    await sender.whole(status, {**kind, **fault.headers}, text.encode())


def _parse(raw: bytes) -> object:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return raw.decode(errors="replace")


async def _read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
