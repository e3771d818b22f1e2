"""Tables of the gateway slice."""

import uuid
from datetime import datetime

from sqlalchemy import Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    choice,
    document,
    flag,
    foreign_key,
    integer,
    partial_index,
    stamp,
    stamp_now,
    string_list,
    uuid_key,
    varchar,
)
from agentvine.db.types import Uuid
from agentvine.domains.gateway.enums import (
    CallBodiesId,
    ModelProviderId,
    ProviderCredentialId,
    ProviderKind,
)
from agentvine.domains.projects.enums import ProjectId


class ModelProvider(Base):
    """Somebody who answers calls to models; without a project it serves all of them."""

    __tablename__ = "model_providers"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        partial_index(
            "uq_model_providers_without_project", "name", where="project_id IS NULL", unique=True
        ),
    )

    id: Mapped[ModelProviderId] = uuid_key()
    project_id: Mapped[ProjectId | None] = foreign_key("projects.id", on_delete="CASCADE")
    name: Mapped[str] = varchar(50)
    kind: Mapped[ProviderKind] = choice(ProviderKind, 20)
    base_url: Mapped[str] = varchar(500)
    models: Mapped[list[str]] = string_list(nullable=False)
    """The models that it serves, by name or pattern; none named: any."""
    is_free: Mapped[bool] = flag(default=False, nullable=False)
    """Its calls cost nothing: it is one's own machine."""
    is_active: Mapped[bool] = flag(default=True, nullable=False)
    allows_private: Mapped[bool] = flag(default=False, nullable=False)
    """Whether its address may be in a private network: somebody said so who may."""
    is_from_environment: Mapped[bool] = flag(default=False, nullable=False)
    """Its key is a variable of the server's environment, and stored nowhere."""
    tested_at: Mapped[datetime | None] = stamp()
    test_problem: Mapped[str | None] = varchar(500)
    """What was wrong when it was last tried; None: nothing."""
    seen_models: Mapped[list[str]] = string_list(nullable=False)
    """The models that it named when it was last tried."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)
    updated_at: Mapped[datetime] = stamp_now(nullable=False)


class ProviderCredential(Base):
    """A key for a provider. It can be used and replaced, and never be read again."""

    __tablename__ = "provider_credentials"
    __table_args__ = (UniqueConstraint("provider_id", "fingerprint"),)

    id: Mapped[ProviderCredentialId] = uuid_key()
    provider_id: Mapped[ModelProviderId] = foreign_key("model_providers.id", on_delete="CASCADE")
    name: Mapped[str] = varchar(100)
    sealed_key: Mapped[str | None] = mapped_column(Text())
    """Sealed for this row; None: the server's environment has it."""
    last_four: Mapped[str] = varchar(4, default="")
    """How the key ends, where it is long enough that this tells nothing."""
    fingerprint: Mapped[str] = mapped_column(String(32))
    """The same for the same key, and only within this installation."""
    is_active: Mapped[bool] = flag(default=True, nullable=False)
    limited_until: Mapped[datetime | None] = stamp()
    """The provider takes no calls with it before."""
    limit_reason: Mapped[str | None] = varchar(500)
    created_at: Mapped[datetime] = stamp_now(nullable=False)
    updated_at: Mapped[datetime] = stamp_now(nullable=False)


class ModelRules(Base):
    """Which models may be used, and by which names; without a project they hold for all."""

    __tablename__ = "model_rules"
    __table_args__ = (UniqueConstraint("project_id"),)

    scope_id: Mapped[uuid.UUID] = mapped_column(Uuid(), primary_key=True)
    """The project again; all zeros for what holds everywhere, so that there is one of it, too."""
    project_id: Mapped[ProjectId | None] = foreign_key("projects.id", on_delete="CASCADE")
    allowed: Mapped[list[str]] = string_list(nullable=False)
    """Names or patterns; none: any."""
    aliases: Mapped[dict[str, str]] = document(dict)
    """Names of one's own for models."""
    default_model: Mapped[str | None] = varchar(100)
    """What is asked where nobody names a model."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)
    updated_at: Mapped[datetime] = stamp_now(nullable=False)


class CallBodies(Base):
    """What was asked and answered in one call, without secrets; kept only where somebody wants it.

    Bytes are those of the text, compressed by zlib.
    """

    __tablename__ = "call_bodies"
    __table_args__ = (
        Index("idx_call_bodies_created", "created_at"),
        Index("idx_call_bodies_project", "project_id"),
    )

    id: Mapped[CallBodiesId] = uuid_key()
    request_id: Mapped[str] = mapped_column(String(100), unique=True)
    """As in the ledger, which knows whose call it was."""
    project_id: Mapped[ProjectId | None] = foreign_key("projects.id", on_delete="CASCADE")
    request: Mapped[bytes] = mapped_column(LargeBinary())
    response: Mapped[bytes] = mapped_column(LargeBinary())
    request_bytes: Mapped[int] = integer(0, nullable=False)
    """How long it was; what is kept may be its beginning only."""
    response_bytes: Mapped[int] = integer(0, nullable=False)
    created_at: Mapped[datetime] = stamp_now(nullable=False)
