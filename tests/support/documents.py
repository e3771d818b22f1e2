"""Following a document as its reader would: its ``sh`` blocks, in a terminal of their own.

A block is run as it stands, by ``sh -e``. What the reader has to fill in (a path, an address) is in
the test's table of steps, and so is what cannot be run in a test, with the reason. Directory and
exported variables pass from block to block, as in a terminal.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.cli import Sandbox, stop

ROOT = Path(__file__).parents[2]
_SECONDS = 240.0
_FENCED = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code in a document."""

    text: str
    line: int


def blocks_of(document: Path, language: str) -> list[Block]:
    """All blocks of a language, in order."""
    text = document.read_text()
    return [
        Block(re.sub(rf"^{found[1]}", "", found[3], flags=re.MULTILINE),
              text[: found.start()].count("\n") + 2)
        for found in _FENCED.finditer(text)
        if found[2] == language
    ]  # fmt: skip


Fill = Mapping[str, "str | Callable[[], str]"]


@dataclass(frozen=True)
class Step:
    """What a test has to know about one block."""

    fill: Fill = field(default_factory=dict)
    """What the reader writes in the place of a word; a function is asked when its turn comes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """For this block alone."""
    stdin: "str | Callable[[], str]" = ""
    exit_code: int = 0
    before: Callable[[], object] | None = None
    """What the reader does first, where the text says so."""
    starts: str = ""
    """It runs on in a terminal of its own, and is ready when its output matches this."""
    left_out: str = ""
    """Why it is not run."""


@dataclass
class Terminal:
    """Where the blocks are run."""

    sandbox: Sandbox
    directory: Path = ROOT
    outputs: dict[str, str] = field(default_factory=dict)
    """What each step's block printed, by the phrase that names the step."""
    _running: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        bin_folder = self.sandbox.folder / "bin"
        bin_folder.mkdir()
        # The one thing that needs the network: uv is there already.
        _write_program(bin_folder / "pip", 'test "$*" = "install uv"')
        if shutil.which("uv") is None:
            _write_program(bin_folder / "uv", 'test "$1" = run && shift && exec "$@"')
        path = f"{bin_folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = {
            **self.sandbox.environment,
            "PATH": path,
            "VIRTUAL_ENV": sys.prefix,
            "UV_PROJECT_ENVIRONMENT": sys.prefix,
            "UV_NO_SYNC": "1",
            "UV_OFFLINE": "1",
            # A reader has told git who they are.
            **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER")
               for what, value in (("NAME", "Reader"), ("EMAIL", "reader@example.org"))},
        }  # fmt: skip

    def follow(self, document: Path, steps: Mapping[str, Step]) -> None:
        """Run every block of a document; each step of the table must be met exactly once."""
        met: list[str] = []
        for block in blocks_of(document, "sh"):
            named = [phrase for phrase in steps if phrase in block.text]
            assert len(named) <= 1, f"{document.name}:{block.line} is {named}"
            step = steps[named[0]] if named else Step()
            if not step.left_out:
                said = self._run(block, step, f"{document.name}:{block.line}")
                self.outputs |= dict.fromkeys(named, said)
            met += named
        assert met == list(steps), "the table has other steps than the document"

    def close(self) -> None:
        """End what was started."""
        for process in reversed(self._running):
            stop(process)
        self._running.clear()

    def _run(self, block: Block, step: Step, place: str) -> str:
        if step.before is not None:
            step.before()
        text = block.text
        for word, filled in step.fill.items():
            assert word in text, f"{place} has no {word}"
            text = text.replace(word, filled if isinstance(filled, str) else filled())
        if step.starts:
            return self._start(text, step, place)
        state = self.sandbox.folder / "terminal"
        script = f"{text}\nenv -0 > '{state}'; pwd > '{state}.pwd'\n"
        ended = subprocess.run(
            ["sh", "-e", "-c", script],
            cwd=self.directory,
            env={**self._environment, **step.environment},
            input=step.stdin if isinstance(step.stdin, str) else step.stdin(),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        said = ended.stdout + ended.stderr
        assert ended.returncode == step.exit_code, f"{place}: {text}\n{said}"
        if step.exit_code == 0 and not step.environment:
            self._environment = _environment_in(state.read_text())
            self.directory = Path(Path(f"{state}.pwd").read_text().strip())
        return said

    def _start(self, text: str, step: Step, place: str) -> str:
        path = self.sandbox.folder / f"terminal-{len(self._running)}.txt"
        with path.open("w") as output:
            process = subprocess.Popen(
                ["sh", "-c", text if "exec " in text else f"exec {text}"],
                cwd=self.directory,
                env={**self._environment, **step.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        self._running.append(process)
        deadline = time.monotonic() + _SECONDS
        while not re.search(step.starts, said := path.read_text()):
            assert process.poll() is None, f"{place} has ended: {said}"
            assert time.monotonic() < deadline, f"{place} is not ready: {said}"
            time.sleep(0.05)
        return said


def _write_program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def _environment_in(state: str) -> dict[str, str]:
    """What ``env -0`` wrote."""
    return dict(entry.split("=", 1) for entry in state.split("\0") if entry)
