"""What a request asks of a model, as far as its price goes."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from agentvine.kit.errors import Forbidden, Invalid

Json = dict[str, Any]

_TEMPLATE_TOKENS = 2048
"""What providers put around a request of their own, which its bytes do not show."""
_TOKENS_PER_TOOL = 256
"""Put around each; what it is called and takes is in the request's bytes already."""
_TOKENS_PER_IMAGE = 50_000
"""More than any provider counts for one."""
_WHOLE_WINDOW = 1_050_000
"""The longest context that anybody sells: for what is named in a request, but not in it."""


class RequestUnreadable(Invalid):
    """The request to the model cannot be read."""

    code = "model_request_invalid"


class FeatureUnpriced(Forbidden):
    """Nobody can say before what this would cost."""

    code = "feature_unpriced"


@dataclass(slots=True)
class Asked:
    """A request as it came, and as it is to be sent."""

    body: Json
    raw: bytes
    model: str
    is_streamed: bool
    max_output: int | None
    """The most tokens of one answer; None where the request leaves that to the provider."""
    answers: int = 1
    tools: int = 0
    images: int = 0
    is_open: bool = False
    """It names content that is not in it: a file, an earlier answer, an address."""
    removed: tuple[str, ...] = ()
    """The provider's own tools that were taken out, since nobody knows what they cost."""
    is_edited: bool = False
    hides_usage: bool = False
    """The caller did not ask for the part of the stream that tells the usage."""
    counted: int | None = None
    """What the provider itself counts of what goes in; None where it was not asked."""

    @property
    def input_bound(self) -> int:
        """No provider counts more tokens than this for what goes in: one has a byte at least."""
        bound = (
            len(self.raw)
            + _TEMPLATE_TOKENS
            + _TOKENS_PER_TOOL * self.tools
            + _TOKENS_PER_IMAGE * self.images
        )
        if self.is_open:
            return max(bound, _WHOLE_WINDOW)
        # Providers call their counts estimates: some is added, though none was seen to be too low.
        exact = bound if self.counted is None else self.counted + self.counted // 16 + 256
        return min(bound, exact)

    def payload(self) -> bytes:
        """What is sent: the very bytes that came, where nothing had to be changed."""
        if not self.is_edited:
            return self.raw
        return json.dumps(self.body, ensure_ascii=False, separators=(",", ":")).encode()

    def put(self, name: str, value: object) -> None:
        """Change one field of the request."""
        if self.body.get(name) != value:
            self.body[name] = value
            self.is_edited = True


def read_body(raw: bytes) -> Json:
    """A request's JSON.

    Raises:
        RequestUnreadable: It is none, or no object.
    """
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RequestUnreadable("Send a JSON object.") from error
    if not isinstance(body, dict):
        raise RequestUnreadable("Send a JSON object.")
    return cast("Json", body)


def count_of(body: Json, name: str, default: int | None = None) -> int | None:
    """A whole number that is above zero.

    Raises:
        RequestUnreadable: It is something else.
    """
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise RequestUnreadable(f"{name} must be a whole number above zero.")
    return value


def text_of(body: Json, name: str) -> str:
    """A text that must be there.

    Raises:
        RequestUnreadable: It is not.
    """
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise RequestUnreadable(f"{name} must be a text.")
    return value


def refuse_fields(body: Json, names: Iterable[str]) -> None:
    """Refuse what makes a request cost what nobody can say.

    Raises:
        FeatureUnpriced: One of these is set.
    """
    for name in names:
        if body.get(name):
            raise FeatureUnpriced(
                f"{name} is not let through: nobody can say before what it would cost. "
                "Leave it out.",
                feature=name,
            )


def list_of(value: object) -> list[Json]:
    """The objects of a list; empty for anything else."""
    if not isinstance(value, list):
        return []
    return [cast("Json", item) for item in cast("list[object]", value) if isinstance(item, dict)]


def names_in(value: object) -> list[str]:
    """The texts of a list; empty for anything else."""
    if not isinstance(value, list):
        return []
    return [item for item in cast("list[object]", value) if isinstance(item, str)]


def walk(value: object, visit: Callable[[Json], None]) -> None:
    """Show every object inside a value, however deep."""
    pending = [value]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            visit(cast("Json", found))
            pending.extend(cast("Json", found).values())
        elif isinstance(found, list):
            pending.extend(cast("list[object]", found))
