"""Each wire format is read by its makers' own client, whole and streamed."""

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from agentvine.llm.scripted.wires.base import Told
from tests.support.models import WRITE, Model, scripted_model

SCRIPT = """
usage: {input: 1111, output: 22, cache_read: 333, cache_write: 44, reasoning: 5}
turns:
  - thinking: Let me think about this one for a while, and then some more.
    text: I make the file that was asked for, as it was asked for.
    chunk: 7
    calls:
      - write_file: {path: a.txt, content: "a\\n"}
      - {tool: other, input: {deep: [1, {x: "ü"}]}}
  - text: Done.
"""
TEXT = "I make the file that was asked for, as it was asked for."
THOUGHT = "Let me think about this one for a while, and then some more."
FIRST = {"path": "a.txt", "content": "a\n"}
SECOND = {"deep": [1, {"x": "ü"}]}


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    async with scripted_model(SCRIPT) as served:
        yield served


@pytest.fixture
async def anthropic_client(model: Model) -> AsyncIterator[anthropic.AsyncAnthropic]:
    url = f"{model.url}/some"
    async with anthropic.AsyncAnthropic(api_key="sk-a", base_url=url, max_retries=0) as client:
        yield client


@pytest.fixture
async def openai_client(model: Model) -> AsyncIterator[openai.AsyncOpenAI]:
    url = f"{model.url}/some/v1"
    async with openai.AsyncOpenAI(api_key="sk-a", base_url=url, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("is_stream", [False, True])
async def test_anthropics_client_reads_messages(
    model: Model, anthropic_client: anthropic.AsyncAnthropic, is_stream: bool
):
    asked: dict[str, Any] = {
        "model": "claude-x",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "Make a.txt."}],
        "tools": [{"name": "write_file", "input_schema": WRITE}],
    }
    if is_stream:
        async with anthropic_client.messages.stream(**asked) as stream:
            message = await stream.get_final_message()
    else:
        message = await anthropic_client.messages.create(**asked)

    blocks: Any = message.content
    thinking, text, first, second = blocks
    assert (thinking.type, text.type, first.type, second.type) == (
        *("thinking", "text", "tool_use", "tool_use"),
    )
    assert thinking.thinking == THOUGHT
    assert thinking.signature
    assert text.text == TEXT
    assert (first.name, first.input, second.input) == ("write_file", FIRST, SECOND)
    assert first.id != second.id
    assert (message.stop_reason, message.model) == ("tool_use", "claude-x")
    used = message.usage
    assert (used.input_tokens, used.output_tokens) == (1111, 22)
    assert (used.cache_read_input_tokens, used.cache_creation_input_tokens) == (333, 44)
    assert model.requests[0].usage == Told(1488, 22, 333, 44)
    assert model.requests[0].is_told


@pytest.mark.parametrize("is_stream", [False, True])
async def test_openais_client_reads_chat_completions(
    model: Model, openai_client: openai.AsyncOpenAI, is_stream: bool
):
    function: Any = {"name": "write_file", "parameters": WRITE}
    asked: dict[str, Any] = {
        "model": "gpt-x",
        "messages": [{"role": "user", "content": "Make a.txt."}],
        "tools": [{"type": "function", "function": function}],
    }
    if is_stream:
        options: Any = {"include_usage": True}
        async with openai_client.chat.completions.stream(**asked, stream_options=options) as events:
            completion = await events.get_final_completion()
    else:
        completion = await openai_client.chat.completions.create(**asked)

    [choice] = completion.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", TEXT)
    calls: list[Any] = choice.message.tool_calls or []
    assert [call.function.name for call in calls] == ["write_file", "other"]
    assert [json.loads(call.function.arguments) for call in calls] == [FIRST, SECOND]
    used: Any = completion.usage
    assert (used.prompt_tokens, used.completion_tokens) == (1111, 22)
    assert used.prompt_tokens_details.cached_tokens == 333
    assert used.completion_tokens_details.reasoning_tokens == 5
    assert model.requests[0].usage == Told(1111, 22, 333, 0)
    assert model.requests[0].is_told


@pytest.mark.parametrize("is_stream", [False, True])
async def test_openais_client_reads_responses(
    model: Model, openai_client: openai.AsyncOpenAI, is_stream: bool
):
    asked: dict[str, Any] = {
        "model": "gpt-x",
        "input": "Make a.txt.",
        "tools": [{"type": "custom", "name": "apply_patch"}, {"type": "function", "name": "other"}],
    }
    if is_stream:
        async with openai_client.responses.stream(**asked) as stream:
            kinds = [event.type async for event in stream]
            response = await stream.get_final_response()
        assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    else:
        response = await openai_client.responses.create(**asked)

    reasoning, message, patch, call = response.output
    assert reasoning.type == "reasoning"
    assert reasoning.summary[0].text == THOUGHT
    assert message.type == "message"
    assert response.output_text == TEXT
    assert patch.type == "custom_tool_call"
    assert patch.input == "*** Begin Patch\n*** Add File: a.txt\n+a\n*** End Patch\n"
    assert call.type == "function_call"
    assert json.loads(call.arguments) == SECOND
    used: Any = response.usage
    assert (used.input_tokens, used.output_tokens) == (1111, 22)
    assert used.input_tokens_details.cached_tokens == 333
    assert used.output_tokens_details.reasoning_tokens == 5
    assert model.requests[0].is_told


@pytest.mark.parametrize("end", ["generateContent", "streamGenerateContent", "sse"])
async def test_gemini_answers_whole_as_a_list_and_as_a_stream(model: Model, end: str):
    body = {
        "contents": [{"role": "user", "parts": [{"text": "Make a.txt."}]}],
        "tools": [{"functionDeclarations": [{"name": "write_file", "parameters": WRITE}]}],
    }
    path = "streamGenerateContent?alt=sse" if end == "sse" else end
    answer = await model.http.post(
        f"/x/v1beta/models/gemini-x:{path}", json=body, headers={"x-goog-api-key": "k"}
    )

    if end == "sse":
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in answer.text.split("\r\n\r\n") if line]
        chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    else:
        chunks = [answer.json()] if end == "generateContent" else answer.json()
    candidates = [chunk["candidates"][0] for chunk in chunks]
    parts = [part for candidate in candidates for part in candidate["content"]["parts"]]
    assert "".join(part["text"] for part in parts if part.get("thought")) == THOUGHT
    said = [part["text"] for part in parts if "text" in part and not part.get("thought")]
    assert "".join(said) == TEXT
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    assert [call["args"] for call in calls] == [FIRST, SECOND]
    assert [candidate.get("finishReason") for candidate in candidates][-1] == "STOP"
    used = chunks[-1]["usageMetadata"]
    assert (used["promptTokenCount"], used["cachedContentTokenCount"]) == (1111, 333)
    assert (used["candidatesTokenCount"], used["thoughtsTokenCount"]) == (22, 5)
    assert model.requests[0].usage == Told(1111, 27, 333, 0)
    assert model.requests[0].model == "gemini-x"


async def test_a_stream_tells_its_usage_only_to_who_asked(model: Model):
    answer = await model.chat({"role": "user", "content": "Hi"}, stream=True)

    assert "usage" not in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")
    [request] = model.requests
    assert (request.usage is not None, request.is_told) == (True, False)


async def test_refusals_have_the_form_that_each_client_knows():
    script = "turns: [{faults: [{status: 429, times: forever, headers: {retry-after: '7'}}]}]"
    async with (
        scripted_model(script) as model,
        anthropic.AsyncAnthropic(api_key="a", base_url=model.url, max_retries=0) as claude,
        openai.AsyncOpenAI(api_key="a", base_url=f"{model.url}/v1", max_retries=0) as gpt,
    ):
        with pytest.raises(anthropic.RateLimitError) as refused:
            await claude.messages.create(
                model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
            )
        with pytest.raises(openai.RateLimitError, match="was scripted"):
            await gpt.responses.create(model="m", input="Hi")

    body: Any = refused.value.body
    assert body["error"]["type"] == "rate_limit_error"
    assert refused.value.response.headers["retry-after"] == "7"


async def test_counting_and_the_list_of_models_are_answered_in_every_form(
    model: Model, anthropic_client: anthropic.AsyncAnthropic, openai_client: openai.AsyncOpenAI
):
    messages: Any = [{"role": "user", "content": "Hi"}]

    counted = await anthropic_client.messages.count_tokens(model="m", messages=messages)
    assert counted.input_tokens == 1111
    assert [each.id async for each in anthropic_client.models.list()] == ["scripted"]
    assert [each.id async for each in openai_client.models.list()] == ["scripted"]
    path = "/v1beta/models/m:countTokens"
    assert (await model.http.post(path, json={})).json()["totalTokens"] == 1111
    assert (await model.http.head("/")).status_code == 200
    assert (await model.http.get("/nothing")).status_code == 404


async def test_no_answer_uses_more_than_its_request_allows(
    model: Model, anthropic_client: anthropic.AsyncAnthropic, openai_client: openai.AsyncOpenAI
):
    messages: Any = [{"role": "user", "content": "Hi"}]

    said = await anthropic_client.messages.create(model="m", max_tokens=9, messages=messages)
    await openai_client.chat.completions.create(
        model="m", max_completion_tokens=9, messages=messages
    )
    await openai_client.responses.create(model="m", max_output_tokens=9, input="Hi")
    asked = {"contents": [{"parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 9}}
    await model.http.post("/v1beta/models/m:generateContent", json=asked)

    assert said.usage.output_tokens == 9
    assert [each.usage and each.usage.tokens_out for each in model.requests] == [9] * 4
