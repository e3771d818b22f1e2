"""``python -m tools.gen_settings_doc``: writes docs/reference/settings.md from the settings."""

import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from agentvine.config.settings import FILE_VARIANTS, PLAIN_PROVIDER_VARIABLES, Settings
from tools.pages import Page, code, meanings_of, table

_PREFIX = "AGENTVINE_"
_LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
_HEADER = """\
# Settings

Written from `src/agentvine/config/settings.py` by `python -m tools.gen_settings_doc`, not by hand;
a test holds it to that file.

Everything is an environment variable; there is no configuration file. All problems are told at
once, at start-up, with exit code 2. An option of a command (`--server`, `--port`) is stronger than
a variable. Durations are seconds, sizes bytes.

| Also read | For |
| --- | --- |
| `DATABASE_URL` | the database, when `AGENTVINE_DATABASE_URL` is not set |
"""


def render() -> str:
    """The whole page."""
    parts = [_HEADER.rstrip("\n"), *_file_variants(), "## Servers, workers, commands\n"]
    parts += table(("Variable", "Type", "Default", "Meaning"), _rows(Settings, _PREFIX))
    for name, field in Settings.model_fields.items():
        if (group := _group(field)) is not None:
            parts.append(f"## The {name}\n")
            prefix = f"{_PREFIX}{name.upper()}__"
            parts += table(("Variable", "Type", "Default", "Meaning"), _rows(group, prefix))
    return "\n".join(parts)


def _file_variants() -> Iterator[str]:
    for name in FILE_VARIANTS:
        yield (
            f"| `{_PREFIX}{name}_FILE` | a file that holds `{_PREFIX}{name}`, "
            "for containers; it is the stronger of the two |"
        )
    for field, variable in PLAIN_PROVIDER_VARIABLES.items():
        ours = f"{_PREFIX}PROVIDERS__{field.upper()}"
        yield f"| `{variable}` | the server's key or address, when `{ours}` is not set |"
    yield ""


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, ...]]:
    meanings = meanings_of(model)
    for name, field in model.model_fields.items():
        if _group(field) is None:
            default = code(_default(field.default))
            yield code(f"{prefix}{name.upper()}"), _type(field), default, meanings.get(name, "")


def _group(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _type(field: FieldInfo) -> str:
    # One that may be left out is of the kind that it has when it is given.
    parts = [part for part in get_args(field.annotation) if part is not type(None)]
    kind = parts[0] if type(None) in get_args(field.annotation) else field.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(code(str(member.value)) for member in kind)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(code(str(word)) for word in get_args(kind))
    words = {
        SecretStr: "secret",
        Path: "path",
        str: "text",
        bool: "`true` or `false`",
        int: "whole number",
        float: "number",
    }
    told = words.get(kind, "list of paths") if isinstance(kind, type) else "list of paths"
    limits = [_limit(rule) for rule in field.metadata]
    return ", ".join([told, *limits]) if told != "text" or not limits else ", ".join(limits)


def _limit(rule: Any) -> str:
    for name, sign in _LIMITS.items():
        if (bound := getattr(rule, name, None)) is not None:
            return f"{sign} {bound:g}"
    words = re.findall(r"\w+", rule.pattern)
    return "one of " + ", ".join(code(word) for word in words)


def _default(value: Any) -> str:
    match value:
        case SecretStr() | () | "" | None:
            return ""
        case Path() if value == Path():
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case Enum():
            return str(value.value)
        case _:
            return str(value)


PAGE = Page("settings.md", "tools.gen_settings_doc", render)

if __name__ == "__main__":
    sys.exit(PAGE.main())
