"""Work orders with the real CLIs: a command by a person, and a change with every token counted."""

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from agentvine.llm.scripted import ScriptedUpstream, parse_script
from tests.clis.desk import (
    MODELS,
    NAMES,
    OTHER_MODEL,
    RATES,
    Desk,
    connect,
    cost_of,
    processes_below,
    results_in,
    told,
)
from tests.clis.driving import CLIS_OF, short_form
from tests.support.cli import Sandbox, stop
from tests.support.http import serve
from tests.support.repositories import make_repo

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
WHY = "Not on my watch."
TOLD = re.compile(r"rejected|refused|ancell?ed|aborted|Not on my watch")
HEARS_NO_REASON = {"gemini", "claude-agent-acp"}
"""They go on after a denial by themselves, and their protocol has no place for its reason."""
# Some stop at what they may not, and are told to go on without it.
DECIDED = """
conversations:
  - when: {prompt: "You were not allowed to do that"}
    turns:
      - text: I ask.
        calls: [ASK]
      - text: I write what I may.
        calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
      - text: And copy it.
        calls: [{write_file: {path: copied.txt, content: "hello\\n"}}]
      - text: All is done.
turns:
  - text: I write what I may not.
    calls: [{write_file: {path: forbidden.txt, content: "no\\n"}}]
  - text: I ask.
    calls: [ASK]
  - text: I write what I may.
    calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
  - text: And copy it.
    calls: [{write_file: {path: copied.txt, content: "hello\\n"}}]
  - text: All is done.
"""
ASK = '{ask: {question: "Which colour?", options: [Red, Blue]}}'
ASK_HUMAN = (
    '{server: agentvine, tool: ask_human, input: {question: "Which colour?", options: [Red, Blue]}}'
)
ASKS_BY_ITSELF = {"claude-code", "codex", "claude-agent-acp"}
"""Those with a tool of their own that reaches people; the others use ours."""
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


@pytest.fixture(scope="module")
def upstream() -> Iterator[tuple[ScriptedUpstream, str]]:
    """One model that follows a script, and its address."""
    scripted = ScriptedUpstream(parse_script("turns: [{text: Nothing.}]"))
    with serve(scripted) as url:
        yield scripted, url


@pytest.fixture(scope="module")
def team(
    upstream: tuple[ScriptedUpstream, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sandbox]:
    """One server for all of them, with a provider of each kind, and no worker yet."""
    folder = tmp_path_factory.mktemp("work-orders")
    # Codex makes no links to its helpers, and so has no sandbox, in a home below this.
    (folder / "tmp").mkdir()
    more = {"TMPDIR": str(folder / "tmp"), "HTTP_PROXY": "http://127.0.0.1:9"}
    sandbox = Sandbox(folder / "team", more)
    with sandbox.up("--workers", "0"):
        with connect(sandbox) as http:
            for kind in ("anthropic", "openai", "gemini"):
                about = {"name": kind, "kind": kind, "base_url": upstream[1]}
                added = http.post("/model-providers", json=about | {"key": f"sk-{kind}-secret"})
                assert added.is_success, added.text
            for model in {OTHER_MODEL, *MODELS.values()}:
                priced = http.post("/prices", json={"model": model, **RATES})
                assert priced.is_success, priced.text
        yield sandbox
    assert sandbox.processes() == [], "nothing of it is left"


@pytest.fixture(scope="module")
def worker_token(team: Sandbox) -> str:
    """What the workers are known by."""
    return team.run("token", "create", "workers", "--worker", "--json").json["token"]


@pytest.fixture
def desk(
    installed: Callable[..., list[Path]],
    team: Sandbox,
    worker_token: str,
    upstream: tuple[ScriptedUpstream, str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[Desk]:
    """A worker that finds the program, and a repository of its own; nothing of its runs is left."""
    name = request.node.callspec.params["name"]
    folders = dict.fromkeys(map(str, installed(*CLIS_OF[name])))
    path = os.pathsep.join([*folders, os.environ["PATH"]])
    place = tmp_path / f"repository-{uuid.uuid4().hex[:8]}"
    repo = make_repo(place, {"README.md": "A repository.\n"})
    with worker_in(team, worker_token, name, path), Desk(name, team, repo, upstream[0]) as made:
        yield made
        made.clear()
    assert processes_below(team.data_dir) == []


@contextmanager
def worker_in(team: Sandbox, token: str, name: str, path: str) -> Iterator[None]:
    """A worker of the team's, which looks for programs here."""
    sees_it = replace(team, more={**team.more, "PATH": path, "AGENTVINE_TOKEN": token})
    process = sees_it.start("worker", "--name", name, "--drain-timeout", "1")
    try:
        yield
    finally:
        stop(process)


@pytest.mark.parametrize("name", NAMES)
def test_a_work_order_is_done_asked_about_tested_and_counted_to_the_token(name: str, desk: Desk):
    desk.begin(ESCALATED if name == "codex-acp" else TWO_STEPS)
    desk.finish()

    requests = desk.upstream.requests
    assert all(each.problem is None for each in requests)
    used, calls = told(requests), desk.calls()
    assert len(used) >= 3, "three turns, and what some ask on the side"
    assert used == sorted(tokens_of(each) for each in calls)
    assert not any(each["is_estimated"] for each in calls)
    cost = sum(map(cost_of, used))
    assert sum(Decimal(each["cost_usd"]) for each in calls) == cost
    [attempt] = desk.attempts()
    counted = (attempt["model_calls"], attempt["tokens_in"], attempt["tokens_out"])
    assert counted == (len(used), sum(each[0] for each in used), sum(each[1] for each in used))
    assert Decimal(attempt["cost_usd"]) == cost
    shown = desk.get(f"/tasks/{desk.task}")
    assert (shown["total_tokens_used"], Decimal(shown["total_cost_usd"])) == (
        sum(each[0] + each[1] for each in used),
        cost,
    )
    diff = desk.command("modification", "diff", desk.task)
    assert "hello.txt" in diff
    assert "copied.txt" in diff
    desk.command("approve", desk.task)
    desk.wait(lambda: desk.status() == "completed", "its merge")
    assert desk.repo.show("main", "copied.txt") == "hello"


def tokens_of(call: dict[str, Any]) -> tuple[int, int, int, int]:
    """As ``told`` has them."""
    kinds = ("tokens_in", "tokens_out", "tokens_cache_read", "tokens_cache_write")
    tokens_in, tokens_out, read, written = (call[kind] for kind in kinds)
    return tokens_in, tokens_out, read, written


@pytest.mark.parametrize("name", short_form(NAMES, "codex"))
def test_an_agent_in_a_sandbox_without_a_network_has_its_model(name: str, desk: Desk):
    if shutil.which("bwrap") is None:
        return  # such an order is refused: tests/worker/test_sandboxed_runs.py
    desk.command("repo", "edit", desk.repo.path.name, "--sandbox")

    desk.begin(ESCALATED if name == "codex-acp" else TWO_STEPS)
    desk.finish()

    [attempt] = desk.attempts()
    assert attempt["model_calls"] == len(told(desk.upstream.requests)) > 0
    assert "copied.txt" in desk.command("modification", "diff", desk.task)


@pytest.mark.parametrize("name", short_form(NAMES, "claude-code"))
def test_a_budget_stops_the_work_in_flight_and_a_raise_lets_it_go_on(name: str, desk: Desk):
    limit = (str(BUDGET), "--period", "monthly", "--project", desk.project)
    desk.command("budget", "create", f"tight-{name}", *limit)

    desk.begin(LOOP)
    assert desk.rest() == "blocked", desk.logs()
    why = desk.command("order", "why", desk.task, "--json")
    assert [reason["code"] for reason in why["reasons"]] == ["budget_used_up"], why
    calls = desk.calls()
    assert sorted(map(tokens_of, calls)) == told(desk.upstream.requests)
    # Qwen Code's prompts are long, and count with their bytes until they are paid for: with less
    # left than that it is refused.
    least = BUDGET / (10 if name == "qwen" else 2)
    assert least < sum(Decimal(each["cost_usd"]) for each in calls) <= BUDGET

    desk.play(GOES_ON)
    desk.command("budget", "edit", f"tight-{name}", "--amount", "20")
    over = desk.wait(lambda: status if (status := desk.at_rest()) != "blocked" else None, "it all")
    assert over == "review", desk.logs()


@pytest.mark.parametrize("name", short_form(NAMES, "codex"))
def test_an_agent_that_is_killed_is_tried_again_and_goes_on(name: str, desk: Desk):
    desk.begin(LONG)

    def sleeping() -> list[psutil.Process]:
        desk.allow_all()
        found = desk.processes()
        is_so = any("time.sleep(600)" in " ".join(words) for _, words in found)
        return [process for process, _ in found] if is_so else []

    running = desk.wait(sleeping, "the command of its first turn")
    desk.play(GOES_ON)
    for process in running:
        with suppress(psutil.Error):
            process.kill()
    desk.finish()

    assert len(desk.attempts()) == 2


@pytest.mark.parametrize("name", short_form(NAMES, "claude-code", "gemini"))
def test_what_people_deny_is_not_done_and_what_they_answer_reaches_the_model(name: str, desk: Desk):
    desk.begin(
        DECIDED.replace("ASK", ASK if name in ASKS_BY_ITSELF else ASK_HUMAN),
        *("--permission", "human_required"),
    )
    desk.command("task", "start", desk.task)

    forbidden = desk.wait(lambda: next(iter(desk.open_questions()), None), "what it may not")
    assert forbidden["kind"] == "permission"
    assert "forbidden.txt" in str(forbidden)
    before = len(desk.asked())
    assert before == 1, "it waits"
    desk.answer(forbidden, decision="deny", text=WHY)

    def is_asked() -> Any:
        found = desk.open_questions()
        for question in found:
            if question["kind"] != "question":
                desk.answer(question, decision="allow")
        return next((each for each in found if each["kind"] == "question"), None)

    question = desk.wait(is_asked, "its question")
    heard = desk.asked()
    [*_, denied] = heard
    assert TOLD.search(results_in(denied)), "it knows that it was not done"
    assert WHY in str(denied.body) or name in HEARS_NO_REASON
    assert [each["label"] for each in question["options"]] == ["Red", "Blue"]
    assert not written(desk, "hello.txt"), "it waits"
    assert "Blue" not in "".join(map(results_in, heard))
    desk.answer(question, choices=["Blue"])
    desk.finish()

    [*_, answered] = desk.asked()[len(heard) : len(heard) + 1]
    assert "Blue" in results_in(answered), desk.logs()
    diff = desk.command("modification", "diff", desk.task)
    assert "copied.txt" in diff
    assert "forbidden.txt" not in diff
    assert not written(desk, "forbidden.txt")


def written(desk: Desk, name: str) -> list[Path]:
    """Such files in the work trees."""
    return [path / name for path in desk.worktrees() if (path / name).exists()]


@pytest.mark.parametrize("name", short_form(NAMES, "claude-code"))
def test_a_team_of_agents_and_a_reviewer_by_the_door_alone_rework_and_merge(name: str, desk: Desk):
    desk.play(TEAM)
    model = ("--model", desk.model, "--project", desk.project)
    for role in ("architect", "coder", "tester"):
        desk.command("agent", "create", role, "--type", role, "--runtime", name, *model)
    desk.command("agent", "create", "judge", "--type", "reviewer", *model)

    goal = ("team", "run", "Greet.", "--repo", str(desk.repo.path), "--permission", "autonomous")
    run_id = desk.command(*goal, "--json")["id"]

    def over() -> Any:
        desk.allow_all()
        shown = desk.get(f"/team-runs/{run_id}")
        return shown if shown["status"] in {"completed", "waiting", "failed"} else None

    done = desk.wait(over, "the end of the run")

    assert done["status"] == "completed", done
    assert desk.repo.show("main", "hello.txt") == "hello, you"
    assert [(each["role"], each["outcome"]) for each in done["verdicts"]] == [
        ("tester", "fail"),
        ("tester", "pass"),
        ("reviewer", "approve"),
    ]
    assert Decimal(done["total_cost_usd"]) > 0
    used = told(desk.upstream.requests)
    assert done["total_tokens"] == sum(each[0] + each[1] for each in used) > 0
