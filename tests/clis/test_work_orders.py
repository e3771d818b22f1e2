"""Work orders with the real CLIs: a command by a person, and a change with every token counted."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from agentvine.llm.scripted import Received, ScriptedUpstream, parse_script
from tests.clis.driving import CLIS_OF
from tests.support.cli import Sandbox, wait_until
from tests.support.http import serve
from tests.support.repositories import Repo, make_repo

NAMES = ("claude-code", "codex", "opencode", "gemini", "qwen", "claude-agent-acp", "codex-acp")
MODELS = {
    "claude-code": "claude-opus-5-5",
    "claude-agent-acp": "claude-opus-5-5",
    "gemini": "gemini-2.5-flash",
    "opencode": "gpt-4.1",  # newer ones it gives a tool for patches
}
"""The others ask for gpt-5.5."""
CHECK = "cmp hello.txt copied.txt"
TWO_STEPS = """
usage: {input: 1111, output: 22, cache_read: 333, cache_write: 44, reasoning: 5}
turns:
  - text: I write it.
    calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
  - text: I look at it.
    calls: [{run_command: {command: "cp hello.txt copied.txt"}}]
  - text: All is done.
"""
# Turns differ, since agents notice when they do the same again and again.
LOOP = "usage: {input: 1000, output: 2000}\nturns:\n" + "".join(
    f"  - calls: [{{run_command: {{command: 'echo {number} >> loop.txt'}}}}]\n"
    for number in range(60)
)
BUDGET = Decimal("0.50")
LONG = """
turns:
  - text: This takes a while.
    calls: [{run_command: {command: "python3 -c 'import time; time.sleep(600)'"}}]
  - text: Not reached.
"""
GOES_ON = """
turns:
  - text: I go on.
    calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
  - text: And copy it.
    calls: [{write_file: {path: copied.txt, content: "hello\\n"}}]
  - text: All is done.
"""
DECIDED = """
turns:
  - text: I write what I may not.
    calls: [{write_file: {path: forbidden.txt, content: "no\\n"}}]
  - text: I ask.
    calls:
      - server: agentvine
        tool: ask_human
        input: {question: "Which colour?", options: [Red, Blue]}
  - text: I write what I may.
    calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
  - text: And copy it.
    calls: [{write_file: {path: copied.txt, content: "hello\\n"}}]
  - text: All is done.
"""
TEAM = """
usage: {input: 1111, output: 22}
conversations:
  - when: {prompt: "Plan how this goal is reached"}
    turns:
      - calls:
          - write_file:
              path: agentvine-answer.json
              content: >-
                {"feature_plan": {"goal": "Greet."},
                "steps": [{"key": "greet", "title": "Write hello.txt"}]}
      - text: That is the plan.
  - when: {prompt: "Test .round 1.: Greet"}
    turns:
      - calls:
          - write_file: {path: agentvine-answer.json, content: '{"outcome": "pass"}'}
      - text: It is good.
  - when: {prompt: "Find out whether this goal is reached"}
    turns:
      - calls:
          - write_file:
              path: agentvine-answer.json
              content: >-
                {"outcome": "fail",
                "findings": [{"path": "hello.txt", "line": 1, "text": "Say whom you greet."}]}
      - text: It is not good.
  - when: {prompt: "Review what the team has done"}
    turns: [{calls: [{tool: answer, input: {outcome: approve}}]}]
  - when: {prompt: "hello.txt:1: Say whom you greet."}
    turns:
      - calls: [{run_command: {command: "echo hello, you > hello.txt"}}]
      - text: It says so now.
  - turns:
      - calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
      - text: It greets.
"""
# Its sandbox lets a command write only where its model says that it must.
ESCALATED = TWO_STEPS.replace(
    '{run_command: {command: "cp hello.txt copied.txt"}}',
    "{tool: exec_command, input: {cmd: cp hello.txt copied.txt, justification: To copy it, "
    "sandbox_permissions: require_escalated}}",
)


def short_form(*names: str) -> list[Any]:
    """All of them, of which CI runs these."""
    return [
        each if each in names else pytest.param(each, marks=pytest.mark.clis_long) for each in NAMES
    ]


@pytest.fixture(scope="module")
def upstream() -> Iterator[tuple[ScriptedUpstream, str]]:
    """One model that follows a script, and its address."""
    scripted = ScriptedUpstream(parse_script("turns: [{text: Nothing.}]"))
    with serve(scripted) as url:
        yield scripted, url


@pytest.fixture
def team(
    installed: Callable[..., list[Path]],
    upstream: tuple[ScriptedUpstream, str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Sandbox]:
    """A server and a worker that finds the program, and may ask all providers."""
    name = request.node.callspec.params["name"]
    folders = dict.fromkeys(map(str, installed(*CLIS_OF[name])))
    path = os.pathsep.join([*folders, os.environ["PATH"]])
    # Codex makes no links to its helpers, and so has no sandbox, in a home below this.
    (tmp_path / "tmp").mkdir()
    more = {"PATH": path, "TMPDIR": str(tmp_path / "tmp"), "HTTP_PROXY": "http://127.0.0.1:9"}
    sandbox = Sandbox(tmp_path / "team", more)
    with sandbox.up("--workers", "1"):
        _, url = upstream
        for kind in ("anthropic", "openai", "gemini"):
            added = sandbox.run(
                *("provider", "add", kind, "--kind", kind, "--url", url, "--key-file", "-"),
                stdin=f"sk-{kind}-secret\n",
            )
            assert added.exit_code == 0, added
        yield sandbox
    assert sandbox.processes() == [], "nothing of it is left"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make_repo(tmp_path / "repository", {"README.md": "A repository.\n"})


def told(requests: list[Received]) -> tuple[int, int, int]:
    """What the provider says that it was asked: calls, and tokens in and out."""
    usages = [each.usage for each in requests if each.usage is not None]
    return (
        len(usages),
        sum(each.tokens_in for each in usages),
        sum(each.tokens_out for each in usages),
    )


def have_it_done(name: str, team: Sandbox, repo: Repo) -> dict[str, Any]:
    """Have the job of two steps done, allowing all that is asked; the task at its end."""
    task = begin(name, team, repo)
    shown = wait_until(lambda: at_rest(task, team, repo), "the end of the work", seconds=240)
    assert shown["status"] == "review", team.run("logs", task, cwd=repo.path).out
    return shown


def begin(name: str, team: Sandbox, repo: Repo, *more: str) -> str:
    """Give an agent the job; the task's reference."""
    begun = team.run(
        *("run", "Write hello, and copy it.", "--repo", str(repo.path), "--runtime", name),
        *("--model", MODELS.get(name, "gpt-5.5"), "--test", CHECK, "--no-wait", *more),
    )
    assert begun.exit_code == 0, begun
    return next(word for word in begun.out.split() if word.startswith("T-")).rstrip(".,:")


def at_rest(task: str, team: Sandbox, repo: Repo) -> Any:
    """Allow all that is asked; the task, once nothing is done for it any more."""
    for question in team.run("inbox", "--json", cwd=repo.path).json["questions"]:
        given = team.run("answer", question["id"], "--allow", cwd=repo.path)
        assert given.exit_code in (0, 5), given
    shown = team.run("task", "show", task, "--json", cwd=repo.path).json
    return shown if shown["status"] in {"review", "completed", "failed", "blocked"} else None


@pytest.mark.parametrize("name", short_form("claude-code", "codex"))
def test_a_work_order_is_done_asked_about_tested_and_counted_to_the_token(
    name: str, team: Sandbox, repo: Repo, upstream: tuple[ScriptedUpstream, str]
):
    scripted, _ = upstream
    scripted.requests.clear()
    scripted.play(parse_script(ESCALATED if name == "codex-acp" else TWO_STEPS))

    task = have_it_done(name, team, repo)["id"]

    [attempt] = team.run("attempts", task, "--json", cwd=repo.path).json
    counted = (attempt["model_calls"], attempt["tokens_in"], attempt["tokens_out"])
    assert counted == told(scripted.requests)
    assert all(each.problem is None for each in scripted.requests)
    assert Decimal(attempt["cost_usd"]) > 0
    diff = team.run("modification", "diff", task, cwd=repo.path).out
    assert "hello.txt" in diff
    assert "copied.txt" in diff
    approved = team.run("approve", task, cwd=repo.path)
    assert approved.exit_code == 0, approved
    wait_until(
        lambda: (
            team.run("task", "show", task, "--json", cwd=repo.path).json["status"] == "completed"
        ),
        "its merge",
        seconds=60,
    )
    assert repo.show("main", "copied.txt") == "hello"


@pytest.mark.parametrize("name", short_form("codex"))
def test_an_agent_in_a_sandbox_without_a_network_has_its_model(
    name: str, team: Sandbox, repo: Repo, upstream: tuple[ScriptedUpstream, str]
):
    if shutil.which("bwrap") is None:
        return  # such an order is refused: tests/worker/test_sandboxed_runs.py
    scripted, _ = upstream
    scripted.requests.clear()
    scripted.play(parse_script(ESCALATED if name == "codex-acp" else TWO_STEPS))
    registered = team.run("repo", "register", str(repo.path))
    assert registered.exit_code == 0, registered
    assert team.run("repo", "edit", repo.path.name, "--sandbox").exit_code == 0

    task = have_it_done(name, team, repo)["id"]

    [attempt] = team.run("attempts", task, "--json", cwd=repo.path).json
    assert attempt["model_calls"] == told(scripted.requests)[0] > 0
    diff = team.run("modification", "diff", task, cwd=repo.path).out
    assert "copied.txt" in diff


@pytest.mark.parametrize("name", short_form("claude-code"))
def test_a_budget_stops_the_work_in_flight_and_a_raise_lets_it_go_on(
    name: str, team: Sandbox, repo: Repo, upstream: tuple[ScriptedUpstream, str]
):
    scripted, _ = upstream
    scripted.requests.clear()
    scripted.play(parse_script(LOOP))
    project = team.run("repo", "register", str(repo.path), "--json").json["project_id"]
    limit = ("budget", "create", "tight", str(BUDGET), "--period", "monthly", "--project", project)
    assert team.run(*limit).exit_code == 0

    task = begin(name, team, repo)
    stopped = wait_until(lambda: at_rest(task, team, repo), "its budget's end", seconds=240)
    spent = team.run("usage", "--by", "task", "--json", cwd=repo.path).json["total"]

    assert stopped["status"] == "blocked", team.run("logs", task, cwd=repo.path).out
    why = team.run("order", "why", task, "--json", cwd=repo.path).json
    assert [reason["code"] for reason in why["reasons"]] == ["budget_used_up"], why
    counted = (spent["calls"], spent["tokens_in"], spent["tokens_out"])
    assert counted == told(scripted.requests)
    assert BUDGET / 2 < Decimal(spent["cost_usd"]) <= BUDGET

    scripted.play(parse_script(GOES_ON))
    assert team.run("budget", "edit", "tight", "--amount", "20").exit_code == 0

    def over() -> Any:
        shown = at_rest(task, team, repo)
        return shown if shown is not None and shown["status"] != "blocked" else None

    after = wait_until(over, "the end of the work", seconds=240)
    assert after["status"] == "review", team.run("logs", task, cwd=repo.path).out


@pytest.mark.parametrize("name", short_form("codex"))
def test_an_agent_that_is_killed_is_tried_again_and_goes_on(
    name: str, team: Sandbox, repo: Repo, upstream: tuple[ScriptedUpstream, str]
):
    scripted, _ = upstream
    scripted.requests.clear()
    scripted.play(parse_script(LONG))

    task = begin(name, team, repo)

    def sleeping() -> list[tuple[psutil.Process, list[str]]]:
        at_rest(task, team, repo)
        found = processes_in(team)
        return found if any("time.sleep(600)" in " ".join(each[1]) for each in found) else []

    running = wait_until(sleeping, "the command of its first turn", seconds=120)
    scripted.play(parse_script(GOES_ON))
    for process, _ in running:
        with suppress(psutil.Error):
            process.kill()

    after = wait_until(lambda: at_rest(task, team, repo), "the end of the work", seconds=240)

    assert after["status"] == "review", team.run("logs", task, cwd=repo.path).out
    attempts = team.run("attempts", task, "--json", cwd=repo.path).json
    assert len(attempts) == 2


@pytest.mark.parametrize("name", ["claude-code"])
def test_what_people_deny_is_not_done_and_what_they_answer_reaches_the_model(
    name: str, team: Sandbox, repo: Repo, upstream: tuple[ScriptedUpstream, str]
):
    scripted, _ = upstream
    scripted.requests.clear()
    scripted.play(parse_script(DECIDED))

    task = begin(name, team, repo, "--permission", "human_required")
    assert team.run("task", "start", task, cwd=repo.path).exit_code == 0
    asked: dict[str, str] = {}

    def decided() -> Any:
        for question in team.run("inbox", "--json", cwd=repo.path).json["questions"]:
            is_forbidden = "forbidden.txt" in str(question)
            how = ["--deny"] if is_forbidden else ["--allow"]
            if question["kind"] == "question":
                how = ["--option", "Blue"]
            given = team.run("answer", question["id"], *how, cwd=repo.path)
            assert given.exit_code == 0, given
            asked[question["id"]] = question["kind"]
        shown = team.run("task", "show", task, "--json", cwd=repo.path).json
        return shown if shown["status"] in {"review", "failed", "blocked"} else None

    after = wait_until(decided, "the end of the work", seconds=240)

    assert after["status"] == "review", team.run("logs", task, cwd=repo.path).out
    assert {"permission", "question"} <= set(asked.values())
    diff = team.run("modification", "diff", task, cwd=repo.path).out
    assert "copied.txt" in diff
    assert "forbidden.txt" not in diff
    assert "chose: Blue" in str(scripted.requests[-1].body)


@pytest.mark.parametrize("name", short_form("claude-code"))
def test_a_team_of_agents_and_a_reviewer_by_the_door_alone_rework_and_merge(
    name: str, team: Sandbox, repo: Repo, upstream: tuple[ScriptedUpstream, str]
):
    scripted, _ = upstream
    scripted.requests.clear()
    scripted.play(parse_script(TEAM))
    project = team.run("repo", "register", str(repo.path), "--json").json["project_id"]
    model = ("--model", MODELS.get(name, "gpt-5.5"), "--project", project)
    for role in ("architect", "coder", "tester"):
        made = team.run("agent", "create", role, "--type", role, "--runtime", name, *model)
        assert made.exit_code == 0, made
    assert team.run("agent", "create", "judge", "--type", "reviewer", *model).exit_code == 0

    goal = ("team", "run", "Greet.", "--repo", str(repo.path), "--permission", "autonomous")
    run_id = team.run(*goal, "--json").json["id"]

    def over() -> Any:
        for question in team.run("inbox", "--json", cwd=repo.path).json["questions"]:
            team.run("answer", question["id"], "--allow", cwd=repo.path)
        shown = team.run("team", "show", run_id, "--json").json
        return shown if shown["status"] in {"completed", "waiting", "failed"} else None

    done = wait_until(over, "the end of the run", seconds=600)

    assert done["status"] == "completed", done
    assert repo.show("main", "hello.txt") == "hello, you"
    assert [(each["role"], each["outcome"]) for each in done["verdicts"]] == [
        ("tester", "fail"),
        ("tester", "pass"),
        ("reviewer", "approve"),
    ]
    assert Decimal(done["total_cost_usd"]) > 0
    calls, tokens_in, tokens_out = told(scripted.requests)
    assert calls > 0
    assert done["total_tokens"] == tokens_in + tokens_out


def processes_in(team: Sandbox) -> list[tuple[psutil.Process, list[str]]]:
    """What runs, marked as a run's, in the team's work trees."""
    found: list[tuple[psutil.Process, list[str]]] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            is_inside = process.cwd().startswith(str(team.data_dir))
            if is_inside and "AGENTVINE_RUN_ID" in process.environ():
                found.append((process, process.cmdline()))
    return found
