"""What ``agentvine task talk`` does."""

from agentvine.cli import resolve
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.protocol.conversations import ChatMessageOut

_NOTHING = "Nothing was said about it."


async def talk(session: Session, *, name: str, project: str | None, limit: int | None) -> None:
    """What was said about a task."""
    task = await resolve.find_task(session, name, project)
    messages: list[ChatMessageOut] = []
    if task.conversation_id is not None:
        listing = session.client.conversations.chat(task.conversation_id)
        messages = await resolve.collect(listing, limit)
    columns = [
        Column[ChatMessageOut]("when", lambda message: message.created_at),
        Column[ChatMessageOut]("who", _who),
        Column[ChatMessageOut]("what", lambda message: message.type.value),
        Column[ChatMessageOut]("text", _text),
    ]
    session.out.table(messages, columns, nothing=_NOTHING)


def _who(message: ChatMessageOut) -> str:
    return f"agent on {message.sender_name}" if message.is_agent else message.sender_name


def _text(message: ChatMessageOut) -> str:
    """With what was chosen or decided, and how much is done."""
    facts = message.details
    said = [message.text, ", ".join(facts.get("choices", ()))]
    if not any(said):
        said.append(str(facts.get("decision", "")))
    if percent := facts.get("percent"):
        said.append(f"({percent} %)")
    return " ".join(part for part in said if part)
