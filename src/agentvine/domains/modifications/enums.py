"""Ids and enumerations of the modifications slice."""

from enum import StrEnum
from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import ModificationStatus

__all__ = [
    "CodeSnippetId",
    "ModificationId",
    "ModificationStatus",
    "SnippetTestId",
    "SnippetTestStatus",
    "TrialMergeId",
]


TrialMergeId = NewType("TrialMergeId", UUID)
ModificationId = NewType("ModificationId", UUID)
CodeSnippetId = NewType("CodeSnippetId", UUID)
SnippetTestId = NewType("SnippetTestId", UUID)


class SnippetTestStatus(StrEnum):
    """How the last run of a snippet's test ended."""

    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"
