"""What all wire models share: strict on the way in, tolerant on the way out."""

import math
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, ClassVar, Generic, Literal, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from agentvine.kit.errors import Forbidden

PROTOCOL_VERSION = "1.5"
"""Version of this contract. The minor part grows with additions an old peer may ignore."""

PROTOCOL_HEADER = "AgentVine-Protocol"


class ProtocolUnsupported(Forbidden):
    """The other side speaks another major version of the protocol."""

    code = "protocol_unsupported"


T = TypeVar("T")


Usd = Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=2)]
"""An amount in dollars and cents."""

MAX_INTEGER = 2**63 - 1
"""No database of ours stores a greater one."""

Fence = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
"""The number of a claim; what none of ours could have is refused."""

_ALWAYS_STORABLE = (uuid.UUID, bool, BaseModel, datetime)
"""Whatever their value; a hot path, for every field of every message is looked at."""


def parse_version(text: str) -> tuple[int, int] | None:
    """The major and the minor part of a peer's version; None for what is none."""
    match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", text, re.ASCII)
    return (int(match[1]), int(match[2])) if match else None


def check_version(theirs: str, *, peer: Literal["server", "client"]) -> tuple[int, int] | None:
    """A peer's version; None when it tells none, which is no reason to refuse it.

    Raises:
        ProtocolUnsupported: Its major version is not ours, so that its words may mean other things.
    """
    version, ours = parse_version(theirs), parse_version(PROTOCOL_VERSION)
    if version is not None and ours is not None and version[0] != ours[0]:
        is_server = peer == "server"
        server, client = (theirs, PROTOCOL_VERSION) if is_server else (PROTOCOL_VERSION, theirs)
        behind = "client" if is_server is (version[0] > ours[0]) else "server"
        raise ProtocolUnsupported(
            f"The server speaks protocol {server} and the client {client}, which do not go "
            f"together: upgrade AgentVine where the {behind} runs, or use one release for both.",
            server=server,
            client=client,
        )
    return version


class Input(BaseModel):
    """What a client sends; an unknown field is an error, so that a typing mistake is told.

    So is what one of the databases could not store: a NUL, half a surrogate pair, NaN.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    @field_validator("*", mode="after")
    @classmethod
    def _can_be_stored(cls, value: object) -> object:
        return _mapped(value, cls._storable)

    @classmethod
    def _storable(cls, leaf: object) -> object:
        mended = _mended(leaf)
        if mended is not leaf and mended != leaf:
            raise ValueError("holds what cannot be stored: NUL, half a character, or such a number")
        return leaf


class Bare(BaseModel):
    """Input of ids, choices and numbers within bounds, which any database can store as they are.

    For messages that come all day: looking at each field again takes most of the time of reading.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class Verbatim(Input):
    """Input whose text is somebody's output: kept to the letter, blanks at its ends too.

    A letter that cannot be stored is replaced: a report must not be refused for what a program
    printed.
    """

    model_config = ConfigDict(str_strip_whitespace=False)

    @model_validator(mode="before")
    @classmethod
    def _is_text(cls, data: object) -> object:
        # Half a character is refused as no text at all, before any field is looked at.
        return _mapped(data, _mended_if_text)

    @classmethod
    def _storable(cls, leaf: object) -> object:
        return _mended(leaf)


class Edit(Input):
    """A change: what is left out stays as it is, and null empties what may be empty."""

    may_be_emptied: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="after")
    def _null_means_something(self) -> Self:
        nulls = {name for name in self.model_fields_set if getattr(self, name) is None}
        if wrong := sorted(nulls - self.may_be_emptied):
            raise ValueError(f"{', '.join(wrong)} cannot be null; leave it out to keep it")
        return self


class Output(BaseModel):
    """What the server answers; a client ignores fields it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True, from_attributes=True)


class PageOut(BaseModel, Generic[T]):
    """One page of a list."""

    model_config = ConfigDict(frozen=True)

    items: list[T]
    next_cursor: str | None = None


class Problem(BaseModel):
    """An RFC 9457 problem; extra members carry the facts of the error."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    code: str


def _mapped(value: object, change: Callable[[object], object]) -> object:
    """A JSON-like value with each of its leaves, and the keys of its objects, changed."""
    # A model within has looked at itself. Leaves come first: they are most, and quickly told.
    if value is None or isinstance(value, _ALWAYS_STORABLE):
        return value
    if isinstance(value, (str, int, float)):
        return change(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {change(key): _mapped(item, change) for key, item in items}
    if isinstance(value, list):
        return [_mapped(item, change) for item in cast("list[object]", value)]
    return change(value)


def _mended(leaf: object) -> object:
    """The nearest value that both databases can store."""
    if type(leaf) is str:
        return _mended_text(leaf)
    if isinstance(leaf, float) and not math.isfinite(leaf):
        return None
    if isinstance(leaf, int) and abs(leaf) > MAX_INTEGER:
        return None
    return leaf


def _mended_if_text(leaf: object) -> object:
    return _mended_text(leaf) if type(leaf) is str else leaf


def _mended_text(text: str) -> str:
    if text.isascii() and "\0" not in text:
        return text
    text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
