"""What happens on the control channel, told to the reactions in the same transaction."""

from dataclasses import dataclass

from agentvine.domains.conversations.models import ChatMessage


@dataclass(frozen=True, slots=True)
class QuestionSettled:
    """A question is open no more: it was answered, or has expired."""

    question: ChatMessage
