"""What ``agentvine conversation`` does."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentvine.cli import asking, resolve
from agentvine.cli.attached import read_files, type_of_file, write_new_file
from agentvine.cli.output import Column, printable
from agentvine.cli.session import Session
from agentvine.kit.errors import NotFound
from agentvine.protocol.conversations import (
    MAX_MESSAGE_CHARACTERS,
    AttachmentOut,
    ConversationCreateIn,
    ConversationEditIn,
    ConversationOut,
    ConversationStatus,
    ConversationType,
    MentionState,
    MessageEditIn,
    MessageIn,
    MessageOut,
)


class ConversationUnknown(NotFound):
    """There is no such conversation, message or file."""

    code = "conversation_unknown"


async def list_conversations(
    session: Session,
    *,
    project: str | None,
    type_: ConversationType | None,
    status: ConversationStatus | None,
    limit: int | None,
) -> None:
    """All that one may see."""
    project_id = await resolve.project_id(session, project) if project else None
    listed = session.client.conversations.list(project_id=project_id, type_=type_, status=status)
    nothing = "There are none; `agentvine conversation create TITLE` begins one."
    session.out.table(await resolve.collect(listed, limit), _COLUMNS, nothing=nothing)


async def create(
    session: Session,
    *,
    title: str,
    project: str | None,
    type_: ConversationType | None,
    agents: Sequence[str],
) -> None:
    """A new one."""
    found = [await resolve.find_agent(session, name, project) for name in agents]
    body = ConversationCreateIn(
        type=type_ or ConversationType.GENERAL,
        title=title,
        project_id=await resolve.project_id(session, project) if project else None,
        participants=[agent.id for agent in found],
    )
    made = await session.client.conversations.create(body)
    session.out.done(f"{title} has begun ({made.id})", made)


async def show(
    session: Session, *, conversation: str, project: str | None, limit: int | None
) -> None:
    """Its head, and what was said."""
    row = await session.client.conversations.get(await _find(session, conversation, project))
    listed = session.client.conversations.messages(row.id)
    messages = await resolve.collect(listed, limit)
    if session.out.as_json:
        session.out.data({"conversation": row, "messages": messages})
        return
    fields: list[tuple[str, object]] = [
        ("id", str(row.id)),
        ("title", printable(row.title or "")),
        ("type", row.type.value),
        ("status", row.status.value),
        ("agents", [printable(each.name) for each in row.participants]),
        ("tokens", f"{row.tokens_in} in, {row.tokens_out} out"),
        ("cost", f"${row.cost_usd}"),
    ]
    session.out.record(row, fields)
    agents = {each.agent_id: each.name for each in row.participants}
    for message in messages:
        _print(session, message, agents)


async def say(
    session: Session,
    *,
    conversation: str,
    text: str,
    project: str | None,
    reply_to: str | None,
    files: Sequence[Path],
) -> None:
    """A message, with its files."""
    contents = await read_files(files)
    conversation_id = await _find(session, conversation, project)
    body = MessageIn(content=_text(text), reply_to_id=_message_id(reply_to) if reply_to else None)
    said = await session.client.conversations.say(conversation_id, body)
    for file, content in contents.items():
        await _send(session, conversation_id, said.id, file, content)
    woken = len([each for each in said.mentions if each.detail is None])
    after = f"; {woken} woken" if woken else ""
    session.out.done(f"said ({said.id}){after}", said)
    for mention in said.mentions:
        if mention.detail is not None:
            session.out.note(mention.detail)


async def edit(
    session: Session, *, conversation: str, message: str, text: str, project: str | None
) -> None:
    """Other words."""
    conversation_id = await _find(session, conversation, project)
    body = MessageEditIn(content=_text(text))
    row = await session.client.conversations.edit_message(
        conversation_id, _message_id(message), body
    )
    session.out.done(f"said otherwise ({row.id})", row)


async def delete(
    session: Session, *, conversation: str, message: str, project: str | None, yes: bool
) -> None:
    """Taken back."""
    conversation_id, message_id = await _find(session, conversation, project), _message_id(message)
    session.confirm("Take back the message and its files?", yes=yes)
    await session.client.conversations.delete_message(conversation_id, message_id)
    session.out.done("the message is deleted", {"id": str(message_id)})


async def attach(
    session: Session, *, conversation: str, message: str, file: Path, project: str | None
) -> None:
    """One more file."""
    content = (await read_files([file]))[file]
    conversation_id = await _find(session, conversation, project)
    made = await _send(session, conversation_id, _message_id(message), file, content)
    session.out.done(f"{made.file_name} is attached ({made.id})", made)


async def save(
    session: Session, *, conversation: str, attachment: str, file: Path, project: str | None
) -> None:
    """A file, written where there is none yet."""
    conversation_id = await _find(session, conversation, project)
    listed = session.client.conversations.messages(conversation_id)
    async for message in resolve.every(listed):
        for each in message.attachments:
            if str(each.id) == attachment:
                content = await session.client.conversations.attachment(
                    conversation_id, message.id, each.id
                )
                await write_new_file(file, content)
                session.out.done(f"{file} is written", each)
                return
    raise ConversationUnknown("No message of the conversation has a file with this id.")


async def set_status(
    session: Session, *, conversation: str, status: ConversationStatus, project: str | None
) -> None:
    """On its way."""
    conversation_id = await _find(session, conversation, project)
    change = ConversationEditIn(status=status)
    row = await session.client.conversations.edit(conversation_id, change)
    session.out.done(f"the conversation is {row.status.value}", row)


async def join(
    session: Session, *, conversation: str, agent: str, project: str | None, leave: bool
) -> None:
    """In, or out."""
    conversation_id = await _find(session, conversation, project)
    found = await resolve.find_agent(session, agent, project)
    if leave:
        await session.client.conversations.remove_participant(conversation_id, found.id)
    else:
        await session.client.conversations.add_participant(conversation_id, found.id)
    does = "takes part no more" if leave else "takes part"
    session.out.done(f"{found.name} {does}", found)


async def _find(session: Session, name: str, project: str | None) -> uuid.UUID:
    if (given := resolve.as_uuid(name)) is not None:
        return given
    project_id = await resolve.project_id(session, project) if project else None
    listed = session.client.conversations.list(project_id=project_id)
    found = [
        row
        async for row in resolve.every(listed)
        if row.title is not None and row.title.casefold() == name.casefold()
    ]
    if not found:
        raise ConversationUnknown(
            f"No conversation is called {name!r}; `agentvine conversation list` shows all."
        )
    if len(found) > 1:
        several = "; ".join(str(row.id) for row in found[:5])
        raise resolve.NameAmbiguous(f"{name!r} may be {several}. Use the id, or say --project.")
    return found[0].id


def _message_id(text: str) -> uuid.UUID:
    found = resolve.as_uuid(text)
    if found is None:
        raise ConversationUnknown("A message is called by its id; `conversation show` has it.")
    return found


def _text(text: str) -> str:
    return asking.read_input(MAX_MESSAGE_CHARACTERS + 1) if text == "-" else text


async def _send(
    session: Session,
    conversation_id: uuid.UUID,
    message_id: uuid.UUID,
    file: Path,
    content: bytes,
) -> AttachmentOut:
    return await session.client.conversations.attach(
        conversation_id,
        message_id,
        file.name,
        content,
        type_=type_of_file(file),
    )


def _print(session: Session, message: MessageOut, agents: Mapping[uuid.UUID, str]) -> None:
    marks = "".join(
        f", {word}"
        for word, is_so in (("edited", message.is_edited), ("deleted", message.is_deleted))
        if is_so
    )
    cost = f", ${message.cost_usd}" if message.cost_usd else ""
    when = session.out.age(message.created_at)
    session.out.line()
    session.out.line(printable(f"{message.author_name}, {when}{marks}{cost} ({message.id})"))
    for line in message.content.splitlines():
        session.out.line(f"    {printable(line)}")
    for file in message.attachments:
        session.out.line(printable(f"    [{file.file_name}, {file.size} bytes ({file.id})]"))
    for mention in message.mentions:
        if mention.detail is not None:
            session.out.line(printable(f"    [{mention.state.value}: {mention.detail}]"))
        elif mention.state is MentionState.WAITING:
            name = agents.get(mention.agent_id, "an agent")
            session.out.line(printable(f"    [waits for {name} to answer]"))


_COLUMNS = [
    Column[ConversationOut]("id", lambda row: row.id),
    Column[ConversationOut]("title", lambda row: printable(row.title or "")),
    Column[ConversationOut]("type", lambda row: row.type.value),
    Column[ConversationOut]("status", lambda row: row.status.value),
    Column[ConversationOut]("began", lambda row: row.created_at),
]
