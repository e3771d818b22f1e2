"""The how-to for a team, and the worker that fits into one file, do what they say."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentvine.client import Client
from agentvine.kit.ids import new_id
from agentvine.protocol.questions import QuestionIn
from agentvine.protocol.queue import ClaimIn
from agentvine.protocol.workers import WorkerRegisterIn
from tests.support.cli import Sandbox
from tests.support.documents import ROOT, Step, Terminal, blocks_of
from tests.support.repositories import make_repo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_running_it_for_a_team(
    terminal: Terminal, tmp_path: Path, new_postgres_database: Callable[[str | None], str]
):
    database = new_postgres_database(None).replace("+asyncpg", "")
    repo = make_repo(tmp_path / "site")
    said = terminal.outputs

    def found(pattern: str, step: str) -> Callable[[], str]:
        return lambda: re.findall(pattern, said[step])[0]

    # The second server: what one of them hands out is good at the other.
    url = found(r"serves (\S+?)\.?\n", "--port 8421")
    token = found(r"avw_\S+", "token create")
    password = found(r"password (\S+)", "--port 8420")
    terminal.follow(
        ROOT / "docs" / "how-to" / "run-for-a-team.md",
        {
            "createuser": Step(left_out="makes a role on the reader's own PostgreSQL"),
            "agentvine db setup": Step(
                fill={
                    "postgresql://agentvine:SECRET@db.example.org:5432/agentvine": f"'{database}'"
                }
            ),
            "--port 8420": Step(fill={"8420": "0"}, starts="password (.+)\n"),
            "--port 8421": Step(fill={"8421": "0"}, starts="serves http"),
            "agentvine login": Step(fill={"URL": url}, stdin=lambda: f"{password()}\n"),
            "token create": Step(),
            "AGENTVINE_TOKEN=TOKEN": Step(
                fill={
                    "=URL": lambda: f"={url()}",
                    "=TOKEN": lambda: f"={token()}",
                    "agentvine worker": "exec agentvine worker",
                },
                starts="worker.registered",
            ),
            "repo register": Step(fill={"REPOSITORY": str(repo.path)}),
            "agentvine db upgrade": Step(),
            "worker drain": Step(),
        },
    )

    assert "ada" in said["agentvine login"]
    assert "the change waits for approval" in said["repo register"]
    assert "build-1" in said["repo register"]
    assert "(newest)" in said["agentvine db upgrade"]


def test_pausing_and_steering_a_run(terminal: Terminal, tmp_path: Path):
    repo = make_repo(tmp_path / "site")
    sandbox = terminal.sandbox
    with sandbox.up("--workers", "1"):
        sandbox.run("repo", "register", str(repo.path))
        command = 'until grep -q old "$AGENTVINE_INBOX"; do sleep 0.1; done; sleep 600'
        made = ("task", "create", "Listen", "--repo", str(repo.path), "--command", command)
        task = sandbox.run(*made, "--json").json["id"]
        while sandbox.run("task", "show", task, "--json").json["status"] != "in_progress":
            pass
        fill = {"T-12": task}
        terminal.follow(
            ROOT / "docs" / "how-to" / "pause-and-steer-a-run.md",
            {
                "order pause": Step(fill=fill),
                "order why": Step(fill=fill),
                "order resume": Step(fill=fill),
                "order steer": Step(fill=fill),
                "order messages": Step(fill=fill),
            },
        )
        sandbox.run("task", "cancel", task)
    said = terminal.outputs
    assert "stands still" in said["order pause"]
    assert "stand still" in said["order why"]
    assert "goes on" in said["order resume"]
    assert "was handed to the run" in said["order steer"]
    assert "delivered" in said["order messages"]


def test_preparing_work_trees(terminal: Terminal, tmp_path: Path):
    repo = make_repo(tmp_path / "site", {"uv.lock": "1"})
    repository, said = str(repo.path), terminal.outputs
    with terminal.sandbox.up("--workers", "1"):
        terminal.sandbox.run("repo", "register", repository)
        terminal.follow(
            ROOT / "docs" / "how-to" / "prepare-work-trees.md",
            {
                "uv sync": Step(
                    fill={
                        "REPOSITORY": repository,
                        "uv sync --frozen": "mkdir .venv; date > .venv/x",
                    }
                ),
                "agentvine run": Step(fill={"REPOSITORY": repository}),
                "--clean-up-limit": Step(fill={"REPOSITORY": repository}),
                "--submodules": Step(fill={"REPOSITORY": repository}),
                '--set-up ""': Step(fill={"REPOSITORY": repository}),
            },
        )
    first, second = said["agentvine run"].split("Look again", 1)
    assert "What it made is kept for later runs." in first
    assert "Set up with what an earlier set-up has made." in second
    assert all(".venv" in each for each in (first, second))


def test_keeping_tasks_apart(terminal: Terminal, tmp_path: Path):
    repo, sandbox, said = make_repo(tmp_path / "site"), terminal.sandbox, terminal.outputs
    fill = {"REPOSITORY": str(repo.path)}
    with sandbox.up("--workers", "0"):
        sandbox.run("repo", "register", str(repo.path))
        terminal.follow(
            ROOT / "docs" / "how-to" / "keep-tasks-apart.md",
            {
                "task create": Step(fill=fill),
                "order why": Step(),
                "task edit": Step(),
                "repo conflicts": Step(fill=fill),
                "--overlap off": Step(fill=fill),
            },
        )
        then = sandbox.run("task", "show", "T-2").out
    assert "waits for files of T-1 (greet.txt)" in said["order why"]
    assert "queued" in then
    assert "touches (declared) translate.txt" in then


def test_answering_questions(terminal: Terminal, tmp_path: Path):
    repo, sandbox = make_repo(tmp_path / "site"), terminal.sandbox
    with sandbox.up("--workers", "0"):
        sandbox.run("repo", "register", str(repo.path))
        made = ("task", "create", "Ask", "--repo", str(repo.path), "--command", "true")
        task = sandbox.run(*made, "--json").json
        project = str(task["project_id"])
        token = sandbox.run("token", "create", "asker", "--worker", "--json").json["token"]
        url = json.loads((sandbox.data_dir / "server.json").read_text())["url"]
        asyncio.run(ask_for(url, token))
        terminal.follow(
            ROOT / "docs" / "how-to" / "answer-questions.md",
            {
                "agentvine inbox": Step(),
                "question list": Step(),
                "rule add": Step(fill={"demo": project}),
            },
        )
        answered = sandbox.run("answer", task["id"], "Blanks.").out
        assert sandbox.run("question", "show", task["id"], "--json").json["state"] == "answered"
    said = terminal.outputs
    assert all("Tabs or blanks?" in said[each] for each in ("agentvine inbox", "question list"))
    assert "git push *" in said["rule add"]
    assert "is told: Blanks." in answered


def test_letting_agents_know(terminal: Terminal, tmp_path: Path):
    repo = make_repo(tmp_path / "site")
    shelf = tmp_path / "docs"
    shelf.mkdir()
    lease = "# Leases\n\nA lease is renewed by compare and swap.\n"
    (shelf / "leases.md").write_text(lease)
    with terminal.sandbox.up("--workers", "0"):
        project = terminal.sandbox.run("project", "create", "shop", "--json").json["id"]
        terminal.sandbox.run("repo", "register", str(repo.path), "--project", project)
        terminal.sandbox.run("agent", "create", "coder", "--type", "coder", "--project", project)
        terminal.follow(
            ROOT / "docs" / "how-to" / "let-agents-know.md",
            {
                "memory remember": Step(),
                "memory recall": Step(),
                "memory forget": Step(),
                "document import": Step(fill={"import docs": f"import {shelf}"}),
                "document search": Step(),
                "document rule add": Step(),
            },
        )
        rules = terminal.sandbox.run("document", "rule", "list", "shop").out
    said = terminal.outputs
    assert "isort sorts them" in said["memory recall"]
    assert "has forgotten 1" in said["memory forget"]
    assert "1 new" in said["document import"]
    assert "**compare** **and** **swap**" in said["document search"]
    assert "style" in rules
    assert "bugfix" in rules


def test_taking_snapshots_and_talking(terminal: Terminal, tmp_path: Path):
    repo = make_repo(tmp_path / "shop")
    report, key = tmp_path / "coverage.xml", tmp_path / "key.txt"
    report.write_text('<coverage line-rate="0.5"/>')
    key.write_text("s3cret\n")
    with terminal.sandbox.up("--workers", "0"):
        terminal.sandbox.run("repo", "register", str(repo.path))
        terminal.sandbox.run("context", "create", "shop")
        terminal.sandbox.run(
            "agent", "create", "archie", "--type", "architect", "--project", "shop"
        )
        repo.commit({"src/new.py": "new = 1\n"})
        terminal.follow(
            ROOT / "docs" / "how-to" / "take-snapshots.md",
            {
                "context create": Step(fill={"coverage.xml": str(report)}),
                "context show": Step(),
                "context compare": Step(),
                "context env set": Step(fill={"key.txt": str(key)}),
            },
        )
        terminal.follow(
            ROOT / "docs" / "how-to" / "talk-with-agents.md",
            {"conversation say": Step(), "conversation show": Step()},
        )
    said = terminal.outputs
    assert "src/app.py" in said["context show"]
    assert "added    src/new.py" in said["context compare"]
    assert "API_KEY is set" in said["context env set"]
    assert "1 woken" in said["conversation say"]
    assert "Which **blue** is it" in said["conversation show"]


async def ask_for(url: str, token: str) -> None:
    """Be a worker whose run asks something."""
    async with Client(url, token) as client:
        session = new_id()
        me = await client.workers.register(
            WorkerRegisterIn(name="asker", session_id=session, runtimes=["command"])
        )
        claim = ClaimIn(worker_id=me.worker_id, session_id=session, claim_token="a" * 16)
        [order] = (await client.queue.claim(claim)).orders
        question = QuestionIn(
            order_id=order.order_id, fence=order.fence, key="1", text="Tabs or blanks?"
        )
        await client.questions.ask(order.execution_id, question)


def test_the_worker_in_one_file_works_as_the_protocol_says(tmp_path: Path):
    [program] = blocks_of(ROOT / "docs" / "reference" / "worker-protocol.md", "python")
    sandbox, repo = Sandbox(tmp_path / "server"), make_repo(tmp_path / "repo")
    with sandbox.up("--workers", "0"):
        url = json.loads((sandbox.data_dir / "server.json").read_text())["url"]
        token = sandbox.run("token", "create", "one-file", "--worker", "--json").json["token"]

        sandbox.run("repo", "register", str(repo.path))

        def work(command: str) -> str:
            task = ("task", "create", "A job", "--repo", str(repo.path), "--command", command)
            made = sandbox.run(*task, "--json").json
            done = subprocess.run(
                [sys.executable, "-c", program.text],
                env={"PATH": os.environ["PATH"], "AGENTVINE_SERVER_URL": url,
                     "AGENTVINE_TOKEN": token},
                capture_output=True, text=True, timeout=120, check=True,
            )  # fmt: skip
            shown = sandbox.run("task", "show", made["id"], "--json").json
            log = sandbox.run("logs", made["id"]).out
            return f"{done.stdout.strip()}, {shown['status']}, {log.strip()}"

        assert work("echo hello; pwd > /dev/null") == "completed, completed, hello"
        assert work("echo no; exit 3") == "failed, failed, no"
