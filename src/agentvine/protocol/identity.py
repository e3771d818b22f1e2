"""Users, sign-in and tokens on the wire."""

import uuid
from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from agentvine.protocol.base import Edit, Input, Output
from agentvine.protocol.enums import UserRole


def _user_means_developer(value: object) -> object:
    return "developer" if value == "user" else value


RoleInput = Annotated[UserRole, BeforeValidator(_user_means_developer)]
"""A role; ``user`` is accepted as ``developer``."""


Email = Annotated[
    str,
    Field(min_length=3, max_length=255, pattern=r"^[^@\s]+@[^@\s]+$"),
    AfterValidator(str.lower),
]
"""An address in small letters: mail systems do not tell its cases apart, so we do not."""

Username = Annotated[
    str,
    Field(min_length=1, max_length=50, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"),
    AfterValidator(str.lower),
]
"""Kept in small letters: whoever signs in may type either, and two cannot differ by case alone."""

_MAX_PASSWORD = 500


class LoginIn(Input):
    """A password, accepted at the sign-in address only."""

    username: str = Field(min_length=1, max_length=255)
    password: SecretStr = Field(max_length=_MAX_PASSWORD)


class TokenCreateIn(Input):
    """A new API token for oneself, or (``kind`` worker) for a worker."""

    name: str = Field(min_length=1, max_length=100)
    kind: str = Field(default="user", pattern="^(user|worker)$")
    scopes: list[str] = Field(default_factory=list[str], max_length=50)
    expires_in_days: int | None = Field(default=None, ge=1, le=3650)

    @model_validator(mode="after")
    def _workers_have_no_scopes(self) -> Self:
        if self.kind == "worker" and self.scopes:
            raise ValueError("a worker's token may only do work; leave its scopes out")
        return self


class TokenOut(Output):
    """A token as it may be shown: never its secret."""

    id: uuid.UUID
    kind: str
    name: str
    prefix: str
    scopes: list[str]
    user_id: uuid.UUID | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


class TokenCreatedOut(Output):
    """A new token; the only time its secret is shown."""

    token: str
    info: TokenOut


class UserCreateIn(Input):
    """A new user; without a password one is made and shown once."""

    username: Username
    email: Email
    full_name: str | None = Field(default=None, max_length=255)
    role: RoleInput = UserRole.DEVELOPER
    password: SecretStr | None = Field(default=None, min_length=10, max_length=_MAX_PASSWORD)


class UserEditIn(Edit):
    """Fields left out stay as they are."""

    may_be_emptied = frozenset({"full_name"})

    full_name: str | None = Field(default=None, max_length=255)
    email: Email | None = None
    role: RoleInput | None = None
    is_active: bool | None = None


class PasswordChangeIn(Input):
    """One's own password, proved by the old one."""

    current_password: SecretStr = Field(max_length=_MAX_PASSWORD)
    new_password: SecretStr = Field(min_length=10, max_length=_MAX_PASSWORD)


class UserOut(Output):
    """A user as others may see one."""

    id: uuid.UUID
    username: str
    email: str
    full_name: str | None
    role: UserRole
    is_active: bool
    is_admin: bool
    created_at: datetime
    last_login_at: datetime | None


class UserCreatedOut(Output):
    """A new user; the generated password is shown this once."""

    user: UserOut
    password: str | None


class WhoAmIOut(Output):
    """Who the server takes the caller for."""

    kind: str
    label: str
    user: UserOut | None
    scopes: list[str]
