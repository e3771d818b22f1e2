"""Ids and enumerations of the knowledge slice."""

from enum import StrEnum
from typing import NewType
from uuid import UUID

ContextDocumentId = NewType("ContextDocumentId", UUID)


class DocumentType(StrEnum):
    """What a shared document is."""

    DESIGN = "design"
    PLAN = "plan"
    SPECIFICATION = "specification"
    GUIDE = "guide"
    REFERENCE = "reference"
