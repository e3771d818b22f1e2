"""Whether one JSON document holds another: PostgreSQL's ``@>``, for SQLite."""

import json
from typing import Any, cast


def json_text_contains(document: str | None, wanted: str) -> bool | None:
    """The same for texts; NULL holds nothing, and does not hold nothing either."""
    if document is None:
        return None
    return json_contains(json.loads(document), json.loads(wanted))


def json_contains(document: Any, wanted: Any) -> bool:
    """Whether all that is wanted is in the document, at the same place."""
    if isinstance(wanted, dict):
        keys = cast("dict[str, Any]", wanted)
        return isinstance(document, dict) and all(
            key in document and json_contains(document[key], value) for key, value in keys.items()
        )
    if isinstance(wanted, list):
        items = cast("list[Any]", wanted)
        return isinstance(document, list) and all(
            any(json_contains(held, item) for held in cast("list[Any]", document)) for item in items
        )
    # True is no 1 here, but 1.0 is.
    is_truth = isinstance(wanted, bool), isinstance(document, bool)
    return is_truth[0] == is_truth[1] and document == wanted
