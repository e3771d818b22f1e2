"""Ids and enumerations of the questions slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.questions import RuleEffect

__all__ = ["AnswerRuleId", "RuleEffect"]

AnswerRuleId = NewType("AnswerRuleId", UUID)
