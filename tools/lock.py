"""``python -m tools.lock``: pin every distribution that we install, ourselves included in none.

Two results, neither of which names a registry: ``[tool.uv]`` in pyproject.toml, so that ``uv run``
gives everybody the same versions although no uv.lock is kept, and requirements.lock with hashes,
for ``pip install --require-hashes``. Pins that still fit stay; ``--upgrade`` looks for newer ones.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "# --- Pinned versions: written by `just lock`, not by hand\n"
END = "# --- End of the pinned versions\n"
_HEADER = """\
# Written by `just lock`, not by hand: what AgentVine needs to run, with hashes.
#   pip install --require-hashes -r requirements.lock
"""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# An editable install asks hatchling for this one only when it is being built.
_EDITABLE_BUILD = "editables"


class LockError(Exception):
    """The versions could not be resolved."""


@dataclass(frozen=True, slots=True)
class Pins:
    """Requirement lines such as ``click==8.5.1``: what is installed, and what builds it."""

    install: tuple[str, ...]
    build: tuple[str, ...]


def main(arguments: list[str] | None = None) -> int:
    """Write both files, or with ``--check`` only say whether they are current."""
    options = _parser().parse_args(arguments)
    pyproject, requirements = ROOT / "pyproject.toml", ROOT / "requirements.lock"
    try:
        new = resolve(pyproject.read_text(), everything=options.all, names=options.upgrade)
    except LockError as error:
        print(error, file=sys.stderr)
        return 1
    stale = [
        path
        for path, text in zip((pyproject, requirements), new, strict=True)
        if not path.exists() or path.read_text() != text
    ]
    for path, text in zip((pyproject, requirements), new, strict=True):
        if path in stale and not options.check:
            path.write_text(text)
    names = ", ".join(path.name for path in stale) or "nothing"
    print(f"{'out of date' if options.check else 'written'}: {names}")
    return 1 if options.check and stale else 0


def resolve(pyproject: str, *, everything: bool, names: Sequence[str]) -> tuple[str, str]:
    """The new text of pyproject.toml and of requirements.lock.

    Raises:
        LockError: uv is missing, finds no solution, or took a distribution from a folder.
    """
    dropped = {normalise(name) for name in names}
    bare, old = split_pins(pyproject)
    kept = Pins((), ()) if everything else drop(old, dropped)
    with tempfile.TemporaryDirectory(prefix="agentvine-lock-") as folder:
        place = Path(folder)
        _write_project(place, bare + render_pins(kept))
        try:
            uv(place, "lock", "--quiet")
        except LockError as error:
            hint = "A pin may stand in the way: `just lock --upgrade NAME`, or `--all`."
            raise LockError(f"{error}\n{hint}") from None
        refuse_local_sources((place / "uv.lock").read_text())
        export = ("export", "--quiet", "--no-header", "--no-annotate", "--no-emit-project")
        install = uv(place, *export, "--no-hashes", "--all-groups")
        hashes = uv(place, *export, "--no-dev")
        build = _resolve_build(place, bare, kept)
    pins = Pins(pin_lines(install), pin_lines(build))
    return bare + render_pins(pins), _HEADER + hashes


def _resolve_build(place: Path, pyproject: str, kept: Pins) -> str:
    wanted: list[str] = tomllib.loads(pyproject)["build-system"]["requires"]
    python: str = tomllib.loads(pyproject)["project"]["requires-python"].lstrip(">=")
    (place / "build.in").write_text("\n".join([*wanted, _EDITABLE_BUILD]) + "\n")
    (place / "kept.txt").write_text("\n".join(kept.build) + "\n")
    universal = ("--universal", "--python-version", python, "--no-header", "--no-annotate")
    return uv(place, "pip", "compile", "--quiet", *universal, "-c", "kept.txt", "build.in")


def uv(place: Path, *arguments: str) -> str:
    """Run uv in a folder; its standard output.

    Raises:
        LockError: It is not installed, or it failed.
    """
    program = shutil.which("uv")
    if program is None:
        raise LockError("uv is not installed; `pip install uv` brings it.")
    result = subprocess.run(
        [program, *arguments], cwd=place, capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise LockError(f"uv {arguments[0]} failed:\n{result.stderr.strip()}")
    return result.stdout


def split_pins(pyproject: str) -> tuple[str, Pins]:
    """The text without its pinned part, and what was pinned there."""
    if BEGIN not in pyproject:
        return pyproject.rstrip("\n") + "\n\n", Pins((), ())
    before, _, rest = pyproject.partition(BEGIN)
    pinned, _, after = rest.partition(END)
    settings: dict[str, Any] = tomllib.loads(pinned)["tool"]["uv"]
    pins = Pins(
        tuple(settings["constraint-dependencies"]), tuple(settings["build-constraint-dependencies"])
    )
    return before + after, pins


def render_pins(pins: Pins) -> str:
    """The pinned part of pyproject.toml."""
    lines = ["[tool.uv]\n", "constraint-dependencies = [\n"]
    lines += [f'    "{line}",\n' for line in pins.install]
    lines += ["]\n", "build-constraint-dependencies = [\n"]
    lines += [f'    "{line}",\n' for line in pins.build]
    return "".join([BEGIN, *lines, "]\n", END])


def pin_lines(exported: str) -> tuple[str, ...]:
    """Pins from uv's output; a marker stays only where one name has several versions."""
    lines = [line.strip() for line in exported.splitlines() if "==" in line]
    counts = Counter(distribution(line) for line in lines)
    return tuple(
        (line if counts[distribution(line)] > 1 else line.partition(" ;")[0]).replace('"', "'")
        for line in lines
    )


def drop(pins: Pins, names: Iterable[str]) -> Pins:
    """The pins without those of some distributions."""
    gone = set(names)
    return Pins(
        tuple(line for line in pins.install if distribution(line) not in gone),
        tuple(line for line in pins.build if distribution(line) not in gone),
    )


def distribution(requirement: str) -> str:
    """The normalised name that a requirement line begins with."""
    name = _NAME.match(requirement)
    return normalise(name[0]) if name else ""


def normalise(name: str) -> str:
    """The one spelling of a distribution's name: lower case, dashes."""
    return re.sub(r"[-_.]+", "-", name).lower()


def refuse_local_sources(lock: str) -> None:
    """Make sure that everything but ourselves came from a registry, which anyone can reach.

    Raises:
        LockError: A distribution came from a folder of this machine.
    """
    for package in tomllib.loads(lock)["package"]:
        source: dict[str, str] = package["source"]
        address = source.get("registry", "")
        if "editable" not in source and not address.startswith(("https:", "http:")):
            raise LockError(f"{package['name']} came from {source}: unset local indexes first.")


def _write_project(place: Path, pyproject: str) -> None:
    """A copy that is enough to be resolved: the metadata and an empty package."""
    (place / "pyproject.toml").write_text(pyproject)
    (place / "README.md").touch()
    (place / "LICENSE").touch()
    package = place / "src" / "agentvine"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.lock", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if out of date")
    parser.add_argument(
        "--upgrade", nargs="+", metavar="NAME", default=[], help="take the newest of these"
    )
    parser.add_argument("--all", action="store_true", help="take the newest of everything")
    return parser


if __name__ == "__main__":
    sys.exit(main())
