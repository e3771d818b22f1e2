"""``agentvine notification``: what one was told, put away, and how one wants to be told."""

import json
from typing import Any

from tests.cli.conftest import Cli
from tests.support.cli import wait_until
from tests.support.repositories import Repo


def json_of(cli: Cli, *arguments: str) -> Any:
    return cli.ok("notification", *arguments, "--json").json


def test_a_failed_task_is_told_read_and_put_away(cli: Cli, repository: Repo):
    cli.ok("notification", "read", "--all")
    done = cli("run", "Break it", "--repo", str(repository.path), "--command", "exit 3")
    assert done.exit_code == 1, done

    # Whoever ran it is its owner, and the worker's report has told them.
    wait_until(lambda: json_of(cli, "list", "--unread") != [], "the failure is told")
    (row,) = json_of(cli, "list", "--unread")
    assert (row["type"], row["is_read"]) == ("task_failed", False)
    name = row["id"].replace("-", "")[-8:]
    shown = cli.ok("notification", "list", "--limit", "1").out
    assert name in shown
    assert "has failed: Break it" in shown

    read = cli.ok("notification", "read", name).out
    assert "has failed: Break it" in read
    assert "agentvine task retry T-" in read
    assert json_of(cli, "list", "--unread") == []
    (again,) = json_of(cli, "read", row["id"])
    assert (again["id"], again["is_read"]) == (row["id"], True)
    assert cli.ok("notification", "read").out == "", "there is nothing unread"


def test_one_says_how_one_wants_to_be_told(cli: Cli):
    before = json_of(cli, "settings")
    shown = cli.ok("notification", "settings", "--email", "all", "--telegram-chat", "-1001").out
    assert "all, to admin@localhost" in shown
    assert "important, to chat -1001" in shown
    assert json_of(cli, "settings") == before | {"email": "all", "telegram_chat_id": -1001}

    test = json_of(cli, "test", "--channel", "telegram")
    assert (test["type"], test["severity"]) == ("test", "info")
    assert json_of(cli, "list", "--limit", "1")[0]["id"] == test["id"]

    cli.ok("notification", "settings", "--email", "important", "--telegram-chat", "none")
    assert json_of(cli, "settings") == before


def test_what_cannot_be_is_told_with_what_to_do(cli: Cli):
    for arguments, exit_code, told in (
        (("settings", "--telegram-chat", "me"), 2, "no number of a chat"),
        (("settings", "--email", "loud"), 2, "loud"),
        (("test", "--channel", "email"), 5, "Mail needs a real address"),
        (("link",), 5, "AGENTVINE_TELEGRAM__TOKEN"),
        (("read", "deadbeef"), 4, "deadbeef"),
        (("read", "01a20c12-3edd-77f1-87b0-000000000000"), 4, "None of your notifications"),
        (("read", "deadbeef", "--all"), 2, "--all"),
    ):
        done = cli("notification", *arguments)
        assert done.exit_code == exit_code, (arguments, done)
        assert told in done.err, (arguments, done)
    problem = json.loads(cli("notification", "read", "deadbeef", "--json").err)
    assert problem["code"] == "notification_unknown"
