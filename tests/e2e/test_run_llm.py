"""The built-in agent does a job over the gateway, and a budget stops one that loops."""

import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest

from agentvine.llm.scripted import ScriptedUpstream, parse_script
from tests.support.cli import Sandbox
from tests.support.http import serve
from tests.support.repositories import Repo

MODEL = "claude-sonnet-4-6"
CHECK = f"{sys.executable} -c 'import pathlib; assert pathlib.Path(\"hello.txt\").read_text()'"
SCRIPT = """
usage: {input: 1111, output: 22, cache_read: 333, cache_write: 44}
conversations:
  - when: {prompt: Say hello}
    turns:
      - text: I look around first.
        calls: [{list_files: {path: src, pattern: "*.py"}}]
      - calls: [{write_file: {path: hello.txt, content: "hello\\n"}}]
      - calls: [{run_command: {command: cat hello.txt}}]
      - calls: [{finish: {summary: I wrote hello.txt.}}]
  - when: {prompt: Go round}
    turns: [{calls: [{list_files: {path: src}}], repeat: forever}]
"""


@pytest.fixture(scope="module")
def upstream(team: Sandbox) -> Iterator[ScriptedUpstream]:
    """A provider that all of the team may ask."""
    scripted = ScriptedUpstream(parse_script(SCRIPT))
    with serve(scripted) as url:
        added = team.run(
            *("provider", "add", "scripted", "--kind", "anthropic", "--url", url),
            *("--key-file", "-"),
            stdin="sk-provider-secret\n",
        )
        assert added.exit_code == 0, added
        yield scripted
        assert team.run("provider", "remove", "scripted", "--yes").exit_code == 0


def test_the_built_in_agent_changes_tests_and_merges_and_every_token_is_counted(
    team: Sandbox, repo: Repo, upstream: ScriptedUpstream
):
    done = team.run(
        *("run", "Say hello", "--repo", str(repo.path), "--runtime", "llm", "--model", MODEL),
        *("--test", CHECK, "--permission", "autonomous"),
    )

    assert done.exit_code == 0, done
    assert repo.show("main", "hello.txt") == "hello"
    assert "I look around first." in done.out + done.err
    asked = [each for each in upstream.requests if "Say hello" in str(each.body)]
    told = [each.usage for each in asked if each.usage is not None]
    assert len(told) == 4
    task = next(word for word in done.out.split() if word.startswith("T-"))
    shown = team.run("attempts", task, "--json", cwd=repo.path)
    [attempt] = shown.json
    assert attempt["model_calls"] == 4
    assert attempt["tokens_in"] == sum(each.tokens_in for each in told)
    assert attempt["tokens_out"] == sum(each.tokens_out for each in told)
    assert Decimal(attempt["cost_usd"]) > 0
    assert "sk-provider-secret" not in done.out + done.err + shown.out


def test_a_budget_ends_an_agent_that_goes_round(
    team: Sandbox, repo: Repo, upstream: ScriptedUpstream
):
    done = team.run(
        *("run", "Go round", "--repo", str(repo.path), "--runtime", "llm", "--model", MODEL),
        *("--budget", "0.25", "--retries", "0"),
    )

    assert done.exit_code == 6, done
    assert "stopped by its budget" in done.out
    task = next(word for word in done.out.split() if word.startswith("T-")).rstrip(".,:")
    assert f"agentvine task resume {task}" in done.out
    [attempt] = team.run("attempts", task, "--json", cwd=repo.path).json
    assert attempt["failure_class"] == "budget_exhausted"
    assert 0 < Decimal(attempt["cost_usd"]) <= Decimal("0.25")
    went_round = [each for each in upstream.requests if "Go round" in str(each.body)]
    told = [each.usage for each in went_round if each.usage]  # some only ask how long a call is
    assert attempt["model_calls"] == len(told)
    assert team.run("task", "cancel", task, cwd=repo.path).exit_code in (0, 5)


def test_without_a_provider_it_ends_at_once_and_says_what_to_set(sandbox: Sandbox, repo: Repo):
    done = sandbox.run("run", "Say hello", "--repo", str(repo.path), "--runtime", "llm")

    assert done.exit_code == 1, done
    assert "cannot go on: No provider of models is set up" in done.out
    assert "agentvine provider add anthropic" in done.out
    assert done.out.count("begins") == 1
    assert sandbox.processes() == []
