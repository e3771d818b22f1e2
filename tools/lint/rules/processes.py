"""Programs are started by ``kit/process.py``, which also ends them.

A child started by hand outlives us: it has no process group to kill, no bounded wait for its pipes,
the whole environment with its secrets, and may be started inside an open transaction, which then
holds the database for as long as the program runs.
"""

from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_MODULES = ("subprocess", "multiprocessing", "pty", "concurrent.futures.ProcessPoolExecutor")
_CALLS = (
    "asyncio.create_subprocess_",
    "asyncio.subprocess",
    "os.exec",
    "os.spawn",
    "os.posix_spawn",
)
_EXACT = {"os.system", "os.popen", "os.fork", "os.forkpty"}


def check(source: SourceFile) -> Iterator[Finding]:
    """Imports of the modules that start programs, and uses of the functions that do."""
    for statement, module in source.imported_modules():
        if any(f"{module}.".startswith(f"{banned}.") for banned in _MODULES):
            yield Finding.at(statement, f"{module}: start programs through kit/process.py")
    for node, name in source.references():
        if name in _EXACT or name.startswith(_CALLS):
            yield Finding.at(node, f"{name}: start programs through kit/process.py")


RULE = Rule(
    code="AV011",
    title="programs are started by kit/process and the git runner only",
    scope=Scope(
        include=("src/agentvine/*",),
        exclude=(
            "src/agentvine/kit/process.py",
            "src/agentvine/kit/process/*",
            "src/agentvine/git/runner.py",
        ),
    ),
    words=("subprocess", "multiprocessing", "pty", "os", "ProcessPool"),
    check=check,
    good=(
        Sample("src/agentvine/kit/process.py", "import subprocess\n"),
        Sample("src/agentvine/git/runner.py", "import asyncio\nasyncio.create_subprocess_exec()\n"),
        Sample("src/agentvine/worker/run.py", "import os\nos.kill(pid, 0)\n"),
        Sample("src/agentvine/worker/run.py", "from agentvine.kit import process\n"),
    ),
    bad=(
        Sample("src/agentvine/worker/run.py", "import subprocess\n"),
        Sample("src/agentvine/worker/run.py", "from subprocess import Popen\n"),
        Sample("src/agentvine/db/backup.py", "import asyncio\nasyncio.create_subprocess_exec()\n"),
        Sample("src/agentvine/cli/main.py", 'import os\nos.execvp("git", ["git"])\n'),
        Sample("src/agentvine/cli/main.py", 'import os\nos.system("ls")\n'),
    ),
)
