"""What a storm does: each fault takes one target, holds it for a while, and lets it go again."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psutil

from tests.chaos.storm.ground import LEASE_SECONDS, PATIENCE_SECONDS, WORKERS, Ground
from tests.support.bad_network import Mode

_AT_ONCE = 3
_LOOK_AGAIN_SECONDS = 0.05

Fault = Callable[[Ground, str], Awaitable[None]]
"""Done to the target of this name."""


async def blow(ground: Ground, until: float) -> Counter[str]:
    """Draw faults and let them happen, a few at a time, each target's one after the other.

    Whatever was killed or cut off is left alone until it is back: how fast the faults come is
    decided by the machine, so that between them something gets done on a slow one, too.

    Args:
        ground: What they happen to.
        until: When to begin no more, on the monotonic clock.

    Returns:
        How many of which were done.
    """
    done, busy = Counter[str](), set[str]()
    kinds = faults_of(ground)
    async with asyncio.TaskGroup() as group:
        while time.monotonic() < until:
            if len(busy) >= _AT_ONCE:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                continue
            fault = ground.draw.choice(sorted(kinds, key=lambda each: each.__name__))
            target = ground.draw.choice(kinds[fault])
            if target not in busy:
                what = fault.__name__.replace("_", " ")
                done[what] += 1
                ground.fault(what, target)
                busy.add(target)
                group.create_task(_one(fault, ground, target, busy))
            await asyncio.sleep(ground.draw.uniform(0.1, 1.0))
    return done


async def _one(fault: Fault, ground: Ground, target: str, busy: set[str]) -> None:
    await fault(ground, target)
    busy.discard(target)


def faults_of(ground: Ground) -> dict[Fault, list[str]]:
    """What can be done here, and to whom."""
    servers = [name for name in ground.nodes if name not in WORKERS]
    kinds: dict[Fault, list[str]] = {
        server_killed: servers,
        server_held: servers,
        worker_killed: list(WORKERS),
        worker_held: list(WORKERS),
        program_killed: ["programs"],
        connections_cut: [*WORKERS, "person"],
        network_bad: [*WORKERS, "person"],
    }
    if ground.postgres is not None:
        kinds[database_crashed] = ["database server"]
        kinds[database_cut] = ["database"]
    return kinds


def _pause(ground: Ground) -> float:
    return ground.draw.choice((0.0, 0.5, LEASE_SECONDS / 2, 1.5 * LEASE_SECONDS))


async def server_killed(ground: Ground, name: str) -> None:
    """SIGKILL, and a new life after a while; nothing else is done to it until it answers."""
    await _kill(ground, name)
    await ground.until_it_answers(name)


async def _kill(ground: Ground, name: str) -> None:
    node = ground.nodes[name]
    node.is_wanted = False
    node.kill()
    await asyncio.sleep(_pause(ground))
    node.start()
    node.is_wanted = True


async def server_held(ground: Ground, name: str) -> None:
    """SIGSTOP, and SIGCONT after a while."""
    await _hold(ground, name)


async def _hold(ground: Ground, name: str) -> None:
    ground.nodes[name].signal(signal.SIGSTOP)
    await asyncio.sleep(_pause(ground))
    ground.nodes[name].signal(signal.SIGCONT)


async def worker_killed(ground: Ground, name: str) -> None:
    """SIGKILL: its programs live on until it is back."""
    since, connections = time.time(), ground.proxies[name].passed_count
    await _kill(ground, name)
    ground.stopped.append((name, since, time.time()))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while ground.proxies[name].passed_count == connections:  # noqa: ASYNC110 - it starts
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)


async def worker_held(ground: Ground, name: str) -> None:
    """SIGSTOP: its programs go on, and it cannot end them."""
    since = time.time()
    await _hold(ground, name)
    ground.stopped.append((name, since, time.time()))


async def program_killed(ground: Ground, _target: str) -> None:
    """SIGKILL to one process of a run."""
    programs = [each for each in psutil.process_iter() if _is_of_a_run(each, str(ground.folder))]
    if programs:
        with suppress(psutil.Error):
            ground.draw.choice(programs).kill()


def _is_of_a_run(process: psutil.Process, folder: str) -> bool:
    try:
        return "AGENTVINE_RUN_ID" in process.environ() and process.cwd().startswith(folder)
    except psutil.Error:
        return False


async def connections_cut(ground: Ground, name: str) -> None:
    """All connections of one side are reset."""
    ground.proxies[name].cut()


async def network_bad(ground: Ground, name: str) -> None:
    """Nothing passes, or no answer, or everything twice."""
    await _treat(ground, name, ground.draw.choice((Mode.STALL, Mode.HALF_OPEN, Mode.DOUBLE)))


async def database_cut(ground: Ground, name: str) -> None:
    """Servers lose the database, in the middle of whatever they do; some commits go unanswered."""
    await _treat(ground, name, ground.draw.choice((Mode.PASS, Mode.STALL, Mode.HALF_OPEN)))
    await ground.until_one_is_ready()


async def _treat(ground: Ground, name: str, mode: Mode) -> None:
    proxy = ground.proxies[name]
    proxy.mode = mode
    await asyncio.sleep(_pause(ground))
    proxy.mode = Mode.PASS
    proxy.cut()


async def database_crashed(ground: Ground, _target: str) -> None:
    """PostgreSQL stops at once, and comes back after a while."""
    assert ground.postgres is not None
    await asyncio.to_thread(ground.postgres.crash)
    await asyncio.sleep(_pause(ground) / 2)
    await asyncio.to_thread(ground.postgres.start_again)
    await ground.until_one_is_ready()
