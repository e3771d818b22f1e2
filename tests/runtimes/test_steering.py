"""What people say to a run, from the server to the run's program."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentvine.protocol.controls import SteeringMessage
from agentvine.runtimes.base import RunContext
from agentvine.runtimes.command import CommandRuntime
from agentvine.runtimes.command.inbox import open_inbox
from agentvine.runtimes.steering import Mailbox


def message(number: int, text: str = "hello") -> SteeringMessage:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    return SteeringMessage(number=number, author="user:a", text=text, created_at=moment)


async def test_a_message_that_comes_again_is_handed_over_once():
    mailbox, taken = Mailbox(), list[int]()

    async def take(given: SteeringMessage) -> None:
        taken.append(given.number)

    mailbox.put([message(1), message(2)])
    assert await mailbox.hand_over() == []
    with mailbox.open_to(take):
        assert [given.number for given in await mailbox.hand_over()] == [1, 2]
        mailbox.put([message(1), message(2), message(3)])
        await mailbox.hand_over()
    mailbox.put([message(4)])
    await mailbox.hand_over()
    assert taken == [1, 2, 3]
    assert mailbox.handed_to == 3


async def test_a_message_that_cannot_be_given_waits_with_those_after_it():
    mailbox, taken = Mailbox(), list[int]()
    is_full = True

    async def take(given: SteeringMessage) -> None:
        if is_full and given.number == 2:
            raise OSError("the disk is full")
        taken.append(given.number)

    mailbox.put([message(1), message(2), message(3)])
    with mailbox.open_to(take):
        with pytest.raises(OSError, match="full"):
            await mailbox.hand_over()
        assert (taken, mailbox.handed_to) == ([1], 1)
        is_full = False
        await mailbox.hand_over()
    assert (taken, mailbox.handed_to) == ([1, 2, 3], 3)


async def test_an_inbox_has_one_object_a_line_and_begins_empty(tmp_path: Path):
    path = tmp_path / "messages.jsonl"
    path.write_text("of an earlier attempt")
    with open_inbox(path) as inbox:
        await inbox.take(message(1, "two\nlines and \u00e9"))
        await inbox.take(message(2))
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["number"], first["text"]) == (1, "two\nlines and \u00e9")
    assert first["sent_at"] == "2026-01-02T00:00:00+00:00"
    assert second == {**first, "number": 2, "text": "hello"}


def test_an_inbox_does_not_follow_a_link(tmp_path: Path):
    target = tmp_path / "precious"
    target.write_text("kept")
    (tmp_path / "messages.jsonl").symlink_to(target)
    with pytest.raises(OSError, match="symbolic"), open_inbox(tmp_path / "messages.jsonl"):
        pass
    assert target.read_text() == "kept"


async def test_a_file_put_in_the_inboxs_place_gets_nothing(tmp_path: Path):
    path = tmp_path / "messages.jsonl"
    target = tmp_path / "precious"
    with open_inbox(path) as inbox:
        path.unlink()
        target.write_text("kept")
        path.symlink_to(target)
        await inbox.take(message(1))
    assert target.read_text() == "kept"


async def test_a_command_finds_what_is_said_to_it_in_its_inbox(
    make_context: Callable[..., RunContext], sink, tmp_path: Path
):
    folder = tmp_path / "inbox"
    folder.mkdir()
    context = make_context(
        'echo ready; until grep -q hello "$AGENTVINE_INBOX"; do sleep 0.01; done; echo heard',
        inbox=folder,
    )
    running = asyncio.create_task(CommandRuntime().run(context))
    await sink.has_lines.wait()
    context.mailbox.put([message(1)])
    await context.mailbox.hand_over()
    assert (await running).is_success
    assert sink.of("stdout") == ["ready", "heard"]
