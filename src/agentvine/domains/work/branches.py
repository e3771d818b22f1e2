"""The name of a task's branch: readable, valid for git, and the same for every attempt."""

import re
import unicodedata

PREFIX = "agentvine/"
_MAX_SLUG = 50


def branch_name_for(number: int, title: str) -> str:
    """Like ``agentvine/t-12-sort-the-imports``."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_MAX_SLUG].rstrip("-")
    return f"{PREFIX}t-{number}-{slug}" if slug else f"{PREFIX}t-{number}"
