"""What happens on the control channel, told to the reactions in the same transaction."""

import uuid
from dataclasses import dataclass

from agentvine.domains.conversations.models import ChatMessage


@dataclass(frozen=True, slots=True)
class QuestionAsked:
    """A question is there, or is left to people after all. By now a rule may have answered it."""

    question: ChatMessage
    project_id: uuid.UUID


@dataclass(frozen=True, slots=True)
class QuestionSettled:
    """A question is open no more: it was answered, or has expired."""

    question: ChatMessage
