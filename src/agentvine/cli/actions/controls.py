"""What ``agentvine order pause``, ``resume``, ``steer`` and ``messages`` do."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from agentvine.cli import asking, resolve
from agentvine.cli.attached import read_files, type_of_file
from agentvine.cli.output import Column, printable
from agentvine.cli.session import Session
from agentvine.kit.errors import Conflict
from agentvine.protocol.controls import MessageState, RunMessageOut
from agentvine.protocol.enums import OrderStatus
from agentvine.protocol.queue import WorkOrderOut

T = TypeVar("T")

_LOOK_SECONDS = 0.25


class NothingRuns(Conflict):
    """No worker runs this task now."""

    code = "nothing_runs"


async def pause(session: Session, *, name: str, project: str | None, wait_seconds: float) -> None:
    """Let a run stand still."""
    row = await session.client.queue.pause(await _running_order(session, name, project))
    row = await _follow(session, row, wait_seconds, lambda now: now.paused_since is not None)
    if row.paused_since is not None:
        session.out.done("the run stands still; `agentvine order resume` lets it go on", row)
    elif row.status is OrderStatus.CLAIMED:
        session.out.done("the run is to stand still; its worker has not stopped it yet", row)
    else:
        session.out.done(f"the run ended before: the order is {row.status.value}", row)


async def resume(session: Session, *, name: str, project: str | None, wait_seconds: float) -> None:
    """Let a run go on."""
    row = await session.client.queue.resume(await _running_order(session, name, project))
    row = await _follow(session, row, wait_seconds, lambda now: now.paused_since is None)
    is_done = row.paused_since is None
    told = "the run goes on" if is_done else "the run is to go on; its worker has not let it yet"
    session.out.done(told, row)


async def steer(
    session: Session,
    *,
    name: str,
    text: str,
    project: str | None,
    wait_seconds: float,
    files: Sequence[Path],
) -> None:
    """Say something to a run, with files."""
    contents = await read_files(files)
    order_id = await _running_order(session, name, project)
    if text == "-":
        text = asking.read_input()
    queue = session.client.queue
    put = [
        await queue.attach(order_id, file.name, content, type_=type_of_file(file))
        for file, content in contents.items()
    ]
    message = await queue.steer(order_id, text, attachments=[each.id for each in put])

    async def look() -> RunMessageOut:
        rows = await session.client.queue.messages(order_id)
        return next((row for row in rows if row.id == message.id), message)

    message = await _until(
        look, lambda now: now.state is not MessageState.WAITING, message, wait_seconds
    )
    told = {
        MessageState.WAITING: "is waiting to be handed to the run",
        MessageState.DELIVERED: "was handed to the run",
        MessageState.MISSED: "came too late: the attempt has ended",
    }
    session.out.done(f"message {message.number} {told[message.state]}", message)


async def messages(session: Session, *, name: str, project: str | None) -> None:
    """What was said to an order's runs."""
    rows = await session.client.queue.messages(await _newest_order(session, name, project))
    columns = [
        Column[RunMessageOut]("fence", lambda row: row.fence),
        Column[RunMessageOut]("number", lambda row: row.number),
        Column[RunMessageOut]("from", lambda row: row.author),
        Column[RunMessageOut]("state", lambda row: row.state.value),
        Column[RunMessageOut]("sent", lambda row: row.created_at),
        Column[RunMessageOut]("text", lambda row: _first_line(row.text)),
        Column[RunMessageOut](
            "files", lambda row: [printable(each.file_name) for each in row.attachments]
        ),
    ]
    session.out.table(rows, columns, nothing="Nothing was said to it.")


def message_line(message: RunMessageOut) -> str:
    """A message in one line."""
    return f"{message.state.value}  {message.author}: {_first_line(message.text)}"


def _first_line(text: str) -> str:
    return printable(text.strip().splitlines()[0])[:60]


async def _running_order(session: Session, name: str, project: str | None) -> uuid.UUID:
    """The order that a worker runs now, by its id or its task."""
    given = resolve.as_uuid(name)
    if given is None or await _is_task(session, given):
        task = given or await resolve.task_id(session, name, project)
        listing = session.client.queue.orders(status=[OrderStatus.CLAIMED], task_id=task)
        rows = await resolve.collect(listing, 1)
        if not rows:
            raise NothingRuns(f"No worker runs {name} now; `agentvine order why {name}` says why.")
        return rows[0].id
    return given


async def _newest_order(session: Session, name: str, project: str | None) -> uuid.UUID:
    given = resolve.as_uuid(name)
    if given is None or await _is_task(session, given):
        task = given or await resolve.task_id(session, name, project)
        rows = await resolve.collect(session.client.queue.orders(task_id=task), 1)
        if not rows:
            raise NothingRuns(f"{name} never had a work order.")
        return rows[0].id
    return given


async def _is_task(session: Session, given: uuid.UUID) -> bool:
    return bool(await resolve.collect(session.client.queue.orders(task_id=given), 1))


async def _follow(
    session: Session,
    row: WorkOrderOut,
    wait_seconds: float,
    is_done: Callable[[WorkOrderOut], bool],
) -> WorkOrderOut:
    return await _until(
        lambda: session.client.queue.order(row.id),
        lambda now: is_done(now) or now.status is not OrderStatus.CLAIMED,
        row,
        wait_seconds,
    )


async def _until(
    look: Callable[[], Awaitable[T]], is_done: Callable[[T], bool], now: T, wait_seconds: float
) -> T:
    """Look again until it is done, or the time is up."""
    deadline = time.monotonic() + wait_seconds
    while not is_done(now) and time.monotonic() < deadline:
        await asyncio.sleep(_LOOK_SECONDS)
        now = await look()
    return now
