"""Templates: what is put in is always escaped, and a name that is missing is an error."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from agentvine.web.formats import diff_lines

STATIC = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Files that pages ask for, and what they are."""


def html(template: str, *, status: int = 200, **shown: Any) -> Response:
    """A page of this template."""
    text = (
        _templates().get_template(template).render(shown, static=_address_of, diff_lines=diff_lines)
    )
    return HTMLResponse(text, status_code=status)


@cache
def static_file(name: str) -> bytes:
    """The bytes of a file that pages ask for."""
    return (files("agentvine.web") / "static" / name).read_bytes()


@cache
def _address_of(name: str) -> str:
    # Named by what is in it, so that browsers may keep it and still see the next one.
    return f"/static/{name}?v={hashlib.sha256(static_file(name)).hexdigest()[:12]}"


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("agentvine.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
