"""A file system that is really small, so that it can really be full.

It is a mount of its own where the machine allows that. Where it allows it only inside a user
namespace, the test is run there once more. Where it allows neither, whoever is to find the disk
full may write no byte more into any file, and what is printed at the end says so.
"""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEAKER = "weaker than meant"
"""The property of a test's report that says what could not be done here."""
_INSIDE = "AGENTVINE_TEST_IN_NAMESPACE"
_CHUNK = 65536


@dataclass
class SmallDisk:
    """A folder with a file system of its own."""

    path: Path

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def fill(self) -> None:
        """Take all the room there is."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (_CHUNK, 4096, 1):
                try:
                    while file.write(bytes(size)):
                        pass
                except OSError:
                    continue
        assert shutil.disk_usage(self.path).free == 0

    def make_room(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(path: Path, *, mebibytes: int) -> Iterator[SmallDisk | None]:
    """Mount one for the length of the block; None where that is not allowed."""
    path.mkdir(parents=True, exist_ok=True)
    options = f"size={mebibytes}m,mode=755"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield SmallDisk(path)
    finally:
        # Lazily: what still uses it keeps it until it ends.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def passes_in_a_namespace(request: pytest.FixtureRequest) -> bool:
    """Run the test once more where its user may mount; False where there is no such place."""
    allowed = ["unshare", "--user", "--map-root-user", "--mount"]
    if _INSIDE in os.environ or shutil.which("unshare") is None:
        return False
    if subprocess.run([*allowed, "true"], capture_output=True, check=False).returncode:
        return False
    command = [sys.executable, "-m", "pytest", "-n0", "-m", "", request.node.nodeid]
    done = subprocess.run(
        [*allowed, *command],
        cwd=ROOT,
        env={**os.environ, _INSIDE: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return True


def forbid_writing(pid: int) -> None:
    """The weaker way: no file of this process may grow."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))


def allow_writing(pid: int) -> None:
    """Room again."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
