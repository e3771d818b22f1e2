"""Files that came with words, as a model reads or sees them."""

import re

from agentvine.kit.errors import Invalid
from agentvine.mcp.documents import text_part
from agentvine.mcp.table import Picture

_PICTURES = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
)
"""What models look at, by the first bytes: a name, or whoever sent it, may say anything."""
_MAX_PICTURE_BYTES = 3_500_000
"""What models' providers take at most, as base64 of it is a third more."""


class NotText(Invalid):
    """The file is neither a text nor a picture to be looked at."""

    code = "attachment_not_text"


def file_shown(name: str, content: bytes, start: int) -> str | Picture:
    """A picture, or a part of a text.

    Raises:
        NotText: It is neither.
    """
    kind = next((kind for kind, begins in _PICTURES if begins.match(content)), None)
    if kind is not None and len(content) <= _MAX_PICTURE_BYTES:
        return Picture(f"{name}, {kind}, {len(content)} bytes:", kind, content)
    try:
        return text_part(content.decode(), start)
    except UnicodeDecodeError:
        what = "a picture that is too large" if kind else "no UTF-8, and no picture"
        raise NotText(f"{name}, {len(content)} bytes, is {what}.") from None
