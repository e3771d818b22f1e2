"""What was said, in the words of tools."""

from collections.abc import Sequence

from agentvine.mcp.words import file_line
from agentvine.protocol.conversations import MentionOut, MessageOut

_ALL_CHARACTERS = 15_000
"""Of all messages together; each has its share."""


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
