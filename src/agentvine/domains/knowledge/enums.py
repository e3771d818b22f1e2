"""Ids and enumerations of the knowledge slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import DocumentType

__all__ = ["ContextDocumentId", "DocumentRuleId", "DocumentType", "DocumentVersionId"]

ContextDocumentId = NewType("ContextDocumentId", UUID)
DocumentVersionId = NewType("DocumentVersionId", UUID)
DocumentRuleId = NewType("DocumentRuleId", UUID)
