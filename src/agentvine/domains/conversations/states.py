"""Where a conversation may go from where it stands: one table, and one function that moves it."""

from agentvine.db.session import Transaction
from agentvine.domains.conversations.enums import ConversationStatus
from agentvine.domains.conversations.errors import ConversationTransitionInvalid
from agentvine.domains.conversations.models import Conversation
from agentvine.domains.identity import history

_S = ConversationStatus

ALLOWED: dict[ConversationStatus, frozenset[ConversationStatus]] = {
    _S.ACTIVE: frozenset({_S.PAUSED, _S.COMPLETED, _S.ARCHIVED}),
    _S.PAUSED: frozenset({_S.ACTIVE, _S.COMPLETED, _S.ARCHIVED}),
    _S.COMPLETED: frozenset({_S.ACTIVE, _S.ARCHIVED}),
    _S.ARCHIVED: frozenset({_S.ACTIVE}),
}
OPEN = frozenset({_S.ACTIVE, _S.PAUSED})
"""Where people may speak; agents do so only while it is active."""


def set_status(tx: Transaction, conversation: Conversation, to: ConversationStatus) -> None:
    """Move a conversation, and write its history. Staying where it is changes nothing.

    Raises:
        ConversationTransitionInvalid: The table does not allow it.
    """
    origin = conversation.status
    if to is origin:
        return
    if to not in ALLOWED[origin]:
        raise ConversationTransitionInvalid(
            f"It is {origin.value}; from there it can become "
            f"{', '.join(sorted(status.value for status in ALLOWED[origin]))}."
        )
    conversation.status = to
    history.record(
        tx,
        f"conversation.{to.value}",
        entity=("conversation", conversation.id),
        project_id=conversation.project_id,
        before={"status": origin.value},
        after={"status": to.value},
    )
