"""The library behind the door: pydantic-ai's models, over the providers' own clients.

The only module that imports it, which takes more than a second; ``door.py`` imports this one when
the first call is made.
"""

import json
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic_ai import exceptions
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from agentvine.llm.asking import Asking, CallFailed, Library, OpenStream
from agentvine.llm.messages import Conversation, Json, Reply, Results, Stop, ToolCall, Used
from agentvine.llm.ports import Endpoint

_STOPS = {
    "stop": Stop.DONE,
    "tool_call": Stop.CALLS,
    "length": Stop.TOO_LONG,
    "content_filter": Stop.REFUSED,
}
_NO_KEY = "none"


async def ask(asking: Asking) -> Reply:
    """Ask, and wait for the whole reply.

    Raises:
        CallFailed: There was none.
    """
    model, settings, parameters = _prepare(asking)
    with _told():
        response = await model.request(_messages(asking.conversation), settings, parameters)
    return _reply(response)


class _OpenStream:
    """A reply as it comes."""

    def __init__(self, response: StreamedResponse) -> None:
        """Read from here."""
        self._response = response

    async def pieces(self) -> AsyncGenerator[str]:
        """What is said, piece by piece; also empty ones, when something else has come.

        Raises:
            CallFailed: It broke off.
        """
        said = 0
        with _told(was_sent=True):
            async for _ in self._response:
                text = _reply(self._response.get()).text
                yield text[said:]
                said = len(text)

    @property
    def used(self) -> Used:
        """As far as it is told."""
        return _used(self._response.usage)

    @property
    def reply(self) -> Reply:
        """As far as it has come."""
        return _reply(self._response.get())


@asynccontextmanager
async def open_stream(asking: Asking) -> AsyncGenerator[OpenStream]:
    """Ask, and read the reply as it comes.

    Raises:
        CallFailed: It did not begin.
    """
    model, settings, parameters = _prepare(asking)
    with _told():
        async with model.request_stream(
            _messages(asking.conversation), settings, parameters
        ) as response:
            yield _OpenStream(response)


def _prepare(asking: Asking) -> tuple[Model, ModelSettings, ModelRequestParameters]:
    settings = ModelSettings(max_tokens=asking.max_output, timeout=asking.timeout_seconds)
    if asking.temperature is not None:
        settings["temperature"] = asking.temperature
    definitions = [
        ToolDefinition(
            name=tool.name, description=tool.description, parameters_json_schema=tool.schema
        )
        for tool in asking.tools
    ]
    if asking.must_call:
        parameters = ModelRequestParameters(
            output_mode="tool", output_tools=definitions, allow_text_output=False
        )
    else:
        parameters = ModelRequestParameters(function_tools=definitions)
    return _model(asking.endpoint), settings, parameters


def _model(endpoint: Endpoint) -> Model:
    key, http = endpoint.key or _NO_KEY, endpoint.http
    # Every attempt is booked, so nobody but the door may try again.
    if endpoint.kind == "anthropic":
        client = AsyncAnthropic(
            api_key=key, base_url=endpoint.base_url, http_client=http, max_retries=0
        )
        return AnthropicModel(endpoint.model, provider=AnthropicProvider(anthropic_client=client))
    other = AsyncOpenAI(api_key=key, base_url=endpoint.base_url, http_client=http, max_retries=0)
    profile = OpenAIModelProfile(openai_chat_supports_max_completion_tokens=endpoint.is_openais)
    return OpenAIChatModel(
        endpoint.model, provider=OpenAIProvider(openai_client=other), profile=profile
    )


def _messages(conversation: Conversation) -> list[ModelMessage]:
    messages: list[ModelMessage] = []
    system = [SystemPromptPart(conversation.system)] if conversation.system else []
    parts: list[Any] = [*system]
    for entry in conversation.entries:
        if isinstance(entry, Reply):
            messages.append(ModelRequest(parts=parts))
            parts = []
            native = entry.native
            messages.append(native if isinstance(native, ModelResponse) else _response(entry))
        elif isinstance(entry, Results):
            parts += [
                ToolReturnPart(
                    tool_name=item.call.name,
                    content=item.text,
                    tool_call_id=item.call.id,
                    outcome="failed" if item.is_error else "success",
                )
                for item in entry.items
            ]
        else:
            parts.append(UserPromptPart(entry.text))
    return [*messages, ModelRequest(parts=parts)] if parts else messages


def _response(reply: Reply) -> ModelResponse:
    """A reply that did not come from here: a scripted or a remembered one."""
    calls = [ToolCallPart(call.name, dict(call.input), call.id) for call in reply.calls]
    text = [TextPart(reply.text)] if reply.text else []
    return ModelResponse(parts=[*text, *calls])


def _reply(response: ModelResponse) -> Reply:
    calls = [_call(part) for part in response.parts if isinstance(part, ToolCallPart)]
    texts = [part.content for part in response.parts if isinstance(part, TextPart)]
    thoughts = [part.content for part in response.parts if isinstance(part, ThinkingPart)]
    stop = _STOPS.get(response.finish_reason or "stop", Stop.DONE)
    return Reply(
        text="".join(texts),
        thinking="".join(thoughts),
        calls=calls,
        stop=Stop.CALLS if calls and stop is Stop.DONE else stop,
        used=_used(response.usage),
        model=response.model_name or "",
        native=response,
    )


def _call(part: ToolCallPart) -> ToolCall:
    given, problem = part.args, None
    if isinstance(given, str):
        try:
            given = json.loads(given or "{}")
        except ValueError as error:
            given, problem = {}, f"the input is no JSON: {error}"
    if not isinstance(given, dict) and given is not None:
        given, problem = {}, "the input is no JSON object"
    return ToolCall(
        id=part.tool_call_id, name=part.tool_name, input=cast("Json", given or {}), problem=problem
    )


def _used(usage: RequestUsage) -> Used:
    return Used(
        input=usage.input_tokens,
        output=usage.output_tokens,
        cache_read=usage.cache_read_tokens,
        cache_write=usage.cache_write_tokens,
    )


@contextmanager
def _told(*, was_sent: bool = False) -> Generator[None]:
    """Errors of the library in our words."""
    try:
        yield
    except exceptions.ModelConnectionError as error:
        not_sent = error.phase in ("pool", "connect")
        raise CallFailed(str(error), was_sent=was_sent or not not_sent) from error
    except exceptions.ModelHTTPError as error:
        raise _refused(error, was_sent=was_sent or error.in_stream) from error
    except exceptions.ModelAPIError as error:
        raise CallFailed(
            str(error), retry_after=error.retry_after, was_sent=was_sent or error.in_stream
        ) from error
    except exceptions.UnexpectedModelBehavior as error:
        # It answered, and counts it; what it said cannot be used.
        raise CallFailed(str(error), may_retry=False, was_sent=True) from error


def _refused(error: exceptions.ModelHTTPError, *, was_sent: bool) -> CallFailed:
    headers = error.headers or {}
    final = headers.get("x-should-retry") == "false"
    is_passing = error.status_code in {408, 409, 429} or error.status_code >= 500
    return CallFailed(
        _said(error),
        status=error.status_code,
        retry_after=error.retry_after,
        may_retry=is_passing and not final,
        was_sent=was_sent,
        is_too_long=isinstance(error, exceptions.ModelContextWindowExceededError),
    )


def _said(error: exceptions.ModelHTTPError) -> str:
    """What the provider said, if it can be found, else the whole."""
    body = cast("Json", error.body) if isinstance(error.body, dict) else {}
    inner = body.get("error", body)
    message = cast("Json", inner).get("message") if isinstance(inner, dict) else inner
    text = message if isinstance(message, str) else str(error)
    return f"HTTP {error.status_code}: {text[:1000]}"


LIBRARY = Library(ask, open_stream)
