"""Who acts: plain values that travel with a transaction, down to the audit row."""

import uuid
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["admin", "developer", "viewer"]


@dataclass(frozen=True, slots=True)
class UserActor:
    """A person or service account, as its token or session allows it to act."""

    user_id: uuid.UUID
    username: str
    role: Role
    scopes: frozenset[str] = field(default_factory=frozenset[str])
    token_id: uuid.UUID | None = None
    only_project: uuid.UUID | None = None
    """Set for what acts in their name and may touch one project alone, such as a run."""
    through: str = ""
    """What acts in their name."""

    @property
    def label(self) -> str:
        """How this actor is written in audit rows and messages."""
        name = f"user:{self.username}"
        return f"{name} through {self.through}" if self.through else name

    @property
    def actor_id(self) -> str:
        """A stable id, unique over all kinds of actor."""
        return f"user:{self.user_id}"

    @property
    def is_admin(self) -> bool:
        """Whether every project is theirs to see and change."""
        return self.role == "admin" and self.only_project is None

    @property
    def may_write(self) -> bool:
        """Whether the role allows changes at all; membership decides about each project."""
        return self.role != "viewer"


@dataclass(frozen=True, slots=True)
class WorkerActor:
    """A worker daemon, known by its token."""

    token_id: uuid.UUID
    token_name: str
    worker_id: uuid.UUID | None = None
    scopes: frozenset[str] = field(default_factory=frozenset[str])

    @property
    def label(self) -> str:
        """How this actor is written in audit rows and messages."""
        return f"worker:{self.token_name}"

    @property
    def actor_id(self) -> str:
        """A stable id, unique over all kinds of actor."""
        return f"worker:{self.token_id}"


@dataclass(frozen=True, slots=True)
class SystemActor:
    """The server itself: a chore, a reaction, a start-up step."""

    name: str = "system"

    @property
    def label(self) -> str:
        """How this actor is written in audit rows and messages."""
        return f"system:{self.name}"

    @property
    def actor_id(self) -> str:
        """A stable id, unique over all kinds of actor."""
        return self.label


Actor = UserActor | WorkerActor | SystemActor

SYSTEM = SystemActor()
