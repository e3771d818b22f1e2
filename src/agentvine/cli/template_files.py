"""Templates as YAML files, and templates made of a repository's files."""

import base64
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from agentvine.cli import asking
from agentvine.git.contents import CommittedFile
from agentvine.kit.errors import Invalid
from agentvine.protocol.templates import TemplateDocument, TemplateOut

_TAG = re.compile(r"\{[{%#]")


class TemplateFileInvalid(Invalid):
    """This file is no template."""

    code = "template_file_invalid"


def read_template_file(path: Path) -> TemplateDocument:
    """Read what ``template export`` has written; ``-`` is standard input.

    Raises:
        TemplateFileInvalid: It cannot be read, or says what no template says.
    """
    try:
        text = asking.read_input() if str(path) == "-" else path.read_text("utf-8")
        document: object = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise TemplateFileInvalid(f"{path}: {' '.join(str(error).split())}.") from None
    if not isinstance(document, dict) or "format" not in document:
        raise TemplateFileInvalid(f"{path}: write `format: 1`, and what `template export` writes.")
    try:
        return TemplateDocument.model_validate(document)
    except ValidationError as error:
        told = [_told(cast("dict[str, Any]", each)) for each in error.errors()[:5]]
        raise TemplateFileInvalid(f"{path}: {'; '.join(told)}.") from None


def write_template(template: TemplateOut) -> str:
    """A template as YAML, which ``read_template_file`` reads."""
    document = TemplateDocument.model_validate(
        {
            "format": 1,
            **template.model_dump(include=set(TemplateDocument.model_fields) - {"format"}),
            "description": template.description or "",
        }
    )
    given: dict[str, Any] = document.model_dump(mode="json", exclude_defaults=True)
    content: dict[str, Any] = {"format": 1, **given}
    content["files"] = {path: _short(file) for path, file in content.pop("files").items()}
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


@dataclass(frozen=True, slots=True)
class Taken:
    """What a repository's files became."""

    files: dict[str, dict[str, Any]]
    found: Counter[str] = field(default_factory=Counter[str])
    """How often each text was replaced, in files and paths."""


def files_of(committed: Sequence[CommittedFile], variables: Mapping[str, str]) -> Taken:
    """A repository's files as those of a template, with texts replaced by variables.

    A text is replaced where it stands alone: no letter and no digit touches it. Whatever else
    looks like a placeholder stays what it is.

    Args:
        committed: The files.
        variables: Texts, and the names of the variables that come in their place.
    """
    taken = Taken({})
    replacing = _Replacing(variables, taken.found)
    for file in committed:
        path = replacing.of(file.path)
        given: dict[str, Any] = {"executable": True} if file.is_executable else {}
        text = _text(file.content)
        if text is None:
            given |= {"content": base64.b64encode(file.content).decode(), "encoding": "base64"}
        elif replacing.touches(text):
            given["content"] = replacing.of(text)
        else:
            # Rendering writes all line ends alike, and would read what looks like a tag.
            given |= {"content": text} | (
                {"verbatim": True} if _TAG.search(text) or "\r" in text else {}
            )
        taken.files[path] = given
    return taken


class _Replacing:
    """Texts and what comes in their place."""

    def __init__(self, variables: Mapping[str, str], found: Counter[str]) -> None:
        self._variables = variables
        self._found = found
        # The longest first: it may begin with another.
        texts = "|".join(map(re.escape, sorted(variables, key=len, reverse=True)))
        self._text = re.compile(rf"(?<![A-Za-z0-9])(?:{texts})(?![A-Za-z0-9])" if texts else "(?!)")
        # A brace before a placeholder would make another tag of it.
        self._part = re.compile(rf"{_TAG.pattern}|\{{(?={self._text.pattern})|{self._text.pattern}")

    def touches(self, text: str) -> bool:
        return self._text.search(text) is not None

    def of(self, text: str) -> str:
        return self._part.sub(self._new, text)

    def _new(self, part: re.Match[str]) -> str:
        if (name := self._variables.get(part[0])) is not None:
            self._found[part[0]] += 1
            return f"{{{{ {name} }}}}"
        return f"{{{{ '{part[0]}' }}}}"


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


def _represent(dumper: Any, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent)


def _short(file: dict[str, Any]) -> str | dict[str, Any]:
    return str(file["content"]) if set(file) == {"content"} else file


def _text(content: bytes) -> str | None:
    try:
        return None if b"\0" in content else content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _told(problem: dict[str, Any]) -> str:
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {problem['msg'].removeprefix('Value error, ')}"
