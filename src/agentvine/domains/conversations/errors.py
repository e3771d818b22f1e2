"""Errors of the conversations slice."""

from agentvine.kit.errors import Conflict, Forbidden, Invalid, LimitReached, NotFound


class ConversationNotFound(NotFound):
    """There is no such conversation, or you may not see it."""

    code = "conversation_not_found"


class ConversationClosed(Conflict):
    """The conversation is closed."""

    code = "conversation_closed"


class ConversationTransitionInvalid(Conflict):
    """The conversation cannot go there from where it stands."""

    code = "conversation_transition_invalid"


class MessageNotFound(NotFound):
    """There is no such message in this conversation."""

    code = "message_not_found"


class MessageNotYours(Forbidden):
    """Somebody else has said this."""

    code = "message_not_yours"


class MessageDeleted(Conflict):
    """The message was deleted."""

    code = "message_deleted"


class AttachmentNotFound(NotFound):
    """The message has no such file."""

    code = "attachment_not_found"


class AttachmentRefused(Invalid):
    """Files of this kind are not taken."""

    code = "attachment_refused"


class TooManyAttachments(LimitReached):
    """The message has too many files."""

    code = "too_many_attachments"
