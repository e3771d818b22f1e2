"""Documents of somebody else's: JSON that may hold anything."""

from collections.abc import Mapping
from typing import Any, cast


def as_mapping(found: object) -> Mapping[str, Any]:
    """An object of a document, by its names; an empty one where something else was written."""
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}
