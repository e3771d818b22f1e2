"""Ids and enumerations of the gateway slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import ModelWire, ProviderKind

__all__ = [
    "CallBodiesId",
    "ModelProviderId",
    "ModelWire",
    "ProviderCredentialId",
    "ProviderKind",
]

ModelProviderId = NewType("ModelProviderId", UUID)
CallBodiesId = NewType("CallBodiesId", UUID)
ProviderCredentialId = NewType("ProviderCredentialId", UUID)
