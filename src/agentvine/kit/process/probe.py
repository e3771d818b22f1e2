"""Finding out what this machine allows for holding a run's processes, by doing it once."""

import asyncio
import contextlib
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from agentvine.kit.process.containment import (
    BY_GROUP,
    Containment,
    ContainmentLevel,
    ControlGroup,
    Probe,
)
from agentvine.kit.process.kept import keeper_argv

_PROBE_SECONDS = 20.0


async def probe_containment() -> Probe:
    """Find out what this machine allows, by doing it, once in our life: it does not change."""
    return await asyncio.to_thread(_probe)


@functools.cache
def _probe() -> Probe:
    if sys.platform != "linux":
        reason = "needs Linux"
        levels = (
            ContainmentLevel.NAMESPACE,
            ContainmentLevel.CGROUP,
            ContainmentLevel.SUBREAPER,
        )
        return Probe(BY_GROUP, dict.fromkeys(levels, reason))
    problems: dict[ContainmentLevel, str] = {}
    parent, problem = _find_cgroups()
    if problem:
        problems[ContainmentLevel.CGROUP] = problem
    for level, group in (
        (ContainmentLevel.NAMESPACE, None),
        (ContainmentLevel.CGROUP, parent),
        (ContainmentLevel.SUBREAPER, None),
    ):
        if level not in problems and (problem := _try(level, group)):
            problems[level] = problem
    if ContainmentLevel.CGROUP in problems:
        parent = None
    best = next(level for level in ContainmentLevel if level not in problems)
    has_group = best in {ContainmentLevel.NAMESPACE, ContainmentLevel.CGROUP}
    return Probe(Containment(level=best, cgroups=parent if has_group else None), problems)


def _find_cgroups() -> tuple[Path | None, str]:
    """Our own control group, if we may make others in it."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        memberships = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError as error:
        return None, f"cannot be looked up: {error}"
    roots = [line.split()[4] for line in mounts if " - cgroup2 " in line]
    own = [line.removeprefix("0::") for line in memberships if line.startswith("0::")]
    if not roots or not own:
        return None, "no cgroup v2 is mounted"
    parent = Path(roots[0], own[0].lstrip("/"))
    # Only where nothing lives in the group itself, or at the root, is this allowed.
    with contextlib.suppress(OSError):
        (parent / "cgroup.subtree_control").write_text("+memory +pids")
    try:
        group = ControlGroup(parent, "probe")
    except OSError as error:
        return None, f"no group may be made in {parent}: {os.strerror(error.errno or 0)}"
    ControlGroup.remove_abandoned(parent)
    can_kill = (group.path / "cgroup.kill").exists()
    group.remove()
    return (parent, "") if can_kill else (None, "cgroup.kill is missing: Linux 5.14 has it")


def _try(level: ContainmentLevel, parent: Path | None) -> str:
    """Run ``true`` in it; what went wrong."""
    try:
        group = ControlGroup(parent, "probe") if parent else None
    except OSError as error:
        return str(error)
    # Closed at once: the keeper goes as soon as it has told us how it went.
    lifeline, other_end = os.pipe()
    os.close(other_end)
    try:
        with tempfile.TemporaryFile() as status:
            argv = keeper_argv(
                ["/bin/true"],
                program="/bin/true",
                is_namespace=level is ContainmentLevel.NAMESPACE,
                group=group,
                rlimits={},
                pipes=(status.fileno(), lifeline),
            )
            ended = subprocess.run(
                argv,
                check=False,
                pass_fds=(status.fileno(), lifeline),
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_PROBE_SECONDS,
            )
            status.seek(0)
            told = status.read().decode()
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        os.close(lifeline)
        if group is not None:
            group.remove()
    if '"started": true' in told:
        return ""
    return (
        told.strip() or ended.stderr.decode(errors="replace").strip()[-200:] or "it did not start"
    )
