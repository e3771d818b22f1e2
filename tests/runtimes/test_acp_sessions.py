"""An ACP agent that takes up a session and then cannot go on with it is begun anew."""

import json
from typing import Any

import pytest

from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.acp.program import AcpProgram, SessionPlan
from agentvine.runtimes.agent import Step
from agentvine.runtimes.events import Failed
from agentvine.runtimes.runner import Program

WORKS: dict[str, Any] = {
    "sessionUpdate": "agent_message_chunk",
    "content": {"type": "text", "text": "I begin."},
}
TELLS: dict[str, Any] = {"sessionUpdate": "available_commands_update", "availableCommands": []}
BROKEN = "Internal error: service failure"


@pytest.mark.parametrize(
    ("resume", "update", "error", "expected"),
    [
        ("s-1", None, BROKEN, FailureClass.RESUME_REFUSED),
        ("s-1", TELLS, BROKEN, FailureClass.RESUME_REFUSED),
        ("s-1", WORKS, BROKEN, FailureClass.CRASHED),
        ("s-1", None, "Please log in", FailureClass.AUTH_FAILED),
        (None, None, BROKEN, FailureClass.CRASHED),
    ],
)
def test_what_fails_before_any_word_of_a_resumed_session_is_the_session(
    resume: str | None, update: dict[str, Any] | None, error: str, expected: FailureClass
):
    plan = SessionPlan(cwd="work", prompt="Do it.", resumed_prompt="Go on.", resume=resume)
    program = AcpProgram(Program(argv=["agent"], timeout_seconds=9.0), plan)
    step = answered(
        program, program.begin(), {"protocolVersion": 1, "agentCapabilities": {"loadSession": True}}
    )
    step = answered(program, step, {"sessionId": "s-1"})
    if update is not None:
        params = {"sessionId": "s-1", "update": update}
        program.on_line(json.dumps({"method": "session/update", "params": params}))

    step = replied(program, step, {"error": {"code": -32603, "message": error}})

    (failed,) = (event for event in step.events if isinstance(event, Failed))
    assert failed.failure_class is expected


def answered(program: AcpProgram, step: Step, result: dict[str, Any]) -> Step:
    return replied(program, step, {"result": result})


def replied(program: AcpProgram, step: Step, reply: dict[str, Any]) -> Step:
    asked = json.loads(step.send[-1])
    return program.on_line(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **reply}))
