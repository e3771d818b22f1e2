"""A hostile program in the sandbox: what it can read, reach and do (threats T5, T6, T7).

Where this machine allows no sandbox, the same tests prove that nothing weaker is started.
"""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentvine.kit.process import probe_containment
from agentvine.protocol.runs import SandboxNetwork, SandboxPolicy
from agentvine.runtimes.base import RunContext
from agentvine.runtimes.command.driver import CommandRuntime
from agentvine.runtimes.sandbox import Bubblewrap, Sandbox, SandboxUnavailable, find_bubblewrap
from agentvine.runtimes.sandbox.doors import Door
from tests.runtimes.conftest import KeptLines, MakeContext
from tests.support.repositories import make_repo

pytestmark = pytest.mark.timeout(120)

CANARY = "canary-5f1c2e9a7d"

# Told to the program in its first argument: where the canary lies on the worker's machine.
READ = """
import base64, json, os, subprocess, sys
places = json.loads(sys.argv[1])
# Backwards in our own arguments, which everybody may read.
places["canary"] = places["canary"][::-1]
found, tried = {}, 0
def look(name, read):
    global tried
    tried += 1
    try:
        text = read()
    except Exception as error:
        found[name] = f"no: {type(error).__name__}"
        return
    found[name] = "CANARY" if places["canary"] in str(text) else "nothing"
def file(path): return lambda: open(path, errors="replace").read()
def out(*argv):
    return lambda: subprocess.run(argv, capture_output=True, text=True, timeout=10).stdout
for path in places["files"]: look(path, file(path))
worker = places["pid"]
for part in ("environ", "cmdline", "maps", "fd/0", "cwd/secret.txt", "root" + places["files"][0]):
    look(f"/proc/{worker}/{part}", file(f"/proc/{worker}/{part}"))
for pid in (1, 2, os.getppid(), "self", "thread-self"):
    look(f"/proc/{pid}/environ", file(f"/proc/{pid}/environ"))
look("own environment", lambda: dict(os.environ))
look("env", out("env"))
look("set", out("sh", "-c", "set"))
look("ps", out("ps", "auxeww"))
def all_environments():
    return [open(f"/proc/{pid}/environ").read() for pid in os.listdir("/proc") if pid.isdigit()]
look("every environ", all_environments)
def descriptors():
    texts = []
    for fd in range(3, 1024):
        try: texts.append(os.pread(fd, 10_000, 0))
        except OSError: pass
    return texts
look("inherited descriptors", descriptors)
def walk():
    hits = []
    for base, folders, names in os.walk("/"):
        if base in ("/proc", "/sys", "/usr", "/dev"): folders.clear(); continue
        for name in names:
            try:
                with open(os.path.join(base, name), errors="replace") as file:
                    if places["canary"] in file.read(100_000): hits.append(os.path.join(base, name))
            except OSError: pass
    return hits and places["canary"]
look("the whole file system", walk)
look("a link", lambda: (os.symlink(places["files"][0], "link"), open("link").read()))
look("a link of .git", lambda: open(".git/../../secret.txt").read())
look("git config", out("git", "config", "--list", "--show-origin"))
look("mounts", file("/proc/self/mountinfo"))
for name in ("HISTFILE", "SSH_AUTH_SOCK"): look(name, lambda: os.environ[name])
look("shared memory", lambda: [open(f"/dev/shm/{name}").read() for name in os.listdir("/dev/shm")])
print(json.dumps({"tried": tried, "found": found}))
"""

PROBES = """
import ctypes, json, os, resource, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
results = {}
def call(name, number, *arguments):
    result = libc.syscall(number, *arguments)
    results[name] = 0 if result >= 0 else ctypes.get_errno()
calls = json.loads(sys.argv[1])
for name, (number, arguments) in calls.items(): call(name, number, *arguments)
def attempt(name, do):
    try: do(); results[name] = 0
    except OSError as error: results[name] = error.errno
attempt("write /usr", lambda: open("/usr/planted", "w"))
attempt("write /etc", lambda: open("/etc/planted", "w"))
attempt("write /", lambda: open("/planted", "w"))
attempt("write .git", lambda: open(".git", "a"))
attempt("remove .git", lambda: os.unlink(".git"))
attempt("replace .git", lambda: os.rename(".git", "git"))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
attempt("packet", lambda: socket.socket(17, socket.SOCK_RAW))
attempt("setuid", lambda: os.setuid(0))
attempt("device", lambda: os.mknod("disk", 0o60600, os.makedev(254, 0)))
attempt("docker.sock", lambda: socket.socket(socket.AF_UNIX).connect("/var/run/docker.sock"))
status = open("/proc/self/status").read()
def line(name): return status.split(name + ":")[1].split()[0]
results["capabilities"] = line("CapEff")
results["no new privileges"] = line("NoNewPrivs")
results["seccomp"] = line("Seccomp")
results["uid"] = os.getuid()
results["processes"] = len([pid for pid in os.listdir("/proc") if pid.isdigit()])
open("work.txt", "w").write("done")
open(os.environ["TMPDIR"] + "/scratch", "w").write("private")
open(os.path.expanduser("~/scratch"), "w").write("private")
print(json.dumps(results))
"""

X86 = {
    "ptrace": (101, [0, 0, 0, 0]),
    "process_vm_readv": (310, [1, 0, 0, 0, 0, 0]),
    "mount": (165, [0, 0, 0, 0, 0]),
    "umount2": (166, [0, 0]),
    "pivot_root": (155, [0, 0]),
    "unshare user": (272, [0x10000000]),
    "unshare mount": (272, [0x00020000]),
    "setns": (308, [0, 0]),
    "clone into a user namespace": (56, [0x10000000 | 17, 0, 0, 0, 0]),
    "keyctl": (250, [0, -3, 0]),
    "add_key": (248, [0, 0, 0, 0, 0]),
    "request_key": (249, [0, 0, 0, 0]),
    "userfaultfd": (323, [0]),
    "io_uring_setup": (425, [8, 0]),
    "bpf": (321, [0, 0, 0]),
    "perf_event_open": (298, [0, 0, 0, 0, 0]),
    "open_by_handle_at": (304, [0, 0, 0]),
    "fsopen": (430, [0, 0]),
    "reboot": (169, [0, 0, 0, 0]),
    "init_module": (175, [0, 0, 0]),
    "x32 ptrace": (0x40000000 + 521, [0, 0, 0, 0]),
}
"""By their numbers, because libraries do not offer all of them."""


@pytest.fixture
async def bubblewrap() -> Bubblewrap | None:
    try:
        return await find_bubblewrap()
    except SandboxUnavailable:
        return None


async def run_inside(
    bubblewrap: Bubblewrap | None,
    make_context: MakeContext,
    sink: KeptLines,
    script: str,
    argument: Any = None,
    **sandbox: Any,
) -> Any:
    """What a hostile script printed as JSON; None when this machine allows no sandbox."""
    if bubblewrap is None:
        with pytest.raises(SandboxUnavailable, match="bwrap"):
            await find_bubblewrap()
        return None
    context = make_context("unused")
    (context.worktree / "hostile.py").write_text(script)
    settings: dict[str, Any] = {"policy": SandboxPolicy(), "worktree": context.worktree} | sandbox
    inner = make_context(
        f"python3 hostile.py '{json.dumps(argument)}'",
        sandbox=Sandbox(bubblewrap=bubblewrap, **settings),
        containment=(await probe_containment()).best,
    )
    outcome = await CommandRuntime().run(inner)
    assert outcome.is_success, sink.lines
    return json.loads(sink.of("stdout")[-1])


async def test_no_secret_of_the_worker_is_to_be_read(
    bubblewrap: Bubblewrap | None,
    make_context: MakeContext,
    sink: KeptLines,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
):
    outside = tmp_path_factory.mktemp("worker")
    files = [
        outside / name
        for name in (
            "secret.txt",
            ".ssh/id_ed25519",
            ".aws/credentials",
            ".netrc",
            ".git-credentials",
            ".config/agentvine/token",
            "workers/w1/claim.json",
        )
    ]
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(CANARY)
    for name in ("AGENTVINE_TOKEN", "ANTHROPIC_API_KEY", "SSH_AUTH_SOCK", "HISTFILE"):
        monkeypatch.setenv(name, CANARY)
    held = os.open(files[0], os.O_RDONLY)
    os.set_inheritable(held, True)
    secret = await asyncio.create_subprocess_exec(
        "sleep", "60", env={"SECRET": CANARY, "PATH": os.defpath}, cwd=outside
    )
    shadow = ["/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssh/ssh_host_rsa_key"]
    try:
        told = await run_inside(
            bubblewrap,
            make_context,
            sink,
            READ,
            {"canary": CANARY[::-1], "files": [*map(str, files), *shadow], "pid": secret.pid},
        )
    finally:
        os.close(held)
        secret.kill()
        await secret.wait()
    if told is None:
        return
    assert told["tried"] >= 30
    assert [name for name, said in told["found"].items() if said == "CANARY"] == []
    assert all(told["found"][name].startswith("no:") for name in shadow)


async def test_what_kernels_are_broken_out_of_by_is_refused(
    bubblewrap: Bubblewrap | None, make_context: MakeContext, sink: KeptLines, tmp_path: Path
):
    is_x86 = os.uname().machine == "x86_64"
    calls = {name: call for name, call in X86.items() if is_x86 and "x32" not in name}
    (tmp_path / ".git").write_text("gitdir: elsewhere\n")
    told = await run_inside(bubblewrap, make_context, sink, PROBES, calls)
    if told is None:
        return
    assert {name: told[name] for name in calls if told[name] == 0} == {}
    assert all(told[name] in {1, 38} for name in calls if not name.startswith("clone"))
    for name in (
        "write /usr",
        "write /etc",
        "write /",
        "write .git",
        "remove .git",
        "replace .git",
    ):
        assert told[name] in {1, 13, 16, 30}, name
    assert told["vsock"] == told["packet"] == 97
    assert told["setuid"] != 0
    assert told["device"] != 0
    assert told["docker.sock"] == 2
    assert int(told["capabilities"], 16) == 0
    assert (told["no new privileges"], told["seccomp"], told["uid"]) == ("1", "2", 1000)
    assert told["processes"] <= 4
    assert (tmp_path / "work.txt").read_text() == "done"
    assert not (tmp_path.parents[-2] / "scratch").exists()


async def test_the_other_numbers_of_a_call_end_the_program(
    bubblewrap: Bubblewrap | None, make_context: MakeContext, sink: KeptLines
):
    if bubblewrap is None or os.uname().machine != "x86_64":
        assert await run_inside(bubblewrap, make_context, sink, "print('1')") in {None, 1}
        return
    number, _ = X86["x32 ptrace"]
    script = f"import ctypes; ctypes.CDLL(None).syscall({number}, 0, 0, 0, 0); print('lived')"
    command = f'python3 -c "{script}"; echo "code $?"'
    sandbox = Sandbox(
        bubblewrap=bubblewrap, policy=SandboxPolicy(), worktree=make_context("").worktree
    )
    await CommandRuntime().run(make_context(command, sandbox=sandbox))
    assert sink.of("stdout") == ["code 159"], "128 and SIGSYS"


NETWORK = """
import json, os, socket, sys
told, results = json.loads(sys.argv[1]), {}
def attempt(name, do):
    try: results[name] = do() or "reached"
    except Exception as error: results[name] = f"no: {type(error).__name__}"
def tcp(family, address):
    def do():
        with socket.socket(family) as s:
            s.settimeout(3); s.connect(tuple(address))
            return s.recv(10).decode()
    return do
attempt("loopback of the worker", tcp(socket.AF_INET, told["v4"]))
attempt("its other address", tcp(socket.AF_INET, ["10.0.0.1", 80]))
attempt("the metadata service", tcp(socket.AF_INET, ["169.254.169.254", 80]))
attempt("IPv6 loopback", tcp(socket.AF_INET6, ["::1", told["v4"][1]]))
attempt("IPv6", tcp(socket.AF_INET6, ["2001:db8::1", 443]))
attempt("DNS by the library", lambda: socket.getaddrinfo("example.com", 443))
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2); s.sendto(b"query", ("9.9.9.9", 53)); return s.recv(10)
attempt("DNS by UDP", udp)
def unix(path):
    def do():
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(2); s.connect(path); return s.recv(10).decode()
    return do
attempt("a socket in a folder", unix(told["unix"]))
attempt("an abstract socket", unix("\\0" + told["abstract"]))
attempt("interfaces", lambda: ",".join(name for _, name in socket.if_nameindex()))
def descriptor():
    for fd in range(3, 1024):
        try:
            with socket.socket(fileno=os.dup(fd)) as s: s.send(b"leak"); return "reached"
        except OSError: pass
    raise OSError
attempt("an inherited socket", descriptor)
print(json.dumps(results))
"""


@asynccontextmanager
async def listening(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """What a program without a sandbox would reach."""

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    path, abstract = folder / "s", f"agentvine-test-{os.getpid()}"
    async with AsyncExitStack() as stack:
        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        await stack.enter_async_context(server)
        await stack.enter_async_context(await asyncio.start_unix_server(greet, path))
        await stack.enter_async_context(await asyncio.start_unix_server(greet, f"\0{abstract}"))
        yield {
            "v4": list(server.sockets[0].getsockname()),
            "unix": str(path),
            "abstract": abstract,
        }


@pytest.mark.parametrize("network", list(SandboxNetwork))
async def test_there_is_no_way_out_but_the_proxy(
    bubblewrap: Bubblewrap | None,
    make_context: MakeContext,
    sink: KeptLines,
    tmp_path_factory: pytest.TempPathFactory,
    network: SandboxNetwork,
):
    pair = socket.socketpair()
    for each in pair:
        each.set_inheritable(True)
    async with listening(tmp_path_factory.mktemp("s")) as places:
        policy = SandboxPolicy(network=network, allowed_hosts=["allowed.example"])
        told = await run_inside(bubblewrap, make_context, sink, NETWORK, places, policy=policy)
    for each in pair:
        each.close()
    if told is None:
        return
    assert told.pop("interfaces") == "lo"
    assert [name for name, said in told.items() if not said.startswith("no:")] == []


async def test_a_door_leads_to_its_server_and_nowhere_else(
    bubblewrap: Bubblewrap | None,
    make_context: MakeContext,
    sink: KeptLines,
    tmp_path_factory: pytest.TempPathFactory,
):
    # A socket's path has at most 107 bytes, wherever the worker's temporary folder is.
    temporary = str(tmp_path_factory.mktemp("long" * 30))
    async with listening(tmp_path_factory.mktemp("s")) as places:
        doors = frozenset({Door(*places["v4"])})
        more: dict[str, Any] = {"doors": doors, "temporary": temporary}
        told = await run_inside(bubblewrap, make_context, sink, NETWORK, places, **more)
    if told is None:
        return
    assert told.pop("interfaces") == "lo"
    assert told.pop("loopback of the worker") == "hello"
    assert [name for name, said in told.items() if not said.startswith("no:")] == []


async def test_git_can_look_but_not_touch_in_the_mirror(
    bubblewrap: Bubblewrap | None, make_context: MakeContext, sink: KeptLines, tmp_path: Path
):
    repo = make_repo(tmp_path / "mirror")
    worktree = tmp_path / "tree"
    repo.git("worktree", "add", "-q", "-b", "work", worktree)
    script = (
        "import json, os, subprocess\n"
        "def git(*argv): return subprocess.run(['git', *argv], capture_output=True).returncode\n"
        "open('new.txt', 'w').write('new')\n"
        "common = subprocess.run(['git', 'rev-parse', '--git-common-dir'],\n"
        "    capture_output=True, text=True).stdout.strip()\n"
        "def plant():\n"
        "    try: open(os.path.join(common, 'hooks', 'pre-commit'), 'w'); return 'planted'\n"
        "    except OSError: return 'refused'\n"
        "print(json.dumps({'status': git('status'), 'log': git('log'), 'diff': git('diff'),\n"
        "    'config': git('config', 'core.fsmonitor', 'evil'),\n"
        "    'branch': git('branch', '-f', 'main', 'HEAD'), 'hook': plant()}))\n"
    )
    told = await run_inside(
        bubblewrap,
        lambda command, **changes: make_context(command, **({"worktree": worktree} | changes)),
        sink,
        script,
        readable=(tmp_path / "mirror",),
    )
    if told is None:
        return
    assert (told["status"], told["log"], told["diff"]) == (0, 0, 0)
    assert told["config"] != 0
    assert told["branch"] != 0
    assert told["hook"] == "refused"
    assert (worktree / "new.txt").read_text() == "new"


@pytest.mark.parametrize("path", ["/proc", "/root", "/etc", "/etc/ssh", "/run/user", "/nowhere"])
async def test_a_policy_that_opens_too_much_or_nothing_is_refused_not_weakened(
    bubblewrap: Bubblewrap | None, make_context: MakeContext, path: str
):
    program = bubblewrap or Bubblewrap("bwrap", b"")
    for policy in (SandboxPolicy(readable=[path]), SandboxPolicy(writable=[path])):
        context: RunContext = make_context("touch started")
        sandbox = Sandbox(bubblewrap=program, policy=policy, worktree=context.worktree)
        with pytest.raises(SandboxUnavailable):
            await CommandRuntime().run(make_context("touch started", sandbox=sandbox))
        assert not (context.worktree / "started").exists()


async def test_without_bubblewrap_nothing_starts_and_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxUnavailable, match="install the package bubblewrap"):
        await find_bubblewrap()


async def test_where_the_machine_forbids_it_the_message_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    forbidden = tmp_path / "bwrap"
    told = "bwrap: No permissions to create new namespace"
    forbidden.write_text(f"#!/bin/sh\necho '{told}' >&2\nexit 1\n")
    forbidden.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    with pytest.raises(SandboxUnavailable, match=r"No permissions .* user namespaces"):
        await find_bubblewrap()
