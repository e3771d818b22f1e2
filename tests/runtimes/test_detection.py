"""What is told of agents' programs before they are given work, and without a way to a model."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.base import LoginState, RunContext
from agentvine.runtimes.detection import detect_program, places_of, require_program
from agentvine.runtimes.logins import CLAUDE_LOGIN, QWEN_LOGIN, link_login
from agentvine.runtimes.pins import CLAUDE_CODE, QWEN
from agentvine.runtimes.registry import (
    RuntimeNotUsable,
    builtin_runtimes,
    detect_runtimes,
    require_runtime,
)
from agentvine.runtimes.reports import report_on

KEYS = (
    *("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CONFIG_DIR", "OPENAI_API_KEY"),
    *("OPENAI_BASE_URL", "OPENAI_MODEL", "CODEX_API_KEY", "CODEX_HOME", "GEMINI_API_KEY"),
)
Put = Callable[[str, str], Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts a program on a PATH that has nothing of the user's, whose home is empty."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)

    def make(name: str, script: str) -> Path:
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return program

    return make


async def test_every_runtime_says_what_it_lacks_and_how_to_come_by_it(put: Put):
    found = {info.name: report_on(info) for info in await detect_runtimes(builtin_runtimes())}
    lacking = [report for report in found.values() if not report.is_available]
    assert "claude-code" in {report.name for report in lacking}
    for report in lacking:
        assert report.install is not None, report.name
        assert report.pinned_version is not None, report.name
        assert report.pinned_version in report.install
        assert report.install in (report.problem or "")
        assert report.login_help, report.name
    assert found["command"].is_available


async def test_a_program_that_does_not_work_is_none(put: Put):
    put("claude", "echo 'native binary not installed' >&2; exit 1")
    info = await detect_program("claude-code", CLAUDE_CODE, CLAUDE_LOGIN)
    assert not info.is_available
    assert "native binary not installed" in (info.problem or "")
    assert CLAUDE_CODE.install in (info.problem or "")
    with pytest.raises(RuntimeNotUsable, match="native binary not installed"):
        await require_runtime("claude-code")


async def test_a_program_and_a_login_that_are_there_are_found(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = put("claude", "echo '2.9.1 (Claude Code)'")
    info = await detect_program("claude-code", CLAUDE_CODE, CLAUDE_LOGIN)
    assert (info.version, info.is_available, info.problem) == ("2.9.1", True, None)
    assert info.login is LoginState.MISSING
    assert require_program(CLAUDE_CODE) == program
    assert program.parent in places_of(program)

    (tmp_path / ".claude").mkdir()
    (tmp_path / ".claude" / ".credentials.json").write_text("{}")
    assert CLAUDE_LOGIN.state() is LoginState.READY
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "elsewhere"))
    assert CLAUDE_LOGIN.state() is LoginState.MISSING
    monkeypatch.setenv("CLAUDE_CODE_OAUTH_TOKEN", "t")
    assert CLAUDE_LOGIN.state() is LoginState.READY


async def test_a_version_is_read_from_the_package_where_asking_would_take_a_second(
    put: Put, tmp_path: Path
):
    package = tmp_path / "node_modules" / "qwen"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"version": "7.8.9"}')
    real = put("qwen", "echo started >> started.txt")
    moved = real.rename(package / "qwen")
    real.symlink_to(moved)
    info = await detect_program("qwen", QWEN, QWEN_LOGIN)
    assert (info.version, info.is_available) == ("7.8.9", True)
    assert tmp_path / "node_modules" in places_of("qwen")


@pytest.mark.parametrize(
    ("name", "program", "how"),
    [
        ("claude-code", "claude", "`claude`, then /login"),
        ("qwen", "qwen", "OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL"),
        ("codex-acp", "codex-acp", "`codex login`"),
        ("claude-agent-acp", "claude-agent-acp", "`claude`, then /login"),
    ],
)
@pytest.mark.parametrize("told", [None, "No provider is set up: do this."])
async def test_without_a_login_and_a_provider_a_run_says_what_to_do(
    put: Put,
    make_context: Callable[..., RunContext],
    name: str,
    program: str,
    how: str,
    told: str | None,
):
    put(program, "echo started > started.txt")
    context = make_context(None, models_problem=told)
    outcome = await builtin_runtimes().get(name).run(context)
    assert not outcome.is_success
    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.AUTH_FAILED
    assert how in outcome.message
    assert (told or "`agentvine provider add") in outcome.message
    assert not (context.worktree / "started.txt").exists()


def test_a_login_is_shown_to_a_run_only_where_no_provider_is(put: Put, tmp_path: Path):
    own, private = tmp_path / ".claude" / ".credentials.json", tmp_path / "private"
    own.parent.mkdir()
    own.write_text("secret")
    private.mkdir()
    link_login(CLAUDE_LOGIN, private, is_wanted=True)
    assert (private / own.name).read_text() == "secret"
    link_login(CLAUDE_LOGIN, private, is_wanted=False)
    assert not (private / own.name).exists()
    assert own.exists()
