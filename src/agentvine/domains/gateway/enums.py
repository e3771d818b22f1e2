"""Ids and enumerations of the gateway slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import ModelWire, ProviderKind

__all__ = [
    "ModelProviderId",
    "ModelWire",
    "ProviderCredentialId",
    "ProviderKind",
]

ModelProviderId = NewType("ModelProviderId", UUID)
ProviderCredentialId = NewType("ProviderCredentialId", UUID)
