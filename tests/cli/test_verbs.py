"""Every verb of every noun once, as one would guess it; and how each says no."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.support.cli import Done, wait_until
from tests.support.repositories import Repo

NOBODY = "01a20c12-3edd-77f1-87b0-000000000000"


def said(done: Done, *words: str) -> None:
    assert done.exit_code == 0, done
    for word in words:
        assert word in done.out, done


def json_of(cli: Cli, *arguments: str) -> Any:
    return cli.ok(*arguments, "--json").json


def test_a_repository_from_its_registration_to_its_end(cli: Cli, repository: Repo):
    place, name = str(repository.path), repository.path.name

    said(cli("repo", "register", place, "--test", "true"), "is registered", name)
    assert cli("repo", "register", place).exit_code == 5
    assert name in [row["name"] for row in json_of(cli, "repo", "list")]
    assert json_of(cli, "repo", "show", name)["default_branch"] == "main"
    said(cli("repo", "show", place), name, "true")
    said(cli("repo", "edit", name, "--test", "false"), "is changed")
    assert json_of(cli, "repo", "show", name)["test_command"] == "false"
    assert cli("repo", "edit", name).exit_code == 2, "nothing is named"
    cli.ok("repo", "edit", name, "--submodules", "empty")
    cli.ok("repo", "edit", name, "--large-files", "pointers")
    cli.ok("repo", "edit", name, "--set-up", "make", "--cache", ".venv", "--cache-key", "uv.lock")
    cli.ok("repo", "edit", name, "--set-up-limit", "10m", "--clean-up", "make clean")
    workspace = json_of(cli, "repo", "show", name)["workspace"]
    assert (workspace["setup_command"], workspace["setup_timeout_seconds"]) == ("make", 600)
    assert (workspace["cached_paths"], workspace["cache_key_files"]) == ([".venv"], ["uv.lock"])
    cli.ok("repo", "edit", name, "--clean-up", "", "--cache", "")
    assert cli("repo", "edit", name, "--cache", "../elsewhere").exit_code == 2
    workspace = json_of(cli, "repo", "show", name)["workspace"]
    assert (workspace["cleanup_command"], workspace["cached_paths"]) == (None, [])
    assert (workspace["submodules"], workspace["large_files"]) == ("empty", "pointers")
    assert cli("repo", "delete", name).exit_code == 2, "nobody can be asked"
    said(cli("repo", "delete", name, "--yes"), "forgotten")
    assert cli("repo", "show", name).exit_code == 4
    assert repository.head, "the repository itself is there"


def test_a_project_and_who_may_see_it(cli: Cli):
    said(cli("project", "create", "vineyard", "-d", "Grapes"), "vineyard is created")
    assert "vineyard" in [row["name"] for row in json_of(cli, "project", "list")]
    said(cli("project", "edit", "vineyard", "--name", "Cellar"), "Cellar is changed")
    assert json_of(cli, "project", "show", "cellar")["description"] == "Grapes"

    made = json_of(cli, "user", "create", "vera", "--email", "vera@example.org")
    assert made["password"]
    said(cli("project", "members", "add", "Cellar", "vera", "--role", "viewer"), "is a viewer")
    [member] = json_of(cli, "project", "members", "list", "Cellar")
    assert (member["username"], member["role"]) == ("vera", "viewer")
    said(cli("project", "members", "remove", "Cellar", "vera"), "no member")
    assert json_of(cli, "project", "members", "list", "Cellar") == []

    said(cli("project", "delete", "Cellar", "--yes"), "is deleted")
    assert cli("project", "show", "Cellar").exit_code == 4


def test_users_and_tokens(cli: Cli):
    said(
        cli("user", "create", "otto", "--email", "otto@example.org", "--role", "viewer"),
        "otto is created as viewer",
        "shown this once",
    )
    assert cli("user", "create", "otto", "--email", "o@example.org").exit_code == 5
    assert "otto" in [row["username"] for row in json_of(cli, "user", "list")]
    said(cli("user", "edit", "otto", "--role", "developer"), "role")
    assert json_of(cli, "user", "show", "otto@example.org")["role"] == "developer"
    said(cli("user", "edit", "otto", "--inactive"), "is changed")

    secret = cli.ok("token", "create", "ci").out.strip()
    me = json_of(cli, "whoami", "--token", secret)
    assert me["server"]
    assert "ci" in [row["name"] for row in json_of(cli, "token", "list")]
    said(cli("token", "revoke", "ci"), "is revoked")
    assert cli("whoami", "--token", secret).exit_code == 3
    assert "ci" not in [row["name"] for row in json_of(cli, "token", "list")]
    assert "ci" in [row["name"] for row in json_of(cli, "token", "list", "--all")]


def test_who_may_not_is_told_so(cli: Cli):
    narrow = cli.ok("token", "create", "narrow", "--scope", "tasks:read").out.strip()

    refused = cli("user", "create", "x", "--email", "x@example.org", "--token", narrow, "--json")

    assert refused.exit_code == 3
    assert refused.problem["status"] == 403


def test_a_task_from_a_thought_to_its_deletion(cli: Cli, repository: Repo):
    cli.ok("repo", "register", str(repository.path))
    where = ("--repo", str(repository.path), "--command", "echo 1 > one.txt")
    first = json_of(cli, "task", "create", "Think first", *where, "--no-start")
    second = json_of(cli, "task", "create", "Then act", *where, "--depends-on", first["id"])
    assert (first["status"], second["status"]) == ("pending", "blocked")

    said(cli("task", "edit", first["id"], "--priority", "high", "--title", "Think"), "priority")
    assert cli("task", "edit", first["id"]).exit_code == 2
    said(cli("task", "show", second["id"]), "waits for", "Think")
    [relation] = json_of(cli, "task", "deps", "list", second["id"])
    assert relation["depends_on_title"] == "Think"
    circle = cli("task", "deps", "add", first["id"], second["id"])
    assert circle.exit_code in (2, 5)
    assert "T-" in circle.err, "the way round is shown"
    said(cli("task", "deps", "remove", second["id"], first["id"]), "no longer related")
    ids = {row["id"] for row in json_of(cli, "task", "list", "--repo", str(repository.path))}
    assert ids == {first["id"], second["id"]}

    said(cli("task", "cancel", first["id"], "-m", "no need"), "is cancelled: no need")
    assert cli("task", "cancel", first["id"]).exit_code == 0, "it is what was wanted"
    said(cli("task", "delete", first["id"], "--yes"), "is deleted")
    assert cli("task", "show", first["id"]).exit_code == 4
    cli("task", "cancel", second["id"])


def test_what_an_attempt_leaves_to_look_at(cli: Cli, repository: Repo):
    where = ("--repo", str(repository.path), "--command", "echo spoken; echo 1 > one.txt")
    done = json_of(cli, "run", "Speak", *where, "--permission", "supervised")
    task, change = done["id"], done["modification"]["id"]

    said(cli("task", "show", task), "attempt 1", "change")
    [attempt] = json_of(cli, "execution", "list", "--task", task)
    assert json_of(cli, "execution", "show", task)["id"] == attempt["id"]
    said(cli("logs", task), "spoken")
    assert cli.ok("logs", attempt["id"], "--stream", "stdout", "--tail", "1").out == "spoken\n"
    assert cli.ok("logs", task, "--search", "SPOK", "--stream", "stdout").out == (
        "stdout:1: spoken\n"
    )
    said(cli("attempts", task), "ATTEMPT", "completed", "1 file, +1 -0")
    [figures] = json_of(cli, "attempts", task)
    assert figures["cpu_seconds"] >= 0
    assert figures["change"]["rescue_ref"].startswith("refs/agentvine/rescue/")
    said(cli("execution", "show", task), "processor", "took")
    said(
        cli("timeline", task),
        *("task.created", "execution.claimed", "run.prepared", "run.started", "run.first_output"),
        *("run.not_tested", "run.done", "execution.completed", "task.review"),
    )
    [whole] = json_of(cli, "timeline", task, "--all")
    assert whole == json_of(cli, "timeline", attempt["id"])
    around = cli.ok("logs", task, "--search", "Running:", "-C", "1").out.splitlines()
    assert [line.partition(" ")[0] for line in around] == ["system-2-", "system:3:", "stdout-1-"]
    assert "No line holds it" in cli.ok("logs", task, "--search", "nowhere to be found").err
    assert cli("logs", task, "--search", "x", "--follow").exit_code == 2
    said(cli("execution", "search", "SPOKEN", "--task", task), "attempt 1: stdout:1: spoken")
    [order] = json_of(cli, "order", "list", "--task", task)
    assert json_of(cli, "order", "show", order["id"])["status"] == "completed"
    assert isinstance(json_of(cli, "order", "status"), list)

    [listed] = json_of(cli, "modification", "list", "--task", task)
    assert listed["id"] == change
    said(cli("modification", "show", task), "one.txt")
    said(cli("modification", "diff", change), "+1")
    said(cli("modification", "approve", change, "--no-apply"), "approved")
    said(cli("modification", "apply", change), "applied")
    assert repository.show("main", "one.txt") == "1"
    said(cli("modification", "revert", change, "-m", "second thoughts"), "reverted on main")
    assert "one.txt" not in repository.files("main")
    assert cli("modification", "reject", change).exit_code == 5


def test_workers_can_be_looked_at(cli: Cli):
    # It looks for the programs of its runtimes before it registers.
    [worker, *_] = wait_until(lambda: json_of(cli, "worker", "list"), "a worker", seconds=50)

    assert json_of(cli, "worker", "show", worker["name"])["id"] == worker["id"]
    said(cli("worker", "show", worker["id"]), worker["name"], "command")


@pytest.mark.parametrize(
    "arguments",
    [
        ("task", "show", NOBODY),
        ("task", "show", "T-999999"),
        ("task", "cancel", NOBODY),
        ("task", "retry", NOBODY),
        ("task", "start", NOBODY),
        ("task", "create", "x", "--repo", "nowhere-registered"),
        ("logs", NOBODY),
        ("execution", "show", NOBODY),
        ("order", "show", NOBODY),
        ("modification", "show", NOBODY),
        ("approve", NOBODY),
        ("reject", NOBODY),
        ("worker", "show", "nobody"),
        ("worker", "drain", "nobody"),
        ("worker", "delete", "nobody", "--yes"),
        ("repo", "show", "nowhere"),
        ("project", "show", "nowhere"),
        ("user", "show", "nobody"),
        ("token", "revoke", "nothing"),
    ],
    ids=" ".join,
)
def test_what_is_not_there_exits_with_4_and_one_line(cli: Cli, arguments: tuple[str, ...]):
    done = cli(*arguments)

    assert done.exit_code == 4, done
    assert done.out == ""
    assert done.err.count("\n") == 1, done.err


def test_what_runs_is_limited_paused_and_stopped(cli: Cli):
    said(cli("project", "create", "orchard"), "is created")
    said(cli("queue", "limit", "2", "--project", "orchard"), "at most 2")
    said(cli("queue", "pause", "--project", "orchard", "-m", "harvest"), "does not begin")
    [limit] = [row for row in json_of(cli, "queue", "status")["limits"] if row["capacity"] == 2]
    assert (limit["scope"], limit["pause_reason"]) == ("project", "harvest")
    said(cli("queue", "status"), "project orchard", "harvest")
    said(cli("queue", "resume", "--project", "orchard"), "begins again")
    assert cli("queue", "resume", "--project", "orchard").exit_code == 4
    said(cli("queue", "limit", "--none", "--project", "orchard"), "has no limit")
    assert cli("queue", "limit", "--project", "orchard").exit_code == 2
    assert cli("queue", "pause", "--queue", "q", "--type", "docs").exit_code == 2

    said(cli("queue", "stop", "--yes", "-m", "fire"), "nothing begins any more")
    said(cli("queue", "status"), "STOPPED", "fire")
    said(cli("queue", "resume"), "begins again")


def test_why_a_task_does_not_run_and_the_dead_are_tried_again(cli: Cli, repository: Repo):
    place = str(repository.path)
    cli.ok("repo", "register", place)
    later = json_of(
        cli, "task", "create", "Later", "--repo", place, "-c", "true", "--not-before", "+2h",
        "--expires-in", "1d",
    )  # fmt: skip
    said(cli("order", "why", later["id"]), "queued", "not before")
    why = json_of(cli, "order", "why", later["id"])
    assert "not_before" in [reason["code"] for reason in why["reasons"]]
    cli.ok("task", "cancel", later["id"])
    assert cli("order", "why", NOBODY).exit_code == 4
    assert cli("order", "why", later["id"], "--json").json["task_status"] == "cancelled"
    assert cli("order", "retry").exit_code == 2
    assert cli("order", "dead", "--failure", "no_such").exit_code == 2
    assert json_of(cli, "order", "retry", NOBODY)["queued"] == 0
    assert cli("task", "create", "X", "--repo", place, "--not-before", "soon").exit_code == 2


def test_a_worker_is_invited(cli: Cli):
    made = json_of(cli, "worker", "invite", "rack-1", "--type", "docs", "--expires-in", "2h")
    assert made["token"].startswith("ave_")
    said(cli("worker", "invitations"), "rack-1", "type:docs")
    said(cli("worker", "withdraw", made["info"]["id"]), "nobody")
    assert cli("worker", "withdraw", NOBODY).exit_code == 4
    assert cli("worker", "revoke", "nobody", "--yes").exit_code == 4


def test_a_plan_from_a_file_to_its_archive(cli: Cli, repository: Repo, tmp_path: Path):
    cli.ok("repo", "register", str(repository.path))
    where = ("--repo", str(repository.path))
    file = tmp_path / "plan.yaml"
    file.write_text("name: beds\nfeature_plan: {goal: Grow.}\nsteps: [{key: a, title: Dig}]\n")
    assert cli("plan", "create", *where).exit_code == 2, "it has no name"

    said(cli("plan", "create", *where, "--file", str(file)), "beds is a plan")
    assert cli("plan", "create", *where, "--file", str(file)).exit_code == 5
    shown = cli.ok("plan", "show", "beds", *where).out
    assert "## a: Dig" in shown
    (tmp_path / "next.md").write_text(shown.replace("Dig", "Dig deep"))
    said(cli("plan", "edit", "beds", *where, "-d", "In spring."), "is changed")
    assert cli("plan", "edit", "beds", *where).exit_code == 2
    said(cli("plan", "activate", "beds", *where), "version 1 of beds is active")
    assert cli("plan", "edit", "beds", *where, "-d", "x").exit_code == 5
    said(cli("plan", "revise", "beds", *where, "--file", str(tmp_path / "next.md")), "version 2")
    said(cli("plan", "diff", "beds", *where), "-## a: Dig", "+## a: Dig deep")
    assert cli("plan", "diff", "beds@1", *where).exit_code == 4
    found = json_of(cli, "plan", "search", '{"steps": [{"title": "Dig deep"}]}', *where)
    assert [hit["plan"]["version"] for hit in found] == [2]
    assert cli("plan", "search", "[]").exit_code == 2
    assert len(json_of(cli, "plan", "history", "beds@2", *where)) == 4
    said(cli("plan", "delete", "beds", *where, "--yes"), "is deleted")
    rows = json_of(cli, "plan", "versions", "beds", *where)
    assert [(row["version"], row["status"]) for row in rows] == [(1, "active")]
    said(cli("plan", "complete", "beds", *where), "is completed")
    said(cli("plan", "archive", "beds@1", *where), "is archived")
    said(cli("plan", "list", *where, "--status", "archived"), "beds")
    assert cli("plan", "show", "beds@7", *where).exit_code == 4


def test_a_plan_becomes_tasks_and_a_branch(cli: Cli, repository: Repo, tmp_path: Path):
    cli.ok("repo", "register", str(repository.path))
    file = tmp_path / "plan.yaml"
    file.write_text(
        "name: beds\nsteps: [{key: a, title: Dig, files: [x]}, {key: b, title: Sow, files: [x]}]\n"
        "code_changes: {changes: [{path: new.txt, operation: create, content: x}]}\n"
    )
    where = ("--repo", str(repository.path))
    cli.ok("plan", "create", *where, "-f", str(file))

    previewed = cli("plan", "preview", "beds", *where)
    said(previewed, "Dig", "Sow")
    assert "a and b both touch x: perhaps at once" in previewed.err
    assert cli("plan", "accept", "beds", *where).exit_code == 2, "there is no command"
    how = ("--command", "true", "--no-start")
    said(cli("plan", "accept", "beds", *where, *how), "T-1", "T-2", "Sow")
    made = json_of(cli, "plan", "accept", "beds", *where, *how)
    assert [row["key"] for row in made["tasks"]] == ["a", "b"]
    cli.ok("plan", "revise", "beds", *where)
    (tmp_path / "next.yaml").write_text("steps: [{key: a, title: Dig, files: [x]}]\n")
    cli.ok("plan", "edit", "beds", *where, "-f", str(tmp_path / "next.yaml"))
    said(cli("plan", "drift", "beds", *where), "keep", "cancel", "no step of this version")
    asked = cli("plan", "accept", "beds", *where, *how)
    said(asked, "cancel")
    assert "plan reconcile" in asked.err
    assert cli("plan", "reconcile", "beds", *where, *how).exit_code == 2, "nobody can be asked"
    said(cli("plan", "reconcile", "beds", *where, *how, "--yes"), "Dig")
    assert "as this version wants them" in cli("plan", "drift", "beds", *where).err
    said(cli("plan", "apply", "beds", *where, "--branch", "planned"), "1 files are changed")
    assert repository.show("planned", "new.txt") == "x"


def test_agents_and_how_they_were_set_up(cli: Cli):
    made = cli(
        *("agent", "create", "Ada", "--type", "coder", "--runtime", "command"),
        *("--model", "small", "--effort", "low", "--prompt", "Be brief."),
    )
    said(made, "Ada, coder, is in the team")
    assert cli("agent", "create", "ada", "--type", "tester").exit_code == 5
    assert cli("agent", "create", "Bob", "--type", "cook").exit_code == 2
    said(cli("agent", "list"), "Ada", "coder", "everything", "command small")
    said(cli("agent", "edit", "ada", "--model", "large", "--inactive"), "now at revision 2")
    assert cli("agent", "edit", "ada").exit_code == 2, "nothing is named"
    said(cli("agent", "history", "ada"), "command small", "command large")
    said(cli("agent", "restore", "ada", "1"), "as in revision 1; that is 3")
    said(cli("agent", "show", "Ada"), "small", "low", "Be brief.", "3")
    assert cli("agent", "restore", "ada", "9").exit_code == 4
    said(cli("agent", "remove", "Ada", "--yes"), "Ada is removed")
    assert cli("agent", "show", "Ada").exit_code == 4


def test_what_an_agent_remembers(cli: Cli):
    project = ("--project", json_of(cli, "project", "create", "Notes of agents")["id"])
    cli.ok("agent", "create", "Mnemo", "--type", "coder", *project)
    assert "Mnemo remembers nothing" in cli("memory", "list", "Mnemo", *project).err
    kept = cli("memory", "remember", "Mnemo", "style", "imports", "isort sorts them", "--days", "3")
    said(kept, "Mnemo remembers style/imports")
    limits = ("fact", "limits", '{"lines": 100}', "--json-value", "--importance", "9")
    cli.ok("memory", "remember", "Mnemo", *limits, *project)
    not_json = ("memory", "remember", "Mnemo", "fact", "limits", "{lines", "--json-value")
    assert cli(*not_json).exit_code == 2
    said(cli("memory", "list", "Mnemo"), "imports", "isort sorts them", "limits", '{"lines": 100}')
    found = json_of(cli, "memory", "recall", "Mnemo", "sorting", "imports")
    assert [each["memory"]["key"] for each in found["items"]] == ["imports"]
    assert "1 more had no room" in cli("memory", "recall", "Mnemo", "--max-tokens", "8").err
    assert "remembers nothing of it" in cli("memory", "recall", "Mnemo", "zebra").err
    said(cli("memory", "forget", "Mnemo", "style", "imports"), "has forgotten 1")
    said(cli("memory", "forget", "Mnemo", "fact"), "has forgotten 0")
    said(cli("memory", "forget", "Mnemo", "fact", *project), "has forgotten 1")


def test_documents_and_who_is_given_them(cli: Cli, tmp_path: Path):
    project = json_of(cli, "project", "create", "Shelf")["id"]
    of = ("--project", "Shelf")
    text = tmp_path / "style.md"
    text.write_text("Use blanks.\n")
    written = cli("document", "add", "Style", "--file", str(text), "--tag", "Code", *of)
    said(written, "Style is written")
    assert cli("document", "add", "Style", *of).exit_code == 2, "no text"
    text.write_text("Use tabs.\n")
    said(cli("document", "edit", "style", "--file", str(text), *of), "now at version 2")
    assert cli("document", "edit", "style", *of).exit_code == 2, "nothing is named"
    said(cli("document", "show", "Style", *of), "guide, version 2; code", "Use tabs.")
    said(cli("document", "show", "Style", "--version", "1", *of), "Use blanks.")
    said(cli("document", "diff", "Style", "1", *of), "-Use blanks.", "+Use tabs.")
    said(cli("document", "history", "Style", *of), "1", "2", "user:")
    said(cli("document", "restore", "Style", "1", *of), "as in version 1; that is 3")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "cats.md").write_text("# Cats\n\nCats purr at dawn.\n")
    (tmp_path / "docs" / "bad.md").write_bytes(b"\xff")
    taken = cli("document", "import", str(tmp_path / "docs"), "--type", "reference", *of)
    said(taken, "1 new, 0 changed, 0 as they were")
    assert "bad.md is left out" in taken.err
    assert cli("document", "import", str(tmp_path / "docs")).exit_code == 2, "whose are they?"
    said(cli("document", "list", *of, "--type", "reference"), "Cats")
    said(cli("document", "search", "cat", "purr at", *of), "Cats", "**Cats** **purr** **at** dawn")
    assert "No document" in cli("document", "search", "dogs", *of).err
    rule = json_of(cli, "document", "rule", "add", project, "--tag", "code", "--task-type", "docs")
    said(cli("document", "rule", "list", "Shelf"), "code", "docs", "4000")
    assert cli("document", "rule", "add", "Shelf").exit_code == 2, "which documents?"
    both = ("document", "rule", "add", "Shelf", "--document", "Style", "--tag", "code")
    assert cli(*both).exit_code == 2, "one or the other"
    said(cli("document", "rule", "remove", rule["id"]), "removed")
    assert cli("document", "rule", "remove", "code").exit_code == 4
    said(cli("document", "remove", "Style", "--yes", *of), "Style is removed")
    assert cli("document", "show", "Style", *of).exit_code == 4


def test_snapshots_of_a_repository(cli: Cli, repository: Repo, tmp_path: Path):
    repository.commit({"requirements.txt": "flask==3\n"})
    project = json_of(cli, "project", "create", "Snaps")["id"]
    name = json_of(cli, "repo", "register", str(repository.path), "--project", project)["name"]
    report, value = tmp_path / "coverage.xml", tmp_path / "value"
    report.write_text('<coverage line-rate="0.75"/>')
    value.write_text("s3cret\n")
    assert cli("context", "compare", name).exit_code == 4, "there is one"
    said(cli("context", "create", name, "--coverage", str(report)), "is taken at", "1 dependencies")
    said(cli("context", "env", "set", name, "KEY", "--value-file", str(value)), "KEY is set")
    assert cli("context", "env", "set", name, "KEY").exit_code == 2, "no value"
    said(cli("context", "show", name), "flask ==3", "KEY", "coverage", "75")
    assert "s3cret" not in cli("context", "show", name, "--json").out
    said(cli("context", "files", name), "requirements.txt", "file")
    said(cli("context", "files", name, "requirements.txt"), "flask==3")
    first = json_of(cli, "context", "show", name)["id"]
    repository.commit({"requirements.txt": "flask==4\n", "Procfile": "web: x\n"})
    said(cli("context", "create", name), "is taken at")
    compared = cli("context", "compare", name)
    said(compared, "added    Procfile", "pypi:flask: ==3 -> ==4", "test_coverage 75 -> -")
    assert cli("context", "compare", first).out == compared.out
    said(cli("context", "compare", first, first), "nothing differs")
    said(cli("context", "list", "--repo", name, "--variable", "KEY"), "active")
    said(cli("context", "env", "unset", name, "KEY"), "KEY is unset")
    said(cli("context", "archive", first), "is archived")
    said(cli("context", "list", "--repo", name, "--status", "archived"), first)
    assert cli("context", "list", "--status", "deleted").exit_code == 2, "they are never shown"
    said(cli("context", "activate", first), "is active")
    assert cli("context", "delete", name, "--yes").exit_code == 5, "the newest one stays"
    said(cli("context", "delete", first, "--yes"), "is deleted")
    assert cli("context", "show", first).exit_code == 4


def test_a_conversation_with_files_and_an_agent(cli: Cli, tmp_path: Path):
    project = json_of(cli, "project", "create", "Talks")["id"]
    of = ("--project", "Talks")
    cli.ok("agent", "create", "Archie", "--type", "architect", *of)
    file = tmp_path / "notes.txt"
    file.write_text("notes\n")
    said(cli("conversation", "create", "Colours", *of, "--agent", "archie"), "Colours has begun")
    message = json_of(cli, "conversation", "say", "colours", "**Blue**", "--attach", str(file), *of)
    said(cli("conversation", "say", "Colours", "Or?", "--reply-to", message["id"], *of), "said")
    shown = cli("conversation", "show", "Colours", *of)
    said(shown, "Archie", "**Blue**", "notes.txt, 6 bytes", "0 in, 0 out")
    said(cli("conversation", "say", "Colours", "Which, @archie?", *of), "1 woken")
    asked = cli("conversation", "show", "Colours", *of).out
    # There is no model, so it is told soon that nobody can answer.
    assert any(
        word in asked for word in ("[waits for Archie to answer]", "[failed: ", "[waiting: ")
    )
    said(cli("conversation", "edit", "Colours", message["id"], "Red", *of), "said otherwise")
    said(cli("conversation", "attach", "Colours", message["id"], str(file), *of), "is attached")
    listed = json_of(cli, "conversation", "show", "Colours", *of)["messages"][0]
    assert (listed["content"], listed["is_edited"]) == ("Red", True)
    copy = tmp_path / "copy.txt"
    saved = ("conversation", "save", "Colours", listed["attachments"][0]["id"], str(copy), *of)
    said(cli(*saved), "is written")
    assert copy.read_text() == "notes\n"
    assert cli(*saved).exit_code == 2, "it is there already"
    said(cli("conversation", "delete", "Colours", message["id"], "--yes", *of), "is deleted")
    said(cli("conversation", "join", "Colours", "Archie", "--leave", *of), "no more")
    said(cli("conversation", "mark", "Colours", "archived", *of), "is archived")
    assert cli("conversation", "say", "Colours", "Late", *of).exit_code == 5
    said(cli("conversation", "list", "--project", project, "--status", "archived"), "Colours")
    assert cli("conversation", "show", "Nothing", *of).exit_code == 4


def test_providers_their_keys_and_their_models(cli: Cli, tmp_path: Path):
    key_file = tmp_path / "key"

    def key(text: str) -> None:
        key_file.write_text(f"{text}\n")

    key("sk-ant-0123456789-abcd")
    added = cli("provider", "add", "claude", "--kind", "anthropic", "--key-file", str(key_file))
    said(added, "claude is added")
    assert cli("provider", "add", "claude", "--kind", "openai", "--no-key").exit_code == 5
    assert cli("provider", "add", "other", "--kind", "openai").exit_code == 2, "no key"
    said(cli("provider", "list"), "claude", "everything", "...abcd", "any")
    key("sk-ant-0123456789-efgh")
    said(
        cli("provider", "key", "add", "claude", "--name", "spare", "--key-file", str(key_file)),
        "key spare",
    )
    said(cli("provider", "key", "disable", "claude", "spare"), "spare is off")
    said(cli("provider", "show", "claude"), "key spare", "...efgh (off)")
    said(cli("provider", "key", "enable", "claude", "efgh"), "spare is on")
    key("sk-ant-0123456789-ijkl")
    said(
        cli("provider", "key", "replace", "claude", "spare", "--key-file", str(key_file)),
        "is replaced",
    )
    assert cli("provider", "key", "remove", "claude", "--yes").exit_code == 2, "which of the two?"
    said(cli("provider", "key", "remove", "claude", "ijkl", "--yes"), "spare is removed")
    said(cli("provider", "edit", "claude", "--model", "claude-a", "--inactive"), "is changed")
    assert cli("provider", "edit", "claude").exit_code == 2, "nothing is named"

    url = "http://127.0.0.1:9/v1"
    place = ("--kind", "openai_compatible", "--url", url)
    said(cli("provider", "add", "home", *place, "--no-key", "--free", "--model", "qwen3"), "added")
    silent = cli("provider", "test", "home")
    assert (silent.exit_code, "home: " in silent.err) == (2, True), silent
    said(cli("model", "alias", "small", "qwen3"), "small means qwen3")
    said(cli("model", "default", "small"), "small is the default")
    said(cli("model", "list"), "qwen3", "small", "home", "free", "yes")
    said(cli("model", "allow", "qwen*"), "qwen* may be used")
    assert cli("model", "allow").exit_code == 2, "nothing is named"
    cli.ok("model", "allow", "--any")
    cli.ok("model", "default")
    said(cli("model", "alias", "small"), "nothing any more")
    for name in ("claude", "home"):
        said(cli("provider", "remove", name, "--yes"), "is removed")
    assert cli("provider", "show", "claude").exit_code == 4


def test_prices_that_hold_before_the_tables(cli: Cli):
    made = cli("price", "set", "qwen3", "--provider", "home", "--input", "0", "--output", "0.075")
    said(made, "qwen3 costs 0 USD a million in and 0.075 out")
    assert cli("price", "set", "qwen3", "--input", "cheap", "--output", "1").exit_code == 2
    said(cli("price", "list"), "qwen3", "home", "0.075")
    [row] = [row for row in json_of(cli, "price", "list") if row["model"] == "qwen3"]
    said(cli("price", "remove", row["id"]), "is removed")
    assert cli("price", "remove", row["id"]).exit_code == 4


def test_budgets_and_what_was_used(cli: Cli):
    said(cli("budget", "create", "month", "20", "--action", "warn"), "20.00 USD monthly")
    assert cli("budget", "create", "month", "20").exit_code == 5
    assert cli("budget", "create", "odd", "1.001").exit_code == 2
    assert cli("budget", "create", "odd").exit_code == 2, "nothing is limited"
    said(cli("budget", "create", "plan", "--tokens", "5000", "--runs", "9"), "5000 tokens, 9 runs")
    said(cli("budget", "edit", "plan", "--runs", "10"), "is changed")
    said(cli("budget", "show", "plan"), "5000 tokens, 10 runs", "used")
    said(cli("budget", "delete", "plan", "--yes"), "limits nothing")
    said(cli("budget", "list"), "month", "everything")
    said(cli("budget", "show", "month"), "only tells", "80%")
    assert cli("budget", "edit", "month").exit_code == 2, "nothing is named"
    said(cli("budget", "edit", "month", "--amount", "$0.50", "--alert-at", "50"), "is changed")
    changed = json_of(cli, "budget", "show", "month")
    assert (changed["amount_usd"], changed["alert_threshold"]) == ("0.50", "0.50")
    assert cli("budget", "delete", "month").exit_code == 2, "nobody can be asked"
    said(cli("budget", "delete", "month", "--yes"), "limits nothing")
    assert cli("budget", "show", "month").exit_code == 4

    assert json_of(cli, "usage", "--by", "model", "--model", "no-such")["rows"] == []
    done = cli.ok("usage", "--by", "model", "--csv", "--since", "2026-01-01")
    assert done.out.splitlines()[0].startswith("model,label,calls,tokens_in")


def test_a_run_is_paused_steered_with_a_file_and_resumed(
    cli: Cli, repository: Repo, tmp_path: Path
):
    cli.ok("repo", "register", str(repository.path))
    command = 'until grep -q "that is all" "$AGENTVINE_INBOX"; do sleep 0.02; done; echo 1 > one'
    note = tmp_path / "a note.txt"
    note.write_text("but for this\n")
    command += '; grep "but for this" "$(dirname "$AGENTVINE_INBOX")"/files/*-a_note.txt'
    where = ("--repo", str(repository.path), "--command", command)
    task = json_of(cli, "task", "create", "Listen", *where)["id"]
    until(lambda: json_of(cli, "task", "show", task)["status"] == "in_progress")

    said(cli("order", "pause", task, "--wait", "60"), "the run stands still")
    [order] = json_of(cli, "order", "list", "--task", task)
    assert order["paused_since"]
    said(cli("order", "why", task), "lets it stand still")
    words = ("that is all", "--attach", str(note), "--wait", "60")
    said(cli("order", "steer", order["id"], *words), "message 1 was handed")
    said(cli("order", "show", order["id"]), "paused", "that is all")
    assert json_of(cli, "task", "show", task)["status"] == "in_progress"
    said(cli("order", "resume", task, "--wait", "60"), "the run goes on")
    until(lambda: json_of(cli, "order", "show", order["id"])["status"] == "completed")

    [message] = json_of(cli, "order", "messages", task)
    assert (message["number"], message["state"]) == (1, "delivered")
    said(cli("order", "messages", order["id"]), "that is all", "a note.txt")
    assert cli("order", "pause", task).exit_code == 5
    assert cli("order", "resume", order["id"]).exit_code == 5
    assert cli("order", "steer", task, "more").exit_code == 5
    assert cli("order", "messages", NOBODY).exit_code == 4


@pytest.mark.timeout(300)
def test_what_a_run_asks_is_answered_and_what_is_always_so_is_a_rule(
    cli: Cli, repository: Repo, tmp_path: Path
):
    registered = json_of(cli, "repo", "register", str(repository.path))
    project = registered["project_id"]
    said(cli("rule", "add", project, "deny", "--tool", "Bash", "--pattern", "rm *"), "rm *")
    script = """
- ask: {text: "Which colour?", options: [Red, Blue], save: colour}
- permit: {tool: Bash, input: {command: "rm old.txt"}, denied: [{say: "Then it stays."}]}
- permit: {tool: Deploy, input: {target: staging}, allowed: [{say: "It is out."}]}
- tool: {name: report_progress, input: {message: "I paint.", percent: 40}}
- tool: {name: ask_human, input: {question: "Which brush?"}, save: brush}
- write: {path: brush.txt, text: "${brush}"}
- finish: "${colour} it is."
"""
    where = ("--repo", str(repository.path), "--runtime", "scripted", "--command", script)
    task = json_of(cli, "task", "create", "Paint it", *where)["id"]
    asked = ("question", "list", "--task", task, "--state", "open")
    until(lambda: bool(json_of(cli, *asked)))

    said(cli("inbox"), "Which colour?")
    assert "Which colour?" in [row["text"] for row in json_of(cli, "inbox")["questions"]]
    assert cli("answer", task, "--option", "Green").exit_code == 2
    note = tmp_path / "note.txt"
    note.write_text("this blue\n")
    said(cli("answer", task, "--option", "Blue", "--attach", str(note)), "Blue", "note.txt")
    [answered] = json_of(cli, "question", "list", "--task", task, "--state", "answered")
    [file] = answered["answer"]["attachments"]
    said(cli("question", "show", answered["id"]), f"note.txt, 10 bytes ({file['id']})")
    saved = tmp_path / "saved.txt"
    cli.ok("question", "save", answered["id"], file["id"], str(saved))
    assert saved.read_text() == "this blue\n"
    assert cli("question", "save", answered["id"], file["id"], str(saved)).exit_code == 2
    until(lambda: [row["tool_name"] for row in json_of(cli, *asked)] == ["Deploy"])
    said(cli("question", "show", task), "Deploy", "staging")
    said(cli("answer", task, "--allow", "--remember", "task"), "allow")
    until(lambda: [row["text"] for row in json_of(cli, *asked)] == ["Which brush?"])
    said(cli("answer", task, "The wide one."), "The wide one.")
    until(lambda: json_of(cli, "task", "show", task)["status"] == "review")
    [change] = json_of(cli, "modification", "list", "--task", task)
    diff = json_of(cli, "modification", "show", change["id"])["diff"]
    assert "answered: The wide one." in diff
    assert cli("answer", task, "again").exit_code == 4, "nothing is open"

    rules = json_of(cli, "rule", "list", project)
    assert {(row["effect"], row["tool"]) for row in rules} == {
        ("deny", "Bash"),
        ("allow", "Deploy"),
    }
    for row in rules:
        said(cli("rule", "remove", row["id"]), "removed")
    assert json_of(cli, "rule", "list", project) == []
    assert cli("rule", "remove", NOBODY).exit_code == 4
    said(cli("task", "talk", task), "Which colour?", "Blue", "agent on", "I paint. (40 %)")
    types = [row["type"] for row in json_of(cli, "task", "talk", task)]
    assert (types.count("question"), types.count("response")) == (4, 4)
    assert types[-1] == "status", "what came of the attempt"


def until(is_true: Callable[[], bool]) -> None:
    """Ask again until it holds; the test's own time limit ends it."""
    while not is_true():
        time.sleep(0.05)


def test_runtimes_and_what_they_lack(cli: Cli):
    def known() -> dict[str, Any]:
        rows = {row["runtime"]: row for row in json_of(cli, "runtime", "list")}
        return rows if "command" in rows else {}

    rows = wait_until(known, "the worker to tell what it has")
    assert rows["command"]["is_available"]
    assert rows["command"]["worker"] != "here"
    said(cli("runtime", "show", "claude-code"), "npm install -g @anthropic-ai/claude-code@")
    assert cli("runtime", "show", "nonsense").exit_code == 4


def test_what_a_runtime_lacks_here_is_told_at_once(
    alone: Cli, repository: Repo, monkeypatch: pytest.MonkeyPatch
):
    for name in ("ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    rows = {row["runtime"]: row for row in json_of(alone, "runtime", "list")}
    lacking = rows["claude-code"]
    assert (lacking["worker"], lacking["is_available"], lacking["login"]) == (
        *("here", False, "missing"),
    )
    assert "claude is not installed" in lacking["missing"]
    assert "agentvine provider add" in lacking["missing"]

    done = alone("run", "Do it", "--repo", str(repository.path), "--runtime", "claude-code")
    assert done.exit_code == 2
    assert "claude is not installed: npm install -g @anthropic-ai/claude-code@" in done.err
    assert "`claude`, then /login" in done.err
    assert "starting one" not in done.err, "no server is started for nothing"
