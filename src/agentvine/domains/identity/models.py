"""Tables of the identity slice."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Computed, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    NEVER_REUSE_IDS,
    choice,
    counted_key,
    document,
    flag,
    foreign_key,
    stamp,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.db.registry import append_only_trigger
from agentvine.db.types import Json, Uuid
from agentvine.domains.identity.enums import (
    ApiTokenId,
    AuditEventId,
    EventId,
    LoginSessionId,
    RecoveryCodeId,
    TokenKind,
    UserId,
    UserRole,
)


class User(Base):
    """A person or a service account."""

    __tablename__ = "users"
    __table_args__ = (
        Index("idx_users_email", "email"),
        Index("idx_users_username", "username"),
        Index("idx_users_role", "role"),
    )

    id: Mapped[UserId] = uuid_key()
    username: Mapped[str] = mapped_column(String(50), unique=True)
    email: Mapped[str] = mapped_column(String(255), unique=True)
    password_hash: Mapped[str] = varchar(255)
    full_name: Mapped[str | None] = varchar(255)
    role: Mapped[UserRole] = choice(UserRole, 20, default=UserRole.DEVELOPER)
    is_2fa_enabled: Mapped[bool] = flag(default=False)
    totp_secret: Mapped[str | None] = varchar(255)
    """Encrypted."""
    is_active: Mapped[bool] = flag(default=True)
    is_admin: Mapped[bool] = mapped_column(
        Boolean(), Computed("role = 'admin'", persisted=True), nullable=True
    )
    """Follows ``role`` by itself; it is never written."""
    is_verified: Mapped[bool] = flag(default=False)
    telegram_chat_id: Mapped[int | None] = mapped_column(BigInteger())
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()
    last_login_at: Mapped[datetime | None] = stamp()
    settings: Mapped[dict[str, Any]] = document(dict, nullable=True)


class ApiToken(Base):
    """A secret that stands for a person, a worker or one run; only its hash is kept."""

    __tablename__ = "api_tokens"
    __table_args__ = (
        Index("idx_api_tokens_user", "user_id"),
        Index("idx_api_tokens_worker", "worker_id"),
        Index("idx_api_tokens_work_order", "work_order_id"),
    )

    id: Mapped[ApiTokenId] = uuid_key()
    user_id: Mapped[UserId | None] = foreign_key("users.id", on_delete="CASCADE")
    worker_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    work_order_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    fence: Mapped[int | None] = mapped_column(BigInteger())
    """A gateway token dies with the claim it was made for."""
    kind: Mapped[TokenKind] = choice(TokenKind, 20)
    name: Mapped[str | None] = varchar(100)
    prefix: Mapped[str] = mapped_column(String(32), unique=True)
    """The readable part, by which the row is found."""
    token_hash: Mapped[str] = varchar(64)
    scopes: Mapped[list[str]] = document(list, "[]")
    is_sign_in: Mapped[bool] = flag(default=False, nullable=False)
    """Made for a password: it stands for the person, and ends when the password changes."""
    expires_at: Mapped[datetime | None] = stamp()
    last_used_at: Mapped[datetime | None] = stamp()
    revoked_at: Mapped[datetime | None] = stamp()
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class LoginSession(Base):
    """A browser that is logged in."""

    __tablename__ = "login_sessions"
    __table_args__ = (
        Index("idx_login_sessions_user", "user_id"),
        Index("idx_login_sessions_expires", "expires_at"),
    )

    id: Mapped[LoginSessionId] = uuid_key()
    user_id: Mapped[UserId] = foreign_key("users.id", on_delete="CASCADE")
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_agent: Mapped[str | None] = varchar(255)
    ip_address: Mapped[str | None] = varchar(45)
    created_at: Mapped[datetime] = stamp_now(nullable=False)
    last_seen_at: Mapped[datetime | None] = stamp()
    expires_at: Mapped[datetime] = stamp()
    revoked_at: Mapped[datetime | None] = stamp()


class RecoveryCode(Base):
    """A code that stands in for the second factor, once."""

    __tablename__ = "recovery_codes"
    __table_args__ = (Index("idx_recovery_codes_user", "user_id"),)

    id: Mapped[RecoveryCodeId] = uuid_key()
    user_id: Mapped[UserId] = foreign_key("users.id", on_delete="CASCADE")
    code_hash: Mapped[str] = varchar(255)
    used_at: Mapped[datetime | None] = stamp()
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class AuditEvent(Base):
    """Who did what to which row. Append-only: triggers refuse to change or delete one."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("idx_audit_events_occurred", "occurred_at"),
        Index("idx_audit_events_actor", "actor_id"),
        Index("idx_audit_events_entity", "entity_type", "entity_id"),
        Index("idx_audit_events_project", "project_id", "id"),
        NEVER_REUSE_IDS,
    )

    id: Mapped[AuditEventId] = counted_key()
    occurred_at: Mapped[datetime] = stamp_now(nullable=False)
    actor_type: Mapped[str] = varchar(20)
    actor_id: Mapped[str] = varchar(100)
    actor_label: Mapped[str | None] = varchar(200)
    action: Mapped[str] = varchar(100)
    entity_type: Mapped[str] = varchar(50)
    entity_id: Mapped[str] = varchar(100)
    project_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    before: Mapped[dict[str, Any] | None] = mapped_column(Json())
    after: Mapped[dict[str, Any] | None] = mapped_column(Json())
    request_id: Mapped[str | None] = varchar(64)


class Event(Base):
    """What happened, in order; a live page resumes after the last id it saw."""

    __tablename__ = "events"
    __table_args__ = (
        Index("idx_events_project", "project_id", "id"),
        Index("idx_events_occurred", "occurred_at"),
        NEVER_REUSE_IDS,
    )

    id: Mapped[EventId] = counted_key()
    occurred_at: Mapped[datetime] = stamp_now(nullable=False)
    type: Mapped[str] = varchar(100)
    project_id: Mapped[uuid.UUID | None] = mapped_column(Uuid())
    entity_type: Mapped[str | None] = varchar(50)
    entity_id: Mapped[str | None] = varchar(100)
    payload: Mapped[dict[str, Any]] = document(dict)


class IdempotencyKey(Base):
    """The answer to a request that may be sent again."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("idx_idempotency_keys_created", "created_at"),)

    actor_id: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    method_path: Mapped[str] = varchar(300)
    request_hash: Mapped[str] = varchar(64)
    status_code: Mapped[int | None] = mapped_column(Integer())
    response: Mapped[Any | None] = mapped_column(Json())
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class ServerState(Base):
    """What the server knows about itself, such as the schema's compatibility number."""

    __tablename__ = "server_state"

    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    value: Mapped[Any] = mapped_column(Json(), nullable=False)
    updated_at: Mapped[datetime] = stamp_now(nullable=False)


append_only_trigger("audit_events")
