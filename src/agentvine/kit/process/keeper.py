"""The keeper: a small program that stands between us and a run's program, so that nothing escapes.

Started by path with ``python -I -S``; it imports nothing of ours. Its first argument is a plan as
JSON, the rest is the program's command line. It holds what it starts in one of two ways:

- *namespace*: it forks into a PID namespace of its own, as its process 1; when that ends, the
  kernel kills everything inside, whatever it did to hide.
- *subreaper*: every process whose parent dies becomes the keeper's child, so a daemon that forked
  twice, left its session and cleared its environment still descends from us.

What it tells, as JSON lines on the status pipe: ``started``, ``error`` or, when the program has
ended, ``ended`` with its wait status. Then it stays: what the program left running is looked at
and ended by whoever started us. When the other end of the lifeline closes (we are dismissed, or
the worker was killed), everything below is killed at once and the keeper ends.
"""

import ctypes
import json
import os
import resource
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8
_MS_REC_SLAVE = 0x4000 | 0x80000
_OOM_SCORE = "500"
"""Short of memory, the system ends the run's program rather than the worker."""

_libc = ctypes.CDLL(None, use_errno=True)


class Keeper:
    """Keeps one program."""

    def __init__(self, plan: dict[str, Any], argv: list[str]) -> None:
        """Prepare; ``keep`` does it all."""
        self._plan = plan
        self._argv = argv
        self._status: int = plan["status"]
        self._lifeline: int = plan["lifeline"]
        self._child_ended = -1
        self._cpu_seconds = 0.0
        for fd in (self._status, self._lifeline):
            os.set_inheritable(fd, False)

    def keep(self) -> NoReturn:
        """Start the program, tell how it ends, and go when dismissed."""
        stage = "cgroup"
        try:
            if self._plan["cgroup"]:
                _write(f"{self._plan['cgroup']}/cgroup.procs", "0")
            stage = "namespace"
            if self._plan["namespace"]:
                self._enter_namespace()
            else:
                _call("prctl", _PR_SET_CHILD_SUBREAPER, 1)
            stage = "program"
            self._listen_to_signals()
            main = self._start_program()
        except OSError as error:
            self._tell(error=error.errno, stage=stage, text=str(error))
            os._exit(1)
        self._tell(started=True)
        self._wait(main)
        if not self._plan["namespace"]:
            _kill_children()
        os._exit(0)

    def _enter_namespace(self) -> None:
        """Go on as process 1 of a new namespace; the process that was here before only waits."""
        uid, gid = os.getuid(), os.getgid()
        flags = _CLONE_NEWPID | _CLONE_NEWNS
        _call("unshare", flags if uid == 0 else flags | _CLONE_NEWUSER)
        if uid != 0:
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{uid} {uid} 1")
            _write("/proc/self/gid_map", f"{gid} {gid} 1")
        inside = os.fork()
        if inside:
            os.close(self._status)
            os.close(self._lifeline)
            _let_go_of_streams()
            for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(signum, signal.SIG_IGN)
            os.waitpid(inside, 0)
            os._exit(0)
        _call("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL))
        _call("mount", None, b"/", None, _MS_REC_SLAVE, None)
        _call("mount", b"proc", b"/proc", b"proc", _MS_NOSUID_NODEV_NOEXEC, None)

    def _listen_to_signals(self) -> None:
        self._child_ended, wake = os.pipe()
        for fd in (self._child_ended, wake):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        # Handlers, not SIG_IGN: that would be inherited by the program.
        for signum in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, _do_nothing)

    def _start_program(self) -> int:
        error_read, error_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._become_program(error_write)
        os.close(error_write)
        with os.fdopen(error_read, "rb") as pipe:
            problem = pipe.read()
        if problem:
            os.waitpid(pid, 0)
            raise OSError(int(problem), os.strerror(int(problem)))
        _let_go_of_streams()
        return pid

    def _become_program(self, error_write: int) -> NoReturn:
        try:
            os.setsid()
            if not self._plan["namespace"]:
                _call("prctl", _PR_SET_PDEATHSIG, int(signal.SIGKILL))
            with suppress(OSError):
                _write("/proc/self/oom_score_adj", _OOM_SCORE)
            signal.set_wakeup_fd(-1)
            # Python ignores these; a program expects them as the system has them.
            for signum in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(signum, signal.SIG_DFL)
            for name, (soft, hard) in self._plan["rlimits"].items():
                _limit(name, soft, hard)
            os.execv(self._plan["program"], self._argv)  # noqa: S606 - that is what we are for
        except OSError as error:
            os.write(error_write, str(error.errno).encode())
        finally:
            os._exit(127)

    def _wait(self, main: int) -> None:
        """Reap until dismissed; tell when the program has ended."""
        poll = select.poll()
        poll.register(self._lifeline, select.POLLIN)
        poll.register(self._child_ended, select.POLLIN)
        while True:
            self._reap(main)
            for fd, _ in poll.poll():
                if fd == self._lifeline:
                    # It may have ended since we looked: whoever dismisses us saw that first.
                    self._reap(main)
                    return
                with suppress(BlockingIOError):
                    os.read(fd, 4096)

    def _reap(self, main: int) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
                if pid == 0:
                    return
                # Those that lost their parent come to us, and their time with them.
                self._cpu_seconds += usage.ru_utime + usage.ru_stime
                if pid == main:
                    # What a child reports as its peak includes ours at the fork.
                    peak = usage.ru_maxrss if usage.ru_maxrss > _own_peak() else 0
                    self._tell(ended=status, peak_kilobytes=peak, cpu_seconds=self._cpu_seconds)

    def _tell(self, **record: object) -> None:
        # EPIPE: whoever started us is gone; the lifeline tells the same.
        with suppress(OSError):
            os.write(self._status, json.dumps(record).encode() + b"\n")


def _let_go_of_streams() -> None:
    """Only the program holds its pipes, so that they close when it, and all it started, end."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def _do_nothing(_signum: int, _frame: object) -> None:
    """Wakes the poll, and does not end us."""


def _own_peak() -> int:
    # Not getrusage: that one's includes, in turn, the worker's.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def _kill_children() -> None:
    """Kill all children until there are none: those of the dead become ours."""
    while True:
        for pid in _children():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            stat = path.read_bytes()
            if int(stat[stat.rindex(b")") + 2 :].split()[1]) == os.getpid():
                found.append(int(path.parent.name))
    return found


def _limit(name: str, soft: int, hard: int) -> None:
    kind: int = getattr(resource, name)
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(kind, (soft, hard))


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    # One write, as these files want it.
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


if __name__ == "__main__":
    Keeper(json.loads(sys.argv[1]), sys.argv[2:]).keep()
