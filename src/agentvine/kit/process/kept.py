"""A program with a keeper around it: ``Child`` for the containments that have one."""

import asyncio
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from agentvine.kit.process.child import Child, Reaped, refuse_missing_folder
from agentvine.kit.process.containment import ControlGroup
from agentvine.kit.process.errors import ProgramNotFound, ProgramNotStarted

KEEPER = Path(__file__).with_name("keeper.py")
_START_SECONDS = 60.0


class KeptChild(Child):
    """A program below its keeper; ``id`` is the keeper's, and the ends are the program's."""

    def __init__(
        self,
        popen: subprocess.Popen[bytes],
        loop: asyncio.AbstractEventLoop,
        *,
        status: int,
        lifeline: int,
        name: str,
    ) -> None:
        """Take over a keeper that was just started; only ``start_kept`` does."""
        self._status_pipe = status
        self._lifeline = lifeline
        self._name = name
        self._program_started: asyncio.Future[None] = loop.create_future()
        self._outcome: Reaped | None = None
        self._began_at = time.monotonic()
        super().__init__(popen, loop)

    async def wait_for_start(self) -> None:
        """Wait until the program itself runs.

        Raises:
            ProgramNotStarted: The system refused.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                await asyncio.shield(self._program_started)
        except TimeoutError:
            raise ProgramNotStarted(
                f"{self._name} was not started within {_START_SECONDS:g} s.", program=self._name
            ) from None

    def dismiss(self) -> None:
        """Let the keeper go; it kills whatever is left below it."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def reap(self, *, wait_seconds: float = 5.0) -> Reaped:
        """Dismiss the keeper, and tell how the program ended."""
        self.dismiss()
        deadline = time.monotonic() + wait_seconds
        while not self.is_reaped:
            super().reap(wait_seconds=0.05)
            if time.monotonic() > deadline:
                # Stopped, or stuck: with it goes a namespace, too.
                self.signal_group(signal.SIGKILL)
                super().reap(wait_seconds=wait_seconds)
                break
        # What the keeper told last may still be in the pipe.
        self._watcher.join(wait_seconds)
        if self._outcome is None:
            # The keeper did not live to tell: what it kept went with it, or was killed by us.
            return Reaped(signal.SIGKILL)
        return self._outcome

    def close(self) -> None:
        """Close the pipes."""
        self.dismiss()
        super().close()

    def _watch(self) -> None:
        with os.fdopen(self._status_pipe, "rb") as pipe:
            for line in pipe:
                self._take(cast("dict[str, Any]", json.loads(line)))
        self.duration_seconds = self.duration_seconds or time.monotonic() - self._began_at
        self._on_loop(self._note_keeper_end)

    def _take(self, record: dict[str, Any]) -> None:
        if "started" in record:
            self._on_loop(self._note_start, None)
        elif "error" in record:
            self._on_loop(self._note_start, record)
        else:
            self._outcome = Reaped(
                int(record["ended"]),
                int(record["peak_kilobytes"]) * 1024,
                float(record["cpu_seconds"]),
            )
            self.duration_seconds = time.monotonic() - self._began_at
            self._on_loop(self._note_end)

    def _note_start(self, problem: dict[str, Any] | None) -> None:
        if self._program_started.done():
            return
        if problem is None:
            self._program_started.set_result(None)
            return
        number = problem["error"]
        if problem["stage"] == "program" and number == errno.ENOENT:
            # The file is there, as we have looked: its interpreter is not.
            told = "its interpreter was not found"
        else:
            told = str(problem["text"])
        if problem["stage"] != "program":
            told = f"no {problem['stage']} could be made for it: {told}"
        self._program_started.set_exception(
            ProgramNotStarted(f"{self._name} could not be started: {told}.", program=self._name)
        )

    def _note_keeper_end(self) -> None:
        if not self._program_started.done():
            self._program_started.set_exception(
                ProgramNotStarted(f"{self._name}: its keeper ended.", program=self._name)
            )
        # Somebody may have stopped to wait for the start.
        self._program_started.exception()
        self._note_end()


def start_kept(  # keyword-only facts of one start
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    is_namespace: bool,
    group: ControlGroup | None,
    rlimits: Mapping[str, tuple[int, int]],
    descriptors: tuple[int, ...] = (),
    stdin: IO[bytes] | None = None,
) -> KeptChild:
    """Start a keeper, which starts the program in a session of its own.

    Raises:
        WorkingDirectoryMissing: There is no such folder.
        ProgramNotFound: The program is not on the environment's PATH.
        ProgramNotStarted: The system refused for another reason.
    """
    refuse_missing_folder(argv[0], cwd)
    program = shutil.which(argv[0], path=environment.get("PATH", os.defpath))
    if program is None:
        raise ProgramNotFound(
            f"{argv[0]} was not found: install it, or name it by its full path.", program=argv[0]
        )
    status, status_end = os.pipe()
    lifeline_end, lifeline = os.pipe()
    command = keeper_argv(
        argv,
        program=str(cwd / program),
        is_namespace=is_namespace,
        group=group,
        rlimits=rlimits,
        pipes=(status_end, lifeline_end),
    )
    try:
        popen = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(environment),
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
            pass_fds=(status_end, lifeline_end, *descriptors),
        )
    except (OSError, ValueError) as error:
        os.close(status)
        os.close(lifeline)
        raise ProgramNotStarted(
            f"{argv[0]} could not be started: {error}.", program=argv[0]
        ) from error
    finally:
        os.close(status_end)
        os.close(lifeline_end)
    return KeptChild(
        popen,
        asyncio.get_running_loop(),
        status=status,
        lifeline=lifeline,
        name=argv[0],
    )


def keeper_argv(  # keyword-only parts of one command line
    argv: Sequence[str],
    *,
    program: str,
    is_namespace: bool,
    group: ControlGroup | None,
    rlimits: Mapping[str, tuple[int, int]],
    pipes: tuple[int, int],
) -> list[str]:
    """A keeper's command line; its pipes: the status's writing, the lifeline's reading end."""
    status, lifeline = pipes
    plan = {
        "status": status,
        "lifeline": lifeline,
        "namespace": is_namespace,
        "cgroup": str(group.path) if group else None,
        "rlimits": {name: list(pair) for name, pair in rlimits.items()},
        "program": program,
    }
    return [sys.executable, "-I", "-S", str(KEEPER), json.dumps(plan), *argv]
