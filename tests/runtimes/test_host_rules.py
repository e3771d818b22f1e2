"""The ten rules for whoever hosts an agent's program, each tried on a program that breaks it.

The program is a small fake of Claude Code that does one thing wrong. That every runtime keeps to
the rules is in ``conformance``; that the real programs can be driven so, in tests/clis.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentvine.kit.orphans import OrphanJournal
from agentvine.kit.process import ExitReason
from agentvine.protocol.briefs import RunBriefOut
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.runs import RunWatch
from agentvine.runtimes.agent_log import LongLines
from agentvine.runtimes.base import LoginState, McpAccess, ModelAccess, RunContext, RunOutcome
from agentvine.runtimes.error_words import class_of_text
from agentvine.runtimes.events import ModelUsage, event_line
from agentvine.runtimes.held_settings import RepositoryRunsPrograms
from agentvine.runtimes.registry import builtin_runtimes
from agentvine.runtimes.reports import report_on
from agentvine.runtimes.runner import Program
from agentvine.runtimes.stream_json.failures import failure_of_result
from agentvine.runtimes.stream_json.program import StreamJsonProgram
from tests.runtimes.conftest import KeptLines

GENEROUS = 60.0
BEGIN = """
import json, os, signal, subprocess, sys, time
def send(**told):
    print(json.dumps(told), flush=True)
def say(text):
    send(type="assistant", message={"id": text, "content": [{"type": "text", "text": text}]})
def init():
    send(type="system", subtype="init", session_id="s-1", model="m-1")
def result(**more):
    send(**{"type": "result", "subtype": "success", "is_error": False, "result": "done", **more})
def sleep():
    while True:
        time.sleep(1)
sys.stdin.readline()
"""
GATEWAY = ModelAccess(base_url="http://127.0.0.1:9/gateway", key="av_llm_canary")


class Host:
    """Runs the fake, and keeps what comes of it."""

    def __init__(
        self, folder: Path, sink: KeptLines, make_context: Callable[..., RunContext]
    ) -> None:
        self.folder, self.sink = folder, sink
        self.programs, self.home = folder / "programs", folder / "home"
        for place in (self.programs, self.home):
            place.mkdir()
        self.sessions: list[str] = []
        self.usage: list[dict[str, ModelUsage]] = []
        self._make_context = make_context

    def install(self, program: str, body: str) -> None:
        """A program of this name on PATH."""
        path = self.programs / program
        path.write_text(f"#!{sys.executable} -IS\n{body}")
        path.chmod(0o755)

    async def note_session(self, session_id: str, model: str | None) -> None:
        self.sessions.append(session_id)

    def note_usage(self, models: dict[str, ModelUsage]) -> None:
        self.usage.append(dict(models))

    def start(self, body: str, **changes: Any) -> "asyncio.Task[RunOutcome]":
        """Begin a run of Claude Code, played by this."""
        self.install("claude", BEGIN + body)
        return asyncio.create_task(self.run("claude-code", **changes))

    async def run(self, name: str, **changes: Any) -> RunOutcome:
        given: dict[str, Any] = {
            "home": self.home,
            "session": self,
            "usage": self,
            "brief": RunBriefOut(instruction="Do it."),
            "models": GATEWAY,
            "grace_seconds": 1.0,
        }
        async with asyncio.timeout(GENEROUS):
            return (
                await builtin_runtimes()
                .get(name)
                .run(self._make_context(None, **{**given, **changes}))
            )

    async def until_file(self, name: str) -> str:
        """What the fake has written into its work tree."""
        path = self.folder / name
        async with asyncio.timeout(GENEROUS):
            while not (path.exists() and path.read_text()):  # noqa: ASYNC110 - another program's
                await asyncio.sleep(0.02)
        return path.read_text()


@pytest.fixture
def host(
    tmp_path: Path,
    sink: KeptLines,
    make_context: Callable[..., RunContext],
    monkeypatch: pytest.MonkeyPatch,
) -> Host:
    made = Host(tmp_path, sink, make_context)
    monkeypatch.setenv("PATH", str(made.programs), prepend=os.pathsep)
    monkeypatch.setenv("HOME", str(tmp_path))
    return made


STUBBORN = """
def note(word):
    with open("heard.txt", "a") as file:
        file.write(word + "\\n")
signal.signal(signal.SIGTERM, lambda *_: note("SIGTERM"))
child = subprocess.Popen(["sleep", "600"])
init()
with open("pids.txt", "w") as file:
    file.write(f"{os.getpid()} {child.pid} {os.getpgrp()}\\n")
for line in sys.stdin:
    if json.loads(line).get("request", {}).get("subtype") == "interrupt":
        note("interrupt")
sleep()
"""


async def test_host_rule_1_a_run_is_a_group_that_is_asked_then_told_then_ended(
    host: Host, tmp_path: Path
):
    journal, stop = OrphanJournal(tmp_path / "journal"), asyncio.Event()
    running = host.start(STUBBORN, stop=stop, journal=journal)
    agent, child, group = map(int, (await host.until_file("pids.txt")).split())
    [record] = (tmp_path / "journal").iterdir()
    kept = json.loads(record.read_text())["process"]
    stop.set()
    outcome = await running

    assert group == agent != os.getpgrp()
    assert kept["pid"] in {agent, os.getpid()} or kept["start"], "its number and its start"
    assert (tmp_path / "heard.txt").read_text().split() == ["interrupt", "SIGTERM"]
    assert outcome.reason is ExitReason.CANCELLED
    assert not is_running(agent)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


LONG = {
    "start_up_seconds": GENEROUS,
    "first_event_seconds": GENEROUS,
    "silence_seconds": GENEROUS,
    "after_result_seconds": GENEROUS,
}


@pytest.mark.parametrize(
    ("watchdog", "body", "expected"),
    [
        ("start_up_seconds", "sleep()", FailureClass.START_UP_TIMEOUT),
        (
            "first_event_seconds",
            "print('hm', flush=True)\nsleep()",
            FailureClass.FIRST_EVENT_TIMEOUT,
        ),
        ("silence_seconds", "init()\nsay('hm')\nsleep()", FailureClass.SILENCE_TIMEOUT),
        ("after_result_seconds", "init()\nresult()\nsleep()", None),
        ("total", "init()\nsay('hm')\nsleep()", FailureClass.TIMEOUT),
    ],
)
async def test_host_rule_2_each_watchdog_has_a_failure_of_its_own(
    host: Host, watchdog: str, body: str, expected: FailureClass | None
):
    changes: dict[str, Any] = {"timeout_seconds": 1.0} if watchdog == "total" else {}
    watch = RunWatch(**(LONG | ({} if changes else {watchdog: 0.5})))
    outcome = await host.start(body, watch=watch, **changes)

    if expected is None:
        assert outcome.is_success, "its result stands"
        assert outcome.metrics["ended_after_result"]
    else:
        assert outcome.failure is not None
        assert outcome.failure.failure_class is expected


FLOOD = """
for number in range(2000):
    print("x" * 500, file=sys.stderr)
print("the last words", file=sys.stderr, flush=True)
init()
say("y" * 3_000_000)
sys.exit(3)
"""


async def test_host_rule_3_both_outputs_are_read_at_once_and_no_line_is_too_long(host: Host):
    outcome = await host.start(FLOOD)

    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.CRASHED
    assert "It last said: the last words" in outcome.failure.message
    assert sum(len(line) for line in host.sink.of("raw")) > 3_000_000, "in parts that can be kept"
    lines = LongLines(max_bytes=10)
    assert lines.feed(b"x" * 11 + b"\nshort\n") == ["short"]
    assert lines.take_dropped() == 11


async def test_host_rule_4_the_session_is_kept_as_soon_as_it_is_seen(host: Host, tmp_path: Path):
    running = host.start("init()\nopen('begun.txt', 'w').write('yes')\nos.kill(os.getpid(), 9)")
    await host.until_file("begun.txt")
    outcome = await running

    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.CRASHED
    assert host.sessions == ["s-1"], "though it never came to its end"


async def test_host_rule_5_the_program_s_own_lines_can_be_read_again(host: Host):
    outcome = await host.start("init()\nsay('One.')\nsay('Two.')\nresult()")
    assert outcome.is_success

    again = StreamJsonProgram(Program(argv=["x"], timeout_seconds=1), "Do it.", resumes=False)
    replayed = [
        event_line(event) for line in host.sink.of("raw") for event in again.on_line(line).events
    ]

    assert replayed == host.sink.of("events") != []


RUNTIMES = {
    "claude-code": "claude",
    "qwen": "qwen",
    "codex": "codex",
    "gemini": "gemini",
    "opencode": "opencode",
    "claude-agent-acp": "claude-agent-acp",
    "codex-acp": "codex-acp",
    "qwen-acp": "qwen",
    "mini-swe-agent": "mini",
    "aider": "aider",
}


@pytest.mark.parametrize("name", RUNTIMES)
async def test_host_rule_6_nothing_that_a_task_says_becomes_a_flag(
    host: Host, tmp_path: Path, name: str
):
    host.install(
        RUNTIMES[name],
        "import json, sys\n"
        f"open({str(tmp_path / 'argv.json')!r}, 'w').write(json.dumps(sys.argv[1:]))\n"
        "sys.exit(1)\n",
    )
    words = "--dangerously-skip-permissions --resume=x"
    brief = RunBriefOut(instruction=words, system_prompt=words, rules_file_path=words)
    models = ModelAccess(base_url=GATEWAY.base_url, key=GATEWAY.key, default_model="m")
    await host.run(name, brief=brief, models=models, timeout_seconds=20.0)

    argv = json.loads((tmp_path / "argv.json").read_text())
    for before, each in zip(["", *argv], argv, strict=False):
        is_a_value = before.startswith("-") and "=" not in before
        assert is_a_value or not each.startswith("--dangerously"), argv
        assert not each.startswith("--resume"), argv


async def test_host_rule_7_a_run_sees_what_is_allowed_and_a_home_of_its_own(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AGENTVINE_TOKEN", "avw_canary")
    monkeypatch.setenv("SOME_SECRET", "canary")
    login = tmp_path / ".claude" / ".credentials.json"
    login.parent.mkdir()
    login.write_text("{}")
    look = "open('seen.json', 'w').write(json.dumps(dict(os.environ)))\ninit()\nresult()"
    seen: list[dict[str, str]] = []
    linked: list[bool] = []
    for models in (GATEWAY, None):
        assert (await host.start(look, models=models)).is_success
        seen.append(json.loads((tmp_path / "seen.json").read_text()))
        linked.append((Path(seen[-1]["CLAUDE_CONFIG_DIR"]) / login.name).is_symlink())

    assert "canary" not in json.dumps(seen[1])
    assert json.dumps(seen[0]).count("canary") == 1, "the run's own key, and no other secret"
    assert all(Path(each["CLAUDE_CONFIG_DIR"]).is_relative_to(host.home) for each in seen)
    assert linked == [False, True], "the user's login, where there is no provider"


async def test_host_rule_8_version_and_login_are_known_before_anything_is_started(
    host: Host, monkeypatch: pytest.MonkeyPatch
):
    for name in ("CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    host.install("claude", "print('2.1.330 (Claude Code)')\nopen('started.txt', 'w')")
    info = await builtin_runtimes().get("claude-code").detect()
    outcome = await host.run("claude-code", models=None)

    assert (info.is_available, info.version) == (True, info.pinned_version)
    assert info.login is LoginState.MISSING
    assert report_on(info).login_help == info.login_help
    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.AUTH_FAILED
    assert "log in on the worker's machine" in outcome.failure.message
    assert not (host.folder / "started.txt").exists()


RESET = 1_790_000_000


@pytest.mark.parametrize(
    ("told", "words", "expected"),
    [
        ({"api_error_status": 401}, "401 Unauthorized", FailureClass.AUTH_FAILED),
        (
            {"result": f"usage limit reached|{RESET}"},
            "insufficient_quota",
            FailureClass.QUOTA_EXHAUSTED,
        ),
        ({"api_error_status": 429}, "429 Too Many Requests", FailureClass.RATE_LIMITED),
        (
            {"terminal_reason": "prompt_too_long"},
            "context window exceeded",
            FailureClass.CONTEXT_OVERFLOW,
        ),
        ({"api_error_status": 404}, "model x does not exist", FailureClass.MODEL_INVALID),
        ({"api_error_status": 529}, "503 Service Unavailable", FailureClass.NETWORK_FAILED),
        (
            {"result": "AgentVine: A budget does not allow this call."},
            "AgentVine: A budget does not allow this call.",
            FailureClass.BUDGET_EXHAUSTED,
        ),
    ],
)
def test_host_rule_9_failures_have_one_taxonomy_whatever_program_tells_them(
    told: dict[str, Any], words: str, expected: FailureClass
):
    failed = failure_of_result({"subtype": "success", "is_error": True, **told}, None)

    assert failed is not None
    assert failed.failure_class is expected
    assert class_of_text(words) is expected
    if expected is FailureClass.QUOTA_EXHAUSTED:
        assert failed.retry_at is not None
        assert failed.retry_at.timestamp() == RESET


TOTALS = """
init()
def used(tokens, key):
    usage = {"input_tokens": tokens, "output_tokens": tokens // 10}
    content = [{"type": "text", "text": "hm"}]
    message = {"id": key, "model": "m-1", "content": content, "usage": usage}
    send(type="assistant", message=message)
used(100, "a")
used(100, "a")
used(300, "b")
result(modelUsage={"m-1": {"inputTokens": 400, "outputTokens": 41}})
"""


async def test_host_rule_10_counts_are_totals_and_a_newer_one_replaces_an_older(
    host: Host, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-own")
    outcome = await host.start(TOTALS, models=None)
    assert outcome.is_success, outcome
    told = [each["m-1"].input_tokens for each in host.usage]

    assert told == sorted(told), "totals only grow"
    assert told[-1] == 400
    assert outcome.metrics["usage"]["m-1"]["output_tokens"] == 41


class Given:
    """What a program was started with: its arguments, its variables, and the files of its home."""

    def __init__(self, host: Host) -> None:
        argv, self.environment = json.loads((host.folder / "seen.json").read_text())
        self.home = host.home
        files = [path.read_text() for path in sorted(host.home.rglob("*")) if path.is_file()]
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        self.text = "\n".join([*argv, *variables, *files])


async def given_by(host: Host, name: str, **changes: Any) -> Given:
    """Starts a runtime's program, and looks at what it is given."""
    place = str(host.folder / "seen.json")
    seen = f"json.dump([sys.argv[1:], dict(os.environ)], open({place!r}, 'w'))"
    host.install(RUNTIMES[name], f"import json, os, sys\n{seen}\nsys.exit(1)\n")
    models = ModelAccess(base_url=GATEWAY.base_url, key=GATEWAY.key, default_model="m")
    tools = McpAccess(url="http://127.0.0.1:9/mcp", key="av_mcp_canary")
    await host.run(name, **{"models": models, "mcp": tools, "timeout_seconds": 20.0, **changes})
    return Given(host)


_OF_CODEX = ("[analytics]\nenabled = false", "check_for_update_on_startup = false")
_OF_GEMINI = (
    *('"telemetry": {"enabled": false}', '"usageStatisticsEnabled": false'),
    *('"enableAutoUpdate": false', '"disableAutoUpdate": true'),
)
_OF_CLAUDE = ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1",)
SILENCE = {
    "claude-code": _OF_CLAUDE,
    "claude-agent-acp": _OF_CLAUDE,
    "codex": _OF_CODEX,
    "codex-acp": _OF_CODEX,
    "gemini": _OF_GEMINI,
    "qwen": _OF_GEMINI,
    "qwen-acp": _OF_GEMINI,
    "opencode": (
        *(f"OPENCODE_DISABLE_{name}=1" for name in ("AUTOUPDATE", "MODELS_FETCH", "SHARE")),
        *('"share": "disabled"', '"autoupdate": false'),
    ),
    "mini-swe-agent": ("LITELLM_LOCAL_MODEL_COST_MAP=True", "MSWEA_SILENT_STARTUP=1"),
    "aider": ("--analytics-disable", "--no-check-update", "LITELLM_LOCAL_MODEL_COST_MAP=True"),
}


@pytest.mark.parametrize("name", RUNTIMES)
async def test_host_rule_7_no_program_tells_its_makers_or_looks_for_a_newer_self(
    host: Host, name: str
):
    given = await given_by(host, name)

    assert [words for words in SILENCE[name] if words not in given.text] == []


_HOMES = {
    "claude-code": "CLAUDE_CONFIG_DIR",
    "claude-agent-acp": "CLAUDE_CONFIG_DIR",
    "codex": "CODEX_HOME",
    "codex-acp": "CODEX_HOME",
}


@pytest.mark.parametrize("name", RUNTIMES)
async def test_host_rule_7_every_program_keeps_its_settings_in_the_run_s_own_home(
    host: Host, name: str
):
    given = await given_by(host, name)

    place = given.environment[_HOMES.get(name, "HOME")]
    assert Path(place).is_relative_to(host.home)
    assert place != str(host.folder), "the home of the worker's user"
    readable = [path for path in host.home.rglob("*") if path.is_file() and is_open(path)]
    keys = {GATEWAY.key, "av_mcp_canary"}
    assert [path for path in readable if any(key in path.read_text() for key in keys)] == []


def is_open(path: Path) -> bool:
    """Whether others than its owner may read it."""
    return bool(path.stat().st_mode & 0o077)


_PROGRAMS = (
    *('"hooksConfig": {"enabled": false}', '"discoveryCommand": ""', '"callCommand": ""'),
    '"allowed": ["agentvine"]',
)
_OF_QWEN = (*_PROGRAMS, '"disableAllHooks": true', "QWEN_CODE_SYSTEM_SETTINGS_PATH=")
HELD = {
    # Its settings could allow what people did not, and bring tools of their own.
    "claude-code": ("--setting-sources=", "--strict-mcp-config"),
    "codex": (
        *('model_provider = "agentvine"', "request_max_retries = 0"),
        'trust_level = "untrusted"',
    ),
    "codex-acp": ("INITIAL_AGENT_MODE=read-only", 'model_provider = "agentvine"'),
    "gemini": (*_PROGRAMS, "GEMINI_CLI_TRUST_WORKSPACE=true"),
    "qwen": (*_OF_QWEN, "--approval-mode\nauto-edit", "--auth-type\nopenai"),
    "qwen-acp": (*_OF_QWEN, "--approval-mode\ndefault", "--auth-type\nopenai"),
    "opencode": (
        *("--pure", '"enabled_providers": ["agentvine"]'),
        "OPENCODE_DISABLE_PROJECT_CONFIG=1",
    ),
    "aider": ("--no-auto-lint", "--no-auto-test", "--no-auto-commits"),
}


@pytest.mark.parametrize("name", HELD)
async def test_host_rule_6_what_the_host_relies_on_is_said_where_a_repository_cannot_say_otherwise(
    host: Host, name: str
):
    given = await given_by(host, name)

    assert [words for words in HELD[name] if words not in given.text] == []


@pytest.mark.parametrize(
    ("name", "path", "text"),
    [
        ("opencode", ".opencode/plugin/theirs.js", ""),
        ("opencode", ".opencode/opencode.json", '{"plugin": ["./theirs.js"]}'),
        ("opencode", "opencode.jsonc", r'{"plu\u0067in": ["./theirs.js"]}'),
        ("codex-acp", ".codex/config.toml", ""),
        ("aider", ".aider.conf.yml", ""),
        ("aider", ".env", ""),
        ("aider", ".aider.model.settings.yml", ""),
        ("aider", ".aider.model.metadata.json", ""),
        ("aider", ".aider.tags.cache.v4/cache.db", ""),
    ],
)
async def test_host_rule_6_a_program_that_would_run_what_a_repository_names_is_not_started(
    host: Host, name: str, path: str, text: str
):
    (host.folder / path).parent.mkdir(parents=True, exist_ok=True)
    (host.folder / path).write_text(text)
    with pytest.raises(
        RepositoryRunsPrograms,
        match=re.escape(re.sub(r"/(theirs\.js|config\.toml|cache\.db)$", "", path)),
    ):
        await given_by(host, name)
    assert not (host.folder / "seen.json").exists()


@pytest.mark.parametrize("name", ["qwen", "qwen-acp"])
async def test_host_rule_6_a_key_of_the_worker_s_user_goes_where_no_repository_sends_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    given = await given_by(host, name, models=None)
    assert given.environment["OPENAI_API_KEY"] == "sk-canary"
    assert given.environment["OPENAI_BASE_URL"] == "https://api.openai.com/v1"


async def test_host_rule_6_settings_that_opencode_does_not_read_keep_nobody_from_work(host: Host):
    (host.folder / "opencode.json").write_text('{"mcp": {"theirs": {"type": "local"}}}')
    (host.folder / ".opencode" / "command").mkdir(parents=True)
    assert "--pure" in (await given_by(host, "opencode")).text


@pytest.mark.parametrize("brought", [".gemini/settings.json", ".env"])
async def test_host_rule_6_a_repository_that_could_have_gemini_run_its_programs_is_not_trusted(
    host: Host, brought: str
):
    path = host.folder / brought
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")

    given = await given_by(host, "gemini")

    assert "GEMINI_CLI_TRUST_WORKSPACE" not in given.environment


@pytest.mark.parametrize("name", ["qwen", "qwen-acp"])
async def test_host_rule_6_the_settings_that_hold_qwen_are_those_of_the_run(host: Host, name: str):
    given = await given_by(host, name)

    held = Path(given.environment["QWEN_CODE_SYSTEM_SETTINGS_PATH"])
    assert held.is_relative_to(host.home)
    assert '"disableAllHooks": true' in given.text
