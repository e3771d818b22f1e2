"""What was said, in the words of tools, and the talk that a run's task came of."""

import uuid
from collections.abc import Sequence

from agentvine.db.session import ReadSession
from agentvine.domains.conversations import queries
from agentvine.domains.conversations.models import Conversation
from agentvine.domains.tasks.models import Task
from agentvine.mcp.calls import RunCall
from agentvine.mcp.words import file_line
from agentvine.protocol.conversations import MentionOut, MessageOut

_ALL_CHARACTERS = 15_000
"""Of all messages together; each has its share."""


async def find_talk(read: ReadSession, call: RunCall) -> Conversation | None:
    """The conversation that a run's task came of, in the run's own project; None for no such.

    Raises:
        ConversationNotFound: It is not the person's to see for whom the run acts.
    """
    task = await read.get_one(Task, call.run.task_id)
    try:
        # People may have written what they like into it.
        named = uuid.UUID(str((task.metadata_ or {}).get("conversation_id")))
    except ValueError:
        return None
    found = await queries.get_conversation(read, await call.person(read), named)
    return found if found.project_id == call.run.project_id else None


def talk_words(messages: Sequence[MessageOut]) -> str:
    """Messages with their authors, files and mentions; long ones are shortened."""
    share = _ALL_CHARACTERS // max(1, len(messages))
    return "\n\n".join(_message(message, share) for message in messages)


def _message(message: MessageOut, share: int) -> str:
    marks = [word for word, is_so in (("edited", message.is_edited),) if is_so]
    if message.reply_to_id:
        marks.append(f"replies to {message.reply_to_id}")
    about = "".join(f", {mark}" for mark in marks)
    when = f"{message.created_at:%Y-%m-%d %H:%M}"
    text = "[deleted]" if message.is_deleted else message.content[:share]
    if len(message.content) > share:
        text += f"\n[{len(message.content) - share} more characters: ask for this message alone.]"
    lines = [
        f"{message.author_name} ({message.author_type}), {when}{about} (id {message.id})",
        text,
    ]
    lines += map(file_line, message.attachments)
    lines += [_mention(mention) for mention in message.mentions]
    return "\n".join(lines)


def _mention(mention: MentionOut) -> str:
    why = f": {mention.detail}" if mention.detail else ""
    task = f", its task is {mention.task_id}" if mention.task_id else ""
    return f"[mentions agent {mention.agent_id}: {mention.state.value}{why}{task}]"
