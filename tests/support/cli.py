"""The command line in a sandbox: its own home and data, nothing of the tester's settings."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

_DEADLINE_SECONDS = 120.0


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    @property
    def problem(self) -> Any:
        """The last line of standard error as JSON."""
        return json.loads(self.err.strip().splitlines()[-1])


@dataclass
class Sandbox:
    """A folder with a home and a data directory, and commands that see only those."""

    folder: Path
    more: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "home").mkdir(parents=True, exist_ok=True)

    @property
    def data_dir(self) -> Path:
        """Where the command line keeps its things."""
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        """All that commands see of ours."""
        kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "HOME": str(self.folder / "home"),
            "AGENTVINE_DATA_DIR": str(self.data_dir),
            "AGENTVINE_BCRYPT_ROUNDS": "4",
            "AGENTVINE_SQLITE_SYNCHRONOUS": "NORMAL",
            **self.more,
        }

    def run(self, *arguments: str, stdin: str = "", cwd: Path | None = None) -> Done:
        """Run a command to its end."""
        ended = subprocess.run(
            [sys.executable, "-m", "agentvine", *arguments],
            env=self.environment,
            cwd=cwd or self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_SECONDS,
            check=False,
        )
        return Done(ended.returncode, ended.stdout, ended.stderr)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command, in a process group of its own, as a terminal would."""
        with (self.folder / "stderr.txt").open("a") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "agentvine", *arguments],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    @contextmanager
    def up(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """A server with workers, stopped with the block."""
        process = self.start("up", "--port", "0", "--json", "--drain", "1", *arguments)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (self.folder / "stderr.txt").read_text()
            yield process
        finally:
            stop(process)

    def processes(self) -> list[str]:
        """What still runs of this sandbox, by the home that all of it was given."""
        found = (_command_of(process, home=self.environment["HOME"]) for process in _all_others())
        return [command for command in found if command]


def stop(process: "subprocess.Popen[str]", signum: int = signal.SIGTERM) -> int:
    """Tell a command to stop, and wait until it has."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            process.send_signal(signum)
    try:
        process.wait(timeout=_DEADLINE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()
    return process.returncode


def wait_until(is_so: Any, what: str, *, seconds: float = 20.0) -> Any:
    """Look again and again until something is true, and give that."""
    deadline = time.monotonic() + seconds
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.02)
    return found


def _all_others() -> Iterator[psutil.Process]:
    return (process for process in psutil.process_iter() if process.pid != os.getpid())


def _command_of(process: psutil.Process, *, home: str) -> str:
    """The command line of a process with this home; nothing when it has another, or has ended."""
    try:
        if process.environ().get("HOME") != home:
            return ""
        return " ".join(process.cmdline()) or process.name()
    except (psutil.Error, OSError):
        return ""
