"""What is done to a simulated world: each scenario draws its own course from the world's seed."""

import asyncio
import contextlib

from agentvine.kit.errors import Conflict
from agentvine.protocol.enums import TaskStatus
from tests.reliability.simulator.network import Faults
from tests.reliability.simulator.world import LEASE_SECONDS, Scenario, World

_STORM_SECONDS = 60.0
_SHARES = (0.0, 0.0, 0.02, 0.1, 0.3)


async def storm(world: World) -> None:
    """Everything at once: a bad network, kills, holds, cuts, and clocks that are wrong."""
    draw = world.draw
    await world.server.start()
    for _ in range(draw.randint(1, 3)):
        world.add_worker(
            slots=draw.randint(1, 2), wrong_by_seconds=draw.choice((0, 0, 3600, -3600))
        )
    world.wires.faults = Faults(
        lost_requests=draw.choice(_SHARES),
        lost_answers=draw.choice(_SHARES),
        doubled=draw.choice(_SHARES),
        slow=draw.choice(_SHARES),
        slow_seconds=draw.choice((1.0, 10.0, 2 * LEASE_SECONDS)),
    )
    faults = [_later(world, draw.choice(_FAULTS)) for _ in range(draw.randint(0, 5))]
    orders = [_enqueue_later(world, number) for number in range(draw.randint(2, 5))]
    await asyncio.gather(*faults, *orders)
    await world.calm_down()
    await world.until_all_has_ended()


async def lost_answers(world: World) -> None:
    """Answers are lost after the server has done what was asked, and nothing else happens."""
    draw = world.draw
    await world.server.start()
    for _ in range(2):
        world.add_worker(slots=2)
    world.wires.faults = Faults(lost_answers=0.3)
    await asyncio.gather(*(_enqueue_later(world, number) for number in range(draw.randint(3, 6))))
    await world.until_all_has_ended()


async def doubled_requests(world: World) -> None:
    """Requests arrive twice, the second time up to half a minute late, and nothing else happens."""
    draw = world.draw
    await world.server.start()
    for _ in range(2):
        world.add_worker(slots=2)
    world.wires.faults = Faults(doubled=0.5)
    await asyncio.gather(*(_enqueue_later(world, number) for number in range(draw.randint(3, 6))))
    await world.until_all_has_ended()


async def dead_worker(world: World) -> None:
    """A worker and its disk go for good while it runs things, and another is there."""
    draw = world.draw
    await world.server.start()
    worker = world.add_worker(slots=4)
    for number in range(draw.randint(2, 4)):
        await world.enqueue(number)
    await asyncio.sleep(draw.uniform(0.5, 5))
    await worker.kill()
    worker.remove()  # nobody is to wait until its disk is tidy
    world.add_worker(slots=4)
    await world.until_all_has_ended()


async def returning_worker(world: World) -> None:
    """A worker is killed while it runs things, and its next process is there at once."""
    draw = world.draw
    await world.server.start()
    worker = world.add_worker(slots=4)
    for number in range(draw.randint(2, 4)):
        await world.enqueue(number)
    await asyncio.sleep(draw.uniform(0.5, 5))
    await worker.kill()
    worker.start()
    await world.until_all_has_ended()


async def cancels(world: World) -> None:
    """Tasks are cancelled while they run; workers hear of it at once."""
    await world.server.start()
    world.add_worker(slots=4)
    async with world.person() as client:
        for number in range(4):
            await world.enqueue(number)
            await asyncio.sleep(world.draw.uniform(0.5, 3))
        async for task in client.tasks.list():
            if task.status is TaskStatus.IN_PROGRESS:
                with contextlib.suppress(Conflict):  # it may have ended just now
                    await client.tasks.cancel(task.id)
                    world.fault("cancelled", order=str(task.id))
    await world.until_all_has_ended()


async def cancels_told_by_beats(world: World) -> None:
    """The same, but workers cannot listen, as at an older server."""
    world.wires.faults = Faults(broken="/queue/listen")
    await cancels(world)


async def _enqueue_later(world: World, number: int) -> None:
    await asyncio.sleep(world.draw.uniform(0, _STORM_SECONDS / 2))
    await world.enqueue(number)


async def _later(world: World, fault: Scenario) -> None:
    await asyncio.sleep(world.draw.uniform(0, _STORM_SECONDS))
    await fault(world)


async def _kill_server(world: World) -> None:
    if not world.wires.is_listening:
        return
    world.fault("server killed")
    await world.server.kill()
    await asyncio.sleep(world.draw.choice((0.1, 3.0, 2 * LEASE_SECONDS)))
    await world.server.start()
    world.fault("server started")


async def _kill_worker(world: World) -> None:
    worker = world.draw.choice(world.workers)
    if not worker.is_running:
        return
    await worker.kill()
    await asyncio.sleep(world.draw.choice((0.1, 3.0, 2 * LEASE_SECONDS)))
    if not worker.is_running:
        worker.start()


async def _hold_worker(world: World) -> None:
    worker = world.draw.choice(world.workers)
    worker.hold()
    await asyncio.sleep(world.draw.choice((1.0, LEASE_SECONDS, 3 * LEASE_SECONDS)))
    worker.release()


async def _hold_server(world: World) -> None:
    world.fault("server held")
    world.loop.hold("server")
    await asyncio.sleep(world.draw.choice((1.0, LEASE_SECONDS, 3 * LEASE_SECONDS)))
    world.loop.release("server")
    world.fault("server released")


async def _cut_worker(world: World) -> None:
    worker = world.draw.choice(world.workers)
    world.fault("cut off", node=worker.name)
    world.wires.cut_off.add(worker.name)
    await asyncio.sleep(world.draw.choice((1.0, LEASE_SECONDS, 3 * LEASE_SECONDS)))
    world.wires.cut_off.discard(worker.name)
    world.fault("connected", node=worker.name)


async def _step_clock(world: World) -> None:
    world.disk.clock.wrong_by_seconds = world.draw.choice((-300.0, -5.0, 5.0))
    world.fault("clock stepped", by=world.disk.clock.wrong_by_seconds)


_FAULTS: tuple[Scenario, ...] = (
    _kill_server,
    _kill_worker,
    _kill_worker,
    _hold_worker,
    _hold_server,
    _cut_worker,
    _step_clock,
)
