"""A server and workers as real processes, which a test may kill at any moment."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings, whole_environment
from agentvine.db.session import Database
from agentvine.domains.identity import service as identity
from agentvine.domains.identity import tokens
from agentvine.domains.identity.enums import TokenKind
from agentvine.kit.clock import SystemClock
from agentvine.kit.errors import AppError, Unavailable
from tests.support.http import free_port

_ROOT = Path(__file__).parents[2]
_READY_SECONDS = 120.0  # a busy machine takes its time
_LOOK_AGAIN_SECONDS = 0.05


T = TypeVar("T")


async def insist(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until a server has lived long enough to answer."""
    while True:
        try:
            return await ask()
        except Unavailable:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)


@dataclass
class Fleet:
    """One server and any number of workers over one database, all in one folder."""

    folder: Path
    database: DatabaseSettings
    lease_seconds: float = 3.0
    admin_token: str = ""
    worker_token: str = ""
    port: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    """More of the environment, for servers and workers."""
    server_program: tuple[str, ...] = ("agentvine",)
    """What a server is started as: a module, and what comes before its own arguments."""
    server: "subprocess.Popen[bytes] | None" = None
    workers: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    async def prepare(self) -> None:
        """Make an admin and the tokens, before any server runs."""
        self.port = free_port()
        database = await Database.open(self.database, SystemClock())
        async with database.transaction() as tx:
            admin = await identity.ensure_first_admin(tx, bcrypt_rounds=4)
            assert admin is not None
            for kind, owner in ((TokenKind.USER, admin.user.id), (TokenKind.WORKER, None)):
                _, text = await tokens.issue_token(
                    tx, kind=kind, name=kind.value, user_id=owner, scopes=[]
                )
                if kind is TokenKind.USER:
                    self.admin_token = text
                else:
                    self.worker_token = text
        await database.close()

    @property
    def url(self) -> str:
        """Where the server listens, in each of its lives."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def worker_data(self) -> Path:
        """The workers' data directory."""
        return self.folder / "worker data"

    def client(self) -> Client:
        """A client of the admin."""
        return Client(self.url, self.admin_token)

    async def start_server(self) -> None:
        """Start the server, and wait until it is ready."""
        self.launch_server()
        await self.until_ready()

    def launch_server(self, *, wrong_by_seconds: float = 0.0) -> "subprocess.Popen[bytes]":
        """Start the server, and do not wait; its clock may be wrong."""
        place = ("--host", "127.0.0.1", "--port", str(self.port))
        self.server = self._start("server", *place, wrong_by_seconds=wrong_by_seconds)
        return self.server

    async def until_ready(self) -> None:
        """Wait until the server takes work; fail when it ends instead, or takes too long."""
        assert self.server is not None
        deadline = time.monotonic() + _READY_SECONDS
        async with Client(self.url, timeout_seconds=5.0) as client:
            while True:
                assert self.server.poll() is None, self.log_tail()
                try:
                    await client.ready()
                except AppError as error:
                    if time.monotonic() > deadline:
                        pytest.fail(f"{error.detail}\n{self.log_tail()}")
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                else:
                    return

    def start_worker(
        self, name: str = "w1", *more: str, url: str | None = None, wrong_by_seconds: float = 0.0
    ) -> "subprocess.Popen[bytes]":
        """Start a worker; it connects when it can, perhaps by way of a proxy."""
        self.workers[name] = self._start(
            "worker",
            "--server",
            url or self.url,
            "--token",
            self.worker_token,
            "--name",
            name,
            *more,
            wrong_by_seconds=wrong_by_seconds,
        )
        return self.workers[name]

    def kill(self, process: "subprocess.Popen[bytes] | None") -> None:
        """SIGKILL, and wait until the process is gone; what it started lives on."""
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(timeout=10)

    def stop(self) -> None:
        """Stop everything in an orderly way, workers first; kill what does not."""
        for process in [*self.workers.values(), self.server]:
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill(process)

    def processes_of(self, task_id: object) -> list[psutil.Process]:
        """Programs that run for a task, by their environment."""
        return [
            process
            for process in psutil.process_iter()
            if _environment(process).get("AGENTVINE_TASK_ID") == str(task_id)
        ]

    def leftovers(self, *known: "subprocess.Popen[bytes] | None") -> list[str]:
        """Worktrees, run folders and programs that should be gone when all work is done.

        Args:
            *known: More processes that may be there.
        """
        found = [str(path) for path in (self.worker_data / "worktrees").glob("*")]
        found += [str(path) for path in self.worker_data.glob("workers/*/runs/*")]
        own = {process.pid for process in [*self.workers.values(), self.server, *known] if process}
        for process in psutil.process_iter():
            environment = _environment(process)
            is_ours = str(self.folder) in environment.get("AGENTVINE_TEST_FOLDER", "")
            if process.pid not in own and (is_ours or "AGENTVINE_RUN_ID" in environment):
                is_in_folder = str(self.folder) in _cwd(process)
                if is_ours or is_in_folder:
                    found.append(f"{process.pid} {_command(process)}")
        return found

    def log_tail(self) -> str:
        """The end of everything the processes printed."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self.folder.glob("*.log"))
        )

    def _start(
        self, command: str, *args: str, wrong_by_seconds: float = 0.0
    ) -> "subprocess.Popen[bytes]":
        environment = {
            **whole_environment(),
            "AGENTVINE_DATABASE_URL": _plain_url(self.database.url),
            "AGENTVINE_DATA_DIR": str(
                self.worker_data if command == "worker" else self.folder / "data"
            ),
            "AGENTVINE_SECRET_KEY": "a key for tests only, of some length",
            "AGENTVINE_QUEUE__LEASE_SECONDS": str(self.lease_seconds),
            "AGENTVINE_QUEUE__HEARTBEAT_SECONDS": str(self.lease_seconds / 4),
            "AGENTVINE_QUEUE__RETRY_BASE_SECONDS": "0.2",
            "AGENTVINE_QUEUE__POLL_INTERVAL_SECONDS": "0.3",
            "AGENTVINE_TEST_FOLDER": str(self.folder),
            **self.settings,
        }
        program = self.server_program if command == "server" else ("agentvine",)
        if wrong_by_seconds:
            program = ("tests.support.wrong_clock", str(wrong_by_seconds))
        if program != ("agentvine",):
            environment["PYTHONPATH"] = str(_ROOT)
        with (self.folder / f"{command}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *program, command, *args],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


def _plain_url(url: str) -> str:
    return url.replace("+aiosqlite", "").replace("+asyncpg", "")


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ() if process.pid != os.getpid() else {}
    except psutil.Error:
        return {}


def _cwd(process: psutil.Process) -> str:
    try:
        return process.cwd()
    except psutil.Error:
        return ""


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return "(gone)"
