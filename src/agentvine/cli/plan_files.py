"""Plans as files: YAML, or the Markdown that `plan show` prints.

Markdown: between two lines of three dashes the name and the target branch, then sections: Goal,
Scope, Non-goals, Acceptance criteria and Steps. A step is a heading `## key: Title`, a list of its
facts (`- files: a.py, b.py`), and what there is to say about it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from agentvine.kit.errors import Invalid
from agentvine.protocol.enums import ArtifactType
from agentvine.protocol.plans import ARTIFACT, ArtifactIn

_HEAD = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_SECTION = re.compile(r"# (.+)")
_STEP = re.compile(r"## ([a-z0-9][a-z0-9_-]*): (.+)")
_FACT = re.compile(r"- (type|files|depends on|permission|done when|run): (.*)")
_FENCE = re.compile(r"\s*(```|~~~)")
_LISTS = {
    "scope": "scope",
    "non-goals": "non_goals",
    "acceptance criteria": "acceptance_criteria",
}
_FACTS = {
    "type": "type",
    "files": "files",
    "depends on": "depends_on",
    "permission": "permission",
    "done when": "definition_of_done",
    "run": "run",
}

Json = dict[str, Any]


class PlanFileInvalid(Invalid):
    """This file is no plan."""

    code = "plan_file_invalid"


@dataclass(slots=True)
class PlanFile:
    """What a file says; what it leaves out is None."""

    name: str | None = None
    target_branch: str | None = None
    description: str | None = None
    artifacts: list[ArtifactIn] = field(default_factory=list[ArtifactIn])


def read_plan_file(path: Path) -> PlanFile:
    """Read a plan from a file.

    Raises:
        PlanFileInvalid: It cannot be read, or says what no plan says.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanFileInvalid(f"{path}: {error}.") from error
    is_markdown = path.suffix.lower() in {".md", ".markdown"}
    return parse_plan(_read_markdown(text) if is_markdown else _read_yaml(text, str(path)))


def parse_plan(document: Json) -> PlanFile:
    """A plan from a YAML file's document.

    Raises:
        PlanFileInvalid: It says what no plan says.
    """
    steps = document.pop("steps", None)
    if steps is not None:
        document["implementation_steps"] = {"steps": steps}
    parts = {kind: document.pop(kind.value, None) for kind in ArtifactType}
    made = PlanFile(
        name=_text(document.pop("name", None), "name"),
        target_branch=_text(document.pop("target_branch", None), "target_branch"),
        description=_text(document.pop("description", None), "description"),
        artifacts=[_part(kind, content) for kind, content in parts.items() if content],
    )
    if document:
        raise PlanFileInvalid(f"{', '.join(map(str, document))}: a plan has no such field.")
    return made


def _part(kind: ArtifactType, content: object) -> ArtifactIn:
    try:
        return ARTIFACT.validate_python({"artifact_type": kind, "content": content})
    except ValidationError as error:
        told = [_told(kind, cast("Json", each)) for each in error.errors(include_url=False)[:5]]
        raise PlanFileInvalid("; ".join(told)) from error


def _told(kind: ArtifactType, problem: Json) -> str:
    place = [str(part) for part in problem["loc"] if part not in {kind.value, "content"}]
    return f"{'.'.join([kind.value, *place])}: {problem['msg'].removeprefix('Value error, ')}"


def _text(value: object, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise PlanFileInvalid(f"{name}: write a text.")


def _read_yaml(text: str, name: str) -> Json:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PlanFileInvalid(f"{name} is no YAML: {error}") from error
    if not isinstance(document, dict):
        raise PlanFileInvalid(f"{name}: write the plan's fields, like `name: ...`.")
    return cast("Json", document)


def _read_markdown(text: str) -> Json:
    text = text.replace("\r\n", "\n")
    head = _HEAD.match(text)
    document = _read_yaml(head[1], "the head of the file") if head else {}
    feature: Json = {}
    for title, lines in _sections(text[head.end() :] if head else text):
        kind = title.strip().lower()
        if not kind:
            document["description"] = _joined(lines) or None
        elif kind == "goal":
            feature["goal"] = _joined(lines)
        elif kind in _LISTS:
            feature[_LISTS[kind]] = _items(lines)
        elif kind == "steps":
            document["steps"] = list(_steps(lines))
        else:
            raise PlanFileInvalid(
                f"# {title}: a plan has Goal, {', '.join(map(str.capitalize, _LISTS))} and Steps."
            )
    if feature:
        document["feature_plan"] = feature
    return document


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    """The text before the first heading, under no title, and each section."""
    title, lines = "", list[str]()
    for line, is_code in _lines(text.split("\n")):
        heading = None if is_code else _SECTION.fullmatch(line)
        if heading is None:
            lines.append(line)
            continue
        yield title, lines
        title, lines = heading[1], []
    yield title, lines


def _lines(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it stands in a block of code."""
    fence: str | None = None
    for line in lines:
        mark = _FENCE.match(line)
        is_code = fence is not None
        if mark and fence in {None, mark[1]}:
            fence = None if fence else mark[1]
        yield line, is_code


def _items(lines: list[str]) -> list[str]:
    """The items of a list; what is indented goes on with the item before."""
    items: list[str] = []
    for line in lines:
        if line.startswith(("- ", "* ")):
            items.append(line[2:].strip())
        elif line.strip() and items:
            items[-1] += f" {line.strip()}"
        elif line.strip():
            items.append(line.strip())
    return items


def _steps(lines: list[str]) -> Iterator[Json]:
    step: Json | None = None
    said: list[str] = []
    for line, is_code in _lines(lines):
        heading = None if is_code else _STEP.fullmatch(line)
        fact = None if is_code or _joined(said) else _FACT.fullmatch(line)
        if heading is not None:
            if step is not None:
                yield _with_words(step, said)
            step, said = {"key": heading[1], "title": heading[2]}, []
        elif step is None and line.strip():
            raise PlanFileInvalid(f"{line!r}: begin a step with `## key: Title`.")
        elif step is not None and fact is not None:
            step[_FACTS[fact[1]]] = _value(fact[1], fact[2])
        else:
            said.append(line)
    if step is not None:
        yield _with_words(step, said)


def _value(fact: str, text: str) -> object:
    if fact in {"files", "depends on"}:
        return [part.strip() for part in text.split(",") if part.strip()]
    return _read_yaml(text, "run") if fact == "run" else text.strip()


def _with_words(step: Json, said: list[str]) -> Json:
    words = _joined(said)
    return {**step, "description": words} if words else step


def _joined(lines: list[str]) -> str:
    return "\n".join(lines).strip()
