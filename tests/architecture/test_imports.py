"""The import contracts hold, and each of them bites when it is broken."""

import contextlib
import io
import logging
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = (
    "client cli config db domains git http impact kit mcp protocol reactions runtimes server web "
    "worker"
)

# Every line is one import that a contract must refuse.
FORBIDDEN = {
    "cli.hidden": "agentvine.domains.tasks",
    "worker.daemon": "agentvine.db",
    "client.direct": "agentvine.server",
    "runtimes.shell": "agentvine.http",
    "git.rows": "agentvine.domains",
    "llm.books": "agentvine.db",
    "llm.run": "agentvine.runtimes",
    "cli.raw": "sqlalchemy",
    "worker.raw": "fastapi",
    "server.start": "agentvine.worker",
    "server.ask": "agentvine.client",
    "http.repositories": "agentvine.git",
    "web.start": "agentvine.cli",
    "web.tools": "agentvine.mcp",
    "kit.clock": "agentvine.config",
    "config.wire": "agentvine.protocol",
    "db.slices": "agentvine.domains",
    "domains.tasks.service": "agentvine.domains.work",
    "domains.agents.service": "agentvine.domains.workers",
    "domains.tasks.react": "agentvine.reactions",
    "domains.newcomer": "agentvine.kit",
}
CYCLE = {"kit.process.one": "agentvine.kit.table", "kit.table": "agentvine.kit.process"}


def test_every_import_keeps_to_the_contracts():
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        status = lint_imports(str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    for logger in logging.root.manager.loggerDict.values():
        # It silences every logger but its own, in the tests that follow as well.
        if isinstance(logger, logging.Logger):
            logger.disabled = False

    assert status == 0, output.getvalue()


def test_every_forbidden_import_is_refused(tmp_path: Path):
    write_package(tmp_path)

    report = lint_package(tmp_path)

    assert [name for name in FORBIDDEN if f"agentvine.{name}" not in report] == []
    assert "No cycles are allowed in agentvine.kit." in report


def test_every_package_is_on_one_side_of_the_wire_or_shared():
    contracts = {
        contract["id"]: contract for contract in PYPROJECT["tool"]["importlinter"]["contracts"]
    }
    outside = set(contracts["outside-knows-no-inside"]["source_modules"])
    inside = set(contracts["outside-knows-no-inside"]["forbidden_modules"])
    shared = {f"agentvine.{name}" for name in ("__init__", "__main__", "config", "kit", "protocol")}
    there = {
        f"agentvine.{path.stem}"
        for path in (ROOT / "src" / "agentvine").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    assert there - outside - inside - shared == set()
    assert outside & inside == set()
    # git and llm are used by both; the rest of the worker's side stays out of the server's.
    assert set(contracts["inside-knows-no-outside"]["forbidden_modules"]) == outside - {
        "agentvine.git",
        "agentvine.llm",
    }


def test_a_slice_without_a_place_in_the_order_is_refused(tmp_path: Path):
    write_package(tmp_path)

    report = lint_package(tmp_path, "--contract", "slices")

    assert "The following modules are not listed as layers:" in report
    assert "- agentvine.domains.newcomer" in report


def write_package(folder: Path) -> None:
    """A package of our shape in which each module does one thing that it must not do."""
    root = folder / "agentvine"
    (root / "kit" / "process").mkdir(parents=True)
    for package in ["", *PACKAGES.split(), "kit/process", "domains/work", "domains/workers"]:
        (root / package).mkdir(parents=True, exist_ok=True)
        (root / package / "__init__.py").touch()
    (root / "database.py").touch()
    for name, imported in (FORBIDDEN | CYCLE).items():
        path = (root / name.replace(".", "/")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(f"import {imported}\n")


def lint_package(folder: Path, *arguments: str) -> str:
    """What import-linter says with our contracts about that package; it must refuse it."""
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            *("--config", str(ROOT / "pyproject.toml"), "--no-cache", *arguments),
        ],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    return result.stdout
