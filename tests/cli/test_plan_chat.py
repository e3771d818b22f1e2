"""Talking about a plan at a terminal: what is said is seen, and saved when it is accepted."""

import json
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from tests.cli.conftest import Cli
from tests.support.models import scripted_model
from tests.support.repositories import Repo

SCRIPT = """
turns:
  - text: "Let us dig first."
    calls:
      - {tool: propose_feature_plan, input: {goal: Grow greens.}}
"""


def test_a_plan_is_talked_over_and_a_proposal_saved(cli: Cli, repository: Repo, tmp_path: Path):
    name, where = repository.path.name, ("--repo", str(repository.path))
    cli.ok("repo", "register", str(repository.path))
    cli.ok("plan", "create", "beds", *where)
    text = tmp_path / "soil.md"
    text.write_text("Peat is not wanted.\n")
    of = ("--project", name, "--type", "guide", "--file", str(text))
    cli.ok("document", "add", "Soil", *of, "--tag", "garden")
    key = tmp_path / "key"
    key.write_text("sk-canary-0123456789\n")
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(scripted_model(SCRIPT)) as model,
    ):
        cli.ok(
            *("provider", "add", f"of-{name}", "--kind", "anthropic", "--key-file", str(key)),
            *("--url", model.url, "--model", "claude-haiku-4-5", "--project", name),
        )
        talk = ("plan", "chat", "beds", *where)
        nothing = cli(*talk, "How do we begin?")
        chosen = ("--document", "soil", "--tag", "garden")
        said = cli.ok(*talk, "How do we begin?", "--model", "claude-haiku-4-5", *chosen)
        sent = json.dumps(model.requests[0].body)
        unknown = cli(*talk, "And then?", "--document", "Sand")
    before = cli.ok("plan", "show", "beds", *where).out
    saved = cli.ok(*talk, "--accept")
    ended = cli.ok(*talk, "--end", "--json").json

    assert nothing.exit_code == 2, "there is no model"
    assert sent.count("Peat is not wanted.") == 1
    assert "No document is called 'Sand'" in unknown.err
    assert "Let us dig first." in said.out
    assert "proposes feature_plan" in said.err
    assert "Grow greens." not in before
    assert "the feature_plan is in the draft" in saved.err
    assert "Grow greens." in cli.ok("plan", "show", "beds", *where).out
    assert ended["status"] == "completed"
    assert [row["role"] for row in ended["messages"]] == ["user", "assistant"]
