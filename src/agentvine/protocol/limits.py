"""Limits and pauses on the wire: how much may run at a time, and what may not begin."""

from datetime import datetime

from pydantic import Field

from agentvine.protocol.base import Input, Output
from agentvine.protocol.enums import LimitScope

MAX_CAPACITY = 1_000_000


class LimitTarget(Input):
    """What a limit or a pause is about: a scope, and the id or the name within it."""

    scope: LimitScope
    key: str = Field(default="", max_length=100)
    """A queue's name, a worker type, or an id; empty for the whole fleet."""


class LimitIn(LimitTarget):
    """At most so many orders of this kind run at a time."""

    capacity: int = Field(ge=0, le=MAX_CAPACITY)


class PauseIn(LimitTarget):
    """Nothing of this kind begins until it is resumed; what runs goes on."""

    reason: str = Field(default="", max_length=2000)


class ResumeIn(LimitTarget):
    """It may begin again."""

    reason: str = Field(default="", max_length=2000)


class ReasonIn(Input):
    """Why, for those who read the history."""

    reason: str = Field(default="", max_length=2000)


class LimitOut(Output):
    """A limit or a pause, with how much of it is used."""

    scope: LimitScope
    key: str
    capacity: int | None
    running: int
    waiting: int
    """Orders that wait in its line."""
    paused_at: datetime | None
    paused_by: str | None
    pause_reason: str | None
    stops_runs: bool


class StoppedOut(Output):
    """What an emergency stop met."""

    limit: LimitOut
    stopping: int
    """Runs that were told to stop."""
