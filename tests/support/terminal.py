"""A command at a pseudo terminal: what it draws there, and keys pressed there."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.support.cli import wait_until

CTRL_C = b"\x03"
# Whoever runs the tests in the background may have had Ctrl-C ignored, which is inherited.
_TAKE_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A running command and the terminal it believes to sit at."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        cwd: Path,
        columns: int = 100,
    ) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._ours = ours
        self._drawn = bytearray()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *argv],
            env={"TERM": "xterm-256color", **environment},
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(timeout=10)
        os.close(self._ours)

    @property
    def drawn(self) -> str:
        """All that was written so far, with the codes that move the cursor."""
        return self._drawn.decode(errors="replace")

    def press(self, keys: bytes) -> None:
        """Type something; Ctrl-C becomes a signal to all that sit at the terminal."""
        os.write(self._ours, keys)

    def until(self, text: str) -> None:
        """Wait until something has been drawn."""
        wait_until(
            lambda: text in self.drawn or self.process.poll() is not None, repr(text), seconds=90
        )
        assert text in self.drawn, self.drawn

    def end(self) -> int:
        """Wait for the end of the command; its exit code."""
        self.process.wait(timeout=120)
        self._reader.join(timeout=10)
        return self.process.returncode

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                return
            if not data:
                return
            self._drawn += data
