"""The built-in agent uses the server's tools itself, without a program that speaks MCP."""

import asyncio
import json
from pathlib import Path

import pytest

from agentvine.protocol.briefs import RunBriefOut
from agentvine.runtimes.base import McpAccess, ModelAccess, RunContext
from agentvine.runtimes.llm import LlmRuntime
from tests.clis.driving import Log, payload
from tests.support.api import Api
from tests.support.models import scripted_model
from tests.support.space import claim_of, make_space
from tests.support.tools import listening, tool_key

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPT = """
turns:
  - calls: [{tool: read_task, input: {}}]
  - calls: [{tool: read_task, input: {task: T-77}}]
  - calls: [{tool: read_attachment, input: {attachment: FILE}}]
  - calls: [{finish: {summary: Done.}}]
"""


async def test_it_has_the_server_s_tools_beside_its_own(shared_api: Api, tmp_path: Path):
    space = await make_space(shared_api)
    await space.task(run_runtime="llm", description="Mend the door.")
    able = {"can_pause": True, "takes_files": True}
    worker = await space.worker(runtimes=["llm"], controls=able)
    order = await worker.claim_one()
    key = await tool_key(worker.caller, order)
    asking = claim_of(order) | {"key": "1", "text": "Which one?"}
    asked = await worker.caller.post(f"/executions/{order['execution_id']}/questions", asking)
    answers = f"/questions/{asked['id']}/attachments"
    put = await space.owner.call(
        "POST", answers, params={"name": "a"}, content=b"\x89PNG\r\n\x1a\n and more"
    )
    script = SCRIPT.replace("FILE", put.json()["id"])
    async with listening(shared_api) as url, scripted_model(script) as model:
        context = RunContext(
            run_id="run",
            execution_id=order["execution_id"],
            worktree=tmp_path,
            payload=payload("llm", "Mend the door."),
            output=Log(),
            stop=asyncio.Event(),
            timeout_seconds=60,
            brief=RunBriefOut(instruction="Begin."),
            models=ModelAccess(base_url=model.url, key="av_llm_x", default_model="claude-x"),
            mcp=McpAccess(url=f"{url}/mcp", key=key),
        )
        outcome = await LlmRuntime().run(context)

    assert outcome.is_success, outcome.message
    first, second, third, fourth = (json.dumps(request.body) for request in model.requests)
    for name in ("read_task", "report_progress", "ask", "run_command"):
        assert f'"name": "{name}"' in first
    assert '"name": "ask_human"' not in first, "it has a tool of its own for that"
    assert "Mend the door." in second
    assert "(task_not_found)" in third
    assert "a, image/png, 17 bytes:" in fourth
    assert "[A picture, which you cannot see here" in fourth
