"""What manifests ask for: Python, npm, Go and Cargo."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from agentvine.domains.contexts.reading.shapes import sequence, table, word

_REQUIREMENTS = re.compile(r"(?:.*[-_.])?requirements(?:[-_.].*)?\.(?:txt|in)", re.ASCII)
_GO_REQUIRE = re.compile(r"(?P<name>[^\s()]+)\s+(?P<version>v\d[^\s/]*)(?P<rest>.*)")
_COMMENT = re.compile(r"(^|\s)#.*")
_NPM_GROUPS = {
    "dependencies": "",
    "devDependencies": "dev",
    "peerDependencies": "peer",
    "optionalDependencies": "optional",
}
_CARGO_GROUPS = {"dependencies": "", "dev-dependencies": "dev", "build-dependencies": "build"}


@dataclass(frozen=True, slots=True)
class Dependency:
    """One line of a manifest."""

    ecosystem: str
    """``pypi``, ``npm``, ``go`` or ``cargo``."""
    name: str
    requirement: str
    """As the ecosystem writes it; empty for any version."""
    group: str = ""
    """What it is for, when not for running."""


def parser_of(path: str) -> Callable[[str], Iterator[Dependency]] | None:
    """What reads a file of this name; None where it is no manifest."""
    place = PurePosixPath(path)
    is_listed = place.parent.name == "requirements" and place.suffix in {".txt", ".in"}
    if is_listed or _REQUIREMENTS.fullmatch(place.name):
        return read_requirements
    return _BY_NAME.get(place.name)


def read_pyproject(content: str) -> Iterator[Dependency]:
    """``[project]``, dependency groups, the build's own, and Poetry's tables."""
    document: dict[str, Any] = tomllib.loads(content)
    yield from _python(sequence(table(document, "project").get("dependencies")), "")
    for group, lines in table(document, "project", "optional-dependencies").items():
        yield from _python(sequence(lines), group)
    for group, lines in table(document, "dependency-groups").items():
        yield from _python(sequence(lines), group)
    yield from _python(sequence(table(document, "build-system").get("requires")), "build")
    poetry = table(document, "tool", "poetry")
    yield from _poetry(table(poetry, "dependencies"), "")
    yield from _poetry(table(poetry, "dev-dependencies"), "dev")  # before Poetry had groups
    for group, part in table(poetry, "group").items():
        yield from _poetry(table(part, "dependencies"), group)


def read_requirements(content: str) -> Iterator[Dependency]:
    """pip's lines; options, other files and bare addresses name no package."""
    for line in content.replace("\\\n", " ").splitlines():
        plain = _COMMENT.sub("", line).strip().partition(" --")[0]
        if plain and not plain.startswith("-"):
            yield from _python([plain], "")


def read_package_json(content: str) -> Iterator[Dependency]:
    """npm's four tables."""
    document = json.loads(content)
    for key, group in _NPM_GROUPS.items():
        for name, wanted in table(document, key).items():
            yield Dependency("npm", name, word(wanted), group)


def read_go_mod(content: str) -> Iterator[Dependency]:
    """``require``, alone and in blocks; what the module itself does not import is ``indirect``."""
    is_inside = False
    for line in content.splitlines():
        plain = line.strip()
        if plain.startswith("require"):
            plain = plain.removeprefix("require").strip()
            is_inside = plain.startswith("(")
            plain = plain.removeprefix("(").strip()
        elif not is_inside or plain.startswith(")"):
            is_inside = False
            continue
        if found := _GO_REQUIRE.match(plain):
            group = "indirect" if "// indirect" in found["rest"] else ""
            yield Dependency("go", word(found["name"]), word(found["version"]), group)


def read_cargo(content: str) -> Iterator[Dependency]:
    """Cargo's tables, a workspace's and those of single targets."""
    document = tomllib.loads(content)
    places = [document, table(document, "workspace"), *table(document, "target").values()]
    for place in places:
        for key, group in _CARGO_GROUPS.items():
            for name, wanted in table(place, key).items():
                details = table(wanted)
                asked = word(wanted) or word(details.get("version"))
                yield Dependency("cargo", word(details.get("package")) or name, asked, group)


def _python(lines: list[Any], group: str) -> Iterator[Dependency]:
    for line in lines:
        try:
            wanted = Requirement(line) if isinstance(line, str) else None
        except InvalidRequirement:
            wanted = None
        if wanted is not None:
            asked = str(wanted.specifier) or (f"@ {wanted.url}" if wanted.url else "")
            yield Dependency("pypi", word(canonicalize_name(wanted.name)), word(asked), group)


def _poetry(wanted: dict[str, Any], group: str) -> Iterator[Dependency]:
    for name, asked in wanted.items():
        if name.lower() != "python":
            version = word(asked) or word(table(asked).get("version"))
            yield Dependency("pypi", word(canonicalize_name(name)), version, group)


_BY_NAME: dict[str, Callable[[str], Iterator[Dependency]]] = {
    "pyproject.toml": read_pyproject,
    "package.json": read_package_json,
    "go.mod": read_go_mod,
    "Cargo.toml": read_cargo,
}
