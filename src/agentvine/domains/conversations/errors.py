"""Errors of the conversations slice."""

from agentvine.kit.errors import NotFound


class ConversationNotFound(NotFound):
    """There is no such conversation, or you may not see it."""

    code = "conversation_not_found"
