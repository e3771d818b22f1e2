"""Ids and enumerations of the templates slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.template_enums import TemplateCategory, TemplateComplexity

__all__ = ["TemplateCategory", "TemplateComplexity", "TemplateId"]

TemplateId = NewType("TemplateId", UUID)
