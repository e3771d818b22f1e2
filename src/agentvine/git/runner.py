"""The one place that runs git."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from agentvine.git.environment import git_environment
from agentvine.git.errors import GitFailed, GitNotFound, GitTimeout
from agentvine.git.names import without_credentials
from agentvine.git.places import Place
from agentvine.kit.process import Captured, ProgramNotFound, capture

_MAX_OUTPUT_BYTES = 64 * 1024 * 1024
_SHOWN_STDERR_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """The git program and what it may see of this machine: the first argument of everything here.

    Each command runs in its own process group with a time limit, and with the environment of
    ``environment.py``: no prompt, no hook, no configuration but the repository's own.
    """

    executable: str = "git"
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """PATH, HOME and SSH_AUTH_SOCK for ssh, proxies: as far as the machine's owner allows."""
    settings: tuple[tuple[str, str], ...] = ()
    """More settings for all commands, such as an ``http.<url>.extraHeader`` with a token.
    They travel in the environment, so no process list shows them."""
    timeout_seconds: float = 300.0
    network_timeout_seconds: float = 1800.0

    def with_settings(self, *settings: tuple[str, str]) -> "Git":
        """The same program with more settings."""
        return replace(self, settings=(*self.settings, *settings))

    async def run(
        self,
        place: Place,
        *args: str | Path,
        stdin: bytes | IO[bytes] = b"",
        allowed_exit_codes: Collection[int] = (0,),
        timeout_seconds: float | None = None,
    ) -> bytes:
        """Run one command and give its standard output.

        Args:
            place: Where.
            *args: The command and its arguments: names from outside are checked before.
            stdin: What it can read: bytes, or an unbuffered file from where it stands.
            allowed_exit_codes: Which exit codes are no failure.
            timeout_seconds: When to stop it, if not as usual.

        Raises:
            GitNotFound: Git is not installed.
            GitTimeout: It took too long.
            GitFailed: It ended with another exit code, or printed far too much.
        """
        result = await self.capture(place, *args, stdin=stdin, timeout_seconds=timeout_seconds)
        if result.is_truncated or result.exit_code not in allowed_exit_codes:
            raise failed(args, result)
        return result.stdout

    async def capture(
        self,
        place: Place,
        *args: str | Path,
        stdin: bytes | IO[bytes] = b"",
        timeout_seconds: float | None = None,
        max_output_bytes: int = _MAX_OUTPUT_BYTES,
    ) -> Captured:
        """Run one command and give all of how it ended, for callers that read failures.

        Raises:
            GitNotFound: Git is not installed.
            GitTimeout: It took too long.
        """
        argv = [self.executable, *map(str, args)]
        limit = timeout_seconds or self.timeout_seconds
        try:
            result = await capture(
                argv,
                cwd=place.cwd,
                environment={
                    **git_environment(self.environment, self.settings),
                    **place.environment,
                },
                stdin=stdin,
                timeout_seconds=limit,
                max_stdout_bytes=max_output_bytes,
            )
        except ProgramNotFound as error:
            raise GitNotFound(
                f"{self.executable} was not found: install git 2.38 or later."
            ) from error
        if result.has_timed_out:
            raise GitTimeout(
                f"{_command(args)} took longer than {limit:g} seconds and was stopped."
            )
        return result


def failed(args: Collection[str | Path], result: Captured) -> GitFailed:
    """The error for a command that ended badly."""
    stderr = result.stderr.decode("utf-8", "replace")
    if result.is_truncated:
        stderr += "\nIt printed too much and was stopped."
    return GitFailed(
        _command(args),
        result.exit_code,
        without_credentials(stderr).replace("\0", "")[-_SHOWN_STDERR_CHARACTERS:],
    )


def text(output: bytes) -> str:
    """Output that is an id or a checked name: plain text, without the final line end."""
    return output.decode("utf-8", "backslashreplace").rstrip("\n")


def paths(output: bytes) -> list[str]:
    r"""NUL-separated file names, for people's eyes: bytes that are not UTF-8 become ``\xff``."""
    return [name.decode("utf-8", "backslashreplace") for name in output.split(b"\0") if name]


def _command(args: Collection[str | Path]) -> str:
    return without_credentials(" ".join(["git", *map(str, args)]))[:500]
