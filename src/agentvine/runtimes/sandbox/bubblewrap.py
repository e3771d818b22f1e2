"""The sandbox itself: what a run sees of the machine, put together as a call of bubblewrap.

Everything begins empty. The system's programs are there to read, a few files of /etc, the work
tree to write, and what the policy names. No network but the egress proxy's socket and the doors to
our own server, no processes but its own, no home, no descriptors, no capabilities, no way to make
namespaces.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from agentvine.kit.errors import AppError, Unavailable
from agentvine.kit.ids import random_token
from agentvine.kit.process import ProcessSpec, Stream, run_process
from agentvine.protocol.runs import SandboxNetwork, SandboxPolicy
from agentvine.runtimes.sandbox.doors import Door
from agentvine.runtimes.sandbox.egress import AllowList, EgressProxy
from agentvine.runtimes.sandbox.seccomp import build_filter

HOME = "/home/agent"
_PROXY_PORTS = range(3128, 3160)
_SOCKET_DIR = "/run/agentvine"
_MAX_SOCKET_PLACE = 60
"""Of the 107 bytes that a socket's path may have; the rest is for its folder and its name."""
_BRIDGE = Path(__file__).with_name("bridge.py")
_BRIDGE_INSIDE = f"{_SOCKET_DIR}-bridge.py"
_PROBE_SECONDS = 20.0
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "host.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pki",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "timezone",
)
_PASSWD = f"agent:x:1000:1000:agent:{HOME}:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"
_GROUP = "agent:x:1000:\nnogroup:x:65534:\n"
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
_FORBIDDEN = ("/", "/proc", "/sys", "/dev", "/etc", "/run", "/var/run", "/root", "/home", "/boot")
"""What no policy may open as a whole, nor, but for homes, anything inside."""


class SandboxUnavailable(Unavailable):
    """The sandbox asked for cannot be made here."""

    code = "sandbox_unavailable"
    permanent = True


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """The program, tried out on this machine."""

    program: str
    filter: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A program's call from inside the sandbox."""

    argv: list[str]
    environment: dict[str, str]
    descriptors: tuple[int, ...]
    """To be inherited by bubblewrap, which closes them."""
    proxy: EgressProxy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The sandbox of one run."""

    bubblewrap: Bubblewrap
    policy: SandboxPolicy
    worktree: Path
    readable: Sequence[Path] = ()
    """What of ours it may read: the repository's mirror."""
    writable: Sequence[Path] = ()
    """Where it may leave things beside its work tree."""
    tmp_bytes: int | None = None
    """How large each of its private folders may grow."""
    tls_ports: frozenset[int] = field(default=frozenset({443, 8443}))
    doors: frozenset[Door] = frozenset()
    """Servers that its program may reach whatever the policy says."""
    start: Path | None = None
    """Where its program starts, if not in the work tree."""
    temporary: str = field(default_factory=tempfile.gettempdir)
    """Where its sockets are put, if that leaves room for them in a socket's path."""

    @asynccontextmanager
    async def prepare(
        self, argv: Sequence[str], environment: Mapping[str, str]
    ) -> AsyncGenerator[Prepared]:
        """Put the call together; its proxy lives as long as the block.

        Raises:
            SandboxUnavailable: A folder that the policy names is not there, or may not be opened.
        """
        async with AsyncExitStack() as stack:
            ways = await self._open_ways(stack)
            files = stack.enter_context(ExitStack())
            call = _Call(self, files)
            yield Prepared(
                argv=call.build(argv, ways),
                environment=self._environment(environment, ways),
                descriptors=tuple(call.descriptors),
                proxy=ways.proxy,
            )

    def _environment(self, given: Mapping[str, str], ways: "_Ways") -> dict[str, str]:
        # Of homes there is the sandbox's own, and one that the run was given.
        home = given.get("HOME", "")
        own = {"HOME": home if home and Path(home) in self.writable else HOME, "TMPDIR": "/tmp"}  # noqa: S108 - its own
        own |= {"USER": "agent", "LOGNAME": "agent", "SHELL": "/bin/sh"}
        if ways.proxy is not None:
            address = f"http://127.0.0.1:{ways.proxy_port}"
            for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                own[name] = address
        if ways.direct_hosts:
            own["NO_PROXY"] = own["no_proxy"] = ",".join(dict.fromkeys(ways.direct_hosts))
        return {**given, **own}

    async def _open_ways(self, stack: AsyncExitStack) -> "_Ways":
        is_open = self.policy.network is SandboxNetwork.ALLOW_LIST
        direct = sorted(door for door in self.doors if door.is_direct)
        far = self.doors.difference(direct)
        ways = _Ways()
        if not (is_open or self.doors):
            return ways
        ways.folder = stack.enter_context(_folder_of_sockets(self.temporary))
        for door in direct:
            name = f"door-{door.port}"
            await stack.enter_async_context(door.listening(Path(ways.folder, name)))
            ways.sockets[door.port] = name
            ways.direct_hosts.append(door.host)
        if is_open or far:
            hosts = self.policy.allowed_hosts if is_open else []
            ways.proxy = EgressProxy(AllowList(hosts), tls_ports=self.tls_ports, doors=far)
            await stack.enter_async_context(ways.proxy.listening(Path(ways.folder, "egress")))
            ways.proxy_port = next(port for port in _PROXY_PORTS if port not in ways.sockets)
            ways.sockets[ways.proxy_port] = "egress"
        return ways


@dataclass(slots=True)
class _Ways:
    """How a sandbox is left."""

    folder: str | None = None
    """Where the sockets are."""
    sockets: dict[int, str] = field(default_factory=dict[int, str])
    """By the port of its loopback."""
    direct_hosts: list[str] = field(default_factory=list[str])
    proxy: EgressProxy | None = None
    proxy_port: int = 0


class _Call:
    """One command line in the making."""

    def __init__(self, sandbox: Sandbox, files: ExitStack) -> None:
        self._sandbox = sandbox
        self._files = files
        self._argv: list[str] = [sandbox.bubblewrap.program]
        self.descriptors: list[int] = []

    def build(self, argv: Sequence[str], ways: _Ways) -> list[str]:
        worktree = str(self._sandbox.worktree)
        self._add("--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent")
        self._add("--new-session", "--cap-drop", "ALL", "--uid", "1000", "--gid", "1000")
        self._add("--hostname", "sandbox")
        self._add_system()
        self._add("--proc", "/proc", "--dev", "/dev")
        for place in ("/tmp", "/var/tmp", "/run", HOME):  # noqa: S108 - the sandbox's own
            self._add_private(place)
        self._add_policy()
        for path in self._sandbox.readable:
            self._add("--ro-bind", str(path), str(path))
        self._add("--bind", worktree, worktree)
        if self._sandbox.worktree.joinpath(".git").exists():
            # It points git at the mirror; whoever could change it could lead us elsewhere.
            self._add("--ro-bind", f"{worktree}/.git", f"{worktree}/.git")
        for path in self._sandbox.writable:
            self._add("--bind", str(path), str(path))
        inner = list(argv)
        if ways.folder is not None:
            inner = self._add_bridge(ways.folder, ways.sockets, inner)
        self._add("--remount-ro", "/", "--chdir", str(self._sandbox.start or worktree))
        self._add("--seccomp", str(self._file(self._sandbox.bubblewrap.filter)))
        return [*self._argv, "--", *inner]

    def _add(self, *arguments: str) -> None:
        self._argv += arguments

    def _add_system(self) -> None:
        for path in map(Path, _SYSTEM):
            if path.is_symlink():
                self._add("--symlink", str(path.readlink()), str(path))
            elif path.is_dir():
                self._add("--ro-bind", str(path), str(path))
        for name in _ETC:
            self._add("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
        for name, text in (("passwd", _PASSWD), ("group", _GROUP), ("hosts", _HOSTS)):
            self._add("--ro-bind-data", str(self._file(text.encode())), f"/etc/{name}")

    def _add_private(self, place: str) -> None:
        if self._sandbox.tmp_bytes is not None:
            self._add("--size", str(self._sandbox.tmp_bytes))
        self._add("--perms", "1777" if place.endswith("tmp") else "0755", "--tmpfs", place)

    def _add_policy(self) -> None:
        policy = self._sandbox.policy
        for path in policy.readable:
            self._add("--ro-bind", _checked(path), path)
        for path in policy.writable:
            self._add("--bind", _checked(path), path)

    def _add_bridge(
        self, socket_dir: str, sockets: Mapping[int, str], argv: list[str]
    ) -> list[str]:
        """The interpreter we run on is the one thing of ours that is there for sure."""
        python = Path(sys.executable).resolve()
        for prefix in dict.fromkeys((python.parent.parent, Path(sys.base_prefix).resolve())):
            if not prefix.is_relative_to("/usr"):
                self._add("--ro-bind", str(prefix), str(prefix))
        self._add("--ro-bind", socket_dir, _SOCKET_DIR)
        self._add("--ro-bind", str(_BRIDGE), _BRIDGE_INSIDE)
        targets = ",".join(f"{port}={_SOCKET_DIR}/{name}" for port, name in sockets.items())
        return [str(python), "-I", "-S", _BRIDGE_INSIDE, targets, *argv]

    def _file(self, content: bytes) -> int:
        """Hand content over by a descriptor: nothing of it is on the disk."""
        descriptor = os.memfd_create("sandbox", 0)
        self._files.callback(os.close, descriptor)
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        self.descriptors.append(descriptor)
        return descriptor


async def find_bubblewrap() -> Bubblewrap:
    """Find the program and try it out.

    Raises:
        SandboxUnavailable: It is not here, or this machine does not let it work.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxUnavailable(
            "bwrap is not installed here: install the package bubblewrap on the worker's machine."
        )
    program_filter = build_filter()
    if program_filter is None:
        raise SandboxUnavailable("There is no filter of system calls for this kind of processor.")
    found = Bubblewrap(program, program_filter)
    with tempfile.TemporaryDirectory(prefix="agentvine-") as folder:
        sandbox = Sandbox(bubblewrap=found, policy=SandboxPolicy(), worktree=Path(folder))
        async with sandbox.prepare(["/bin/true"], {}) as prepared:
            problem = await _try(prepared, Path(folder))
    if problem:
        raise SandboxUnavailable(
            f"bwrap does not work here: {problem}. It needs user namespaces, which a container or "
            "kernel.unprivileged_userns_clone may forbid."
        )
    return found


async def _try(prepared: Prepared, folder: Path) -> str:
    """Run it; what went wrong."""
    told = bytearray()

    async def keep(_: Stream, chunk: bytes) -> None:
        told.extend(chunk)

    spec = ProcessSpec(
        argv=prepared.argv,
        cwd=folder,
        environment=prepared.environment,
        run_id=f"probe-{random_token(8)}",
        timeout_seconds=_PROBE_SECONDS,
        descriptors=prepared.descriptors,
    )
    try:
        ended = await run_process(spec, keep)
    except AppError as error:
        return error.detail
    said = told.decode(errors="replace").strip()[-300:]
    return "" if ended.is_success else said or f"it ended with {ended.exit_code or ended.signal}"


def _folder_of_sockets(place: str) -> tempfile.TemporaryDirectory[str]:
    """Not in the data directory, and not below a long TMPDIR: a socket's path has to be short."""
    is_short = len(place) <= _MAX_SOCKET_PLACE
    return tempfile.TemporaryDirectory(prefix="agentvine-", dir=place if is_short else "/tmp")  # noqa: S108 - only its owner sees into it


def _checked(path: str) -> str:
    """See that a policy's folder may be opened.

    Raises:
        SandboxUnavailable: It is not there, or nobody should see it.
    """
    real = Path(path).resolve()
    if not real.exists():
        raise SandboxUnavailable(f"{path} is not on the worker's machine.")
    inner = [each for each in _FORBIDDEN if each not in {"/", "/home", "/root"}]
    if str(real) in _FORBIDDEN or any(real.is_relative_to(each) for each in inner):
        raise SandboxUnavailable(f"{path} is not to be seen in a sandbox; name a folder of tools.")
    return str(real)
