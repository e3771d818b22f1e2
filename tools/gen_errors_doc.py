"""``python -m tools.gen_errors_doc``: writes docs/reference/errors.md from the error classes."""

import pkgutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module

import agentvine
from agentvine.cli.failures import exit_code_of_kind
from agentvine.client.errors import ApiError
from agentvine.http.problems import status_of
from agentvine.kit.errors import AppError, title_of
from tools.pages import Page, code, table, text_of

_HEADER = """\
# Errors

Written from the error classes by `python -m tools.gen_errors_doc`, not by hand; a test holds it to
them. Why there are eight categories: [0007](../adr/0007-error-categories.md).

The API answers an error with an RFC 9457 document, `application/problem+json`: `type`
(`urn:agentvine:error:CODE`), `title`, `status`, `detail` (what is wrong here, and what to do),
`instance` (the id under which the server's log has the request), `code`, and the facts that belong
to the error. **The code is stable; the texts are for people.** A `Retry-After` header says when to
try again. The command line prints one line, `TITLE: DETAIL`, or with `--json` the same document
with `exit_code` added, on standard error.

*Again* says whether the same request may succeed later without anybody changing something. *From*
is where the error comes from: a part of the server, or the command line (`cli`), the client or the
worker, where no HTTP is involved. A wrong command line is no such error: it exits with 2.
"""
CATEGORIES = [kind for kind in AppError.__subclasses__() if kind.__module__ == AppError.__module__]
_OUTSIDE = ("cli", "client", "runtimes", "worker")
_NOT_IMPORTED = ("agentvine.__main__", "agentvine.db.migrations.env")


def render() -> str:
    """The whole page."""
    errors = all_errors()
    parts = [_HEADER]
    for category in CATEGORIES:
        parts += _section(category, errors)
    return "\n".join(parts)


def all_errors() -> list[type[AppError]]:
    """Every error class of the application, imported from all its modules; categories first."""
    for module in pkgutil.walk_packages(agentvine.__path__, "agentvine."):
        if module.name not in _NOT_IMPORTED and ".versions" not in module.name:
            import_module(module.name)
    found = list(AppError.__subclasses__())
    for error in found:
        found += [below for below in error.__subclasses__() if below not in found]
    # The client makes classes for the errors that come over the wire; they are the server's.
    return [
        error
        for error in found
        if error.__module__.startswith("agentvine.") and not issubclass(error, ApiError)
    ]


def _section(category: type[AppError], errors: list[type[AppError]]) -> Iterator[str]:
    yield f"## {category.__name__}\n"
    yield f"{text_of(category.__doc__)}\n"
    yield f"HTTP {status_of(category)}, exit code {exit_code_of_kind(category)}.\n"
    by_code: dict[str, list[type[AppError]]] = defaultdict(list)
    for error in errors:
        if issubclass(error, category):
            by_code[error.code].append(error)
    rows = (_cells(name, by_code[name]) for name in sorted(by_code))
    yield from table(("Code", "Meaning", "HTTP", "Exit", "Again", "From"), rows)


def _cells(name: str, kinds: list[type[AppError]]) -> tuple[str, ...]:
    # One code may be raised at two places, by classes that say the same.
    first, origins = kinds[0], sorted({_origin(kind) for kind in kinds})
    is_served = any(origin not in _OUTSIDE for origin in origins)
    return (
        code(name),
        text_of(title_of(first)),
        str(status_of(first)) if is_served else "",
        str(exit_code_of_kind(first)),
        "" if first.permanent else "yes",
        ", ".join(origins),
    )


def _origin(error: type[AppError]) -> str:
    """The part of the application that raises it; a slice is a part."""
    _, top, *rest = error.__module__.split(".")
    return rest[0] if top == "domains" else top


PAGE = Page("errors.md", "tools.gen_errors_doc", render)

if __name__ == "__main__":
    sys.exit(PAGE.main())
