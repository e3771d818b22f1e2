"""What is held to the suite: each runtime that drives an agent, and how it is made to do things.

A subject plays scenes by their names. One that drives a program of somebody else's brings a small
fake of that program, which speaks its protocol and plays the same scenes; the real programs play
them in tests/clis.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.runtimes.base import Runtime
from agentvine.runtimes.registry import builtin_runtimes
from agentvine.runtimes.scripted import ScriptedRuntime

EDITS = "edits"
"""Writes hello.txt ("hello" and a line's end), says so, and tells of 30 tokens in, 12 out."""
FAILS = "fails"
"""Tells that the provider's limit is reached, for 30 seconds."""
ENDS_EARLY = "ends_early"
"""Says something and ends with 0, without its last event."""
CRASHES = "crashes"
ASKS = "asks"
"""Asks which colour, of Red and Blue, and writes the answer to colour.txt."""
WANTS = "wants"
"""Wants to run "touch allowed.txt"; does it when it may, and finishes in any case."""
LISTENS = "listens"
"""Waits for a person's words, and writes them to heard.txt."""
HANGS = "hangs"
"""Starts a program in a session of its own (its id is in pid.txt), and then does nothing more,
whatever it is told."""
GOES_ON = "goes_on"
"""Begun anew it says "anew", resumed it says "resumed", and finishes."""
FORGETS = "forgets"
"""The same, but it does not find the session that it is to resume."""
LOOKS_AROUND = "looks_around"
"""Writes its environment to environment.txt, a variable a line, and to tools.txt what it is told of
servers of tools."""
SCENES = (
    EDITS, FAILS, ENDS_EARLY, CRASHES, ASKS, WANTS, LISTENS, HANGS, GOES_ON, FORGETS, LOOKS_AROUND,
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """One runtime under test."""

    name: str
    make: Callable[[Path], Runtime]
    """Makes it; what it needs on the disk may go into this folder."""
    commands: Mapping[str, str]
    """By scene, the order's command that makes it play."""
    cannot: frozenset[str] = field(default_factory=frozenset[str])
    """Scenes that its program has no words for."""
    has_models: bool = False
    """Whether its runs are given access to models, as they need it."""
    tells_when: bool = True
    """Whether its program tells when a limit ends."""
    tells_usage: bool = True
    """Whether what its program tells of usage is all of it."""
    takes_tools: bool = True
    """Whether it has a use for our tools."""


_DAEMON = "setsid sh -c 'echo $$ > pid.txt; exec sleep 600' > /dev/null 2>&1 &"
_SCRIPTED = {
    EDITS: """
- write: {path: hello.txt, text: "hello\\n"}
- say: It is written.
- usage: {model: m-1, input_tokens: 10, output_tokens: 4}
- usage: {model: m-1, input_tokens: 30, output_tokens: 12}
- finish: done
""",
    FAILS: """
- fail: {class: rate_limited, message: too much, retry_after_seconds: 30}
""",
    ENDS_EARLY: """
- say: hm
- crash: {exit_code: 0}
""",
    CRASHES: """
- say: hm
- crash: {exit_code: 3}
""",
    ASKS: """
- ask: {text: 'Which colour?', options: [Red, Blue], save: colour}
- write: {path: colour.txt, text: "${colour}"}
""",
    WANTS: """
- permit: {tool: Bash, input: {command: touch allowed.txt}, allowed: [{run: touch allowed.txt}]}
- say: that was it
""",
    LISTENS: """
- wait_for_message: true
- write: {path: heard.txt, text: "${message}"}
""",
    HANGS: f"""
- run: |
    {_DAEMON}
- hang: true
""",
    GOES_ON: """
steps: [{say: anew}]
resumed_steps: [{say: resumed}]
""",
    FORGETS: """
refuses_to_resume: true
steps: [{say: anew}]
resumed_steps: [{say: resumed}]
""",
    LOOKS_AROUND: """
- run: env > environment.txt; touch tools.txt
- say: seen
""",
}

_FAKE = Path(__file__).with_name("fake_agent.py")


def _fake(
    name: str, language: str, program: str, *, cannot: frozenset[str] = frozenset()
) -> Subject:
    """A runtime whose program is the fake, under the name of the real one."""

    def make(folder: Path) -> Runtime:
        shim = folder / program
        command = f'exec "{sys.executable}" -I -S "{_FAKE}" {language} "{folder / "sessions"}"'
        shim.write_text(f'#!/bin/sh\n{command} "$@"\n')
        shim.chmod(0o755)
        return builtin_runtimes().get(name)

    return Subject(
        name,
        make,
        # Only where the runtime is `acp` does the order say what to start.
        dict.fromkeys(SCENES, program),
        cannot,
        has_models=name != "acp",
        tells_when=language != "acp",
        tells_usage=name != "opencode",
    )


SUBJECTS = [
    Subject("scripted", lambda _: ScriptedRuntime(), _SCRIPTED, takes_tools=False),
    _fake("claude-code", "stream-json", "claude"),
    _fake("codex", "app-server", "codex"),
    _fake("acp", "acp", "some-agent"),
]
"""In the quick suite."""
MORE_SUBJECTS = [
    # Qwen has no tool that asks.
    _fake("qwen", "stream-json", "qwen", cannot=frozenset({ASKS})),
    _fake("gemini", "acp", "gemini"),
    _fake("opencode", "acp", "opencode"),
    _fake("claude-agent-acp", "acp", "claude-agent-acp"),
    _fake("codex-acp", "acp", "codex-acp"),
    _fake("qwen-acp", "acp", "qwen"),
]
"""They speak the same languages, and differ in how they are started."""
