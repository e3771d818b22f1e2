"""People who give work during a storm, and what must have become of it."""

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TypeVar

from agentvine.client import Client
from agentvine.kit.errors import Conflict, Unavailable
from agentvine.protocol.enums import PermissionLevel, TaskStatus
from agentvine.protocol.tasks import TaskCreateIn, TaskOut, TaskRun
from tests.chaos.storm.ground import PATIENCE_SECONDS, Ground
from tests.support.histories.history import Fact, History, Kind
from tests.support.repositories import Repo

T = TypeVar("T")

FINAL = {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED}
LONGEST_RUN_SECONDS = 3
_LOOK_AGAIN_SECONDS = 0.2
_CANCELLED_SHARE = 0.1

# The lock tells whether another program of this task still runs: the system lets go of it when
# the last process that holds it is gone, however that ends.
_COMMAND = """
exec 9>>"{marks}/lock-{number}"
if flock --nonblock 9; then alone=1; else alone=0; fi
echo "$(date +%s.%N) $AGENTVINE_TASK_ID $AGENTVINE_EXECUTION_ID $alone" >> "{marks}/{number}"
echo begun >> notes/{number}
for i in $(seq {lines}); do echo line $i; sleep {pause}; done
echo last {lines}
echo ended >> notes/{number}
"""


@dataclass
class Customers:
    """Several people, each of whom gives one task after the other and looks what becomes of it."""

    ground: Ground
    client: Client
    repository_id: uuid.UUID
    repo: Repo
    marks: Path
    """A folder in which programs say when they have begun."""
    ended: list[TaskOut] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def come(self, people: int, until: float) -> None:
        """Give work until this moment of the monotonic clock, and wait for all of it to end."""
        async with asyncio.TaskGroup() as group:
            for _ in range(people):
                group.create_task(self._one(until))

    async def _one(self, until: float) -> None:
        draw = self.ground.draw
        while time.monotonic() < until:
            number = next(self._numbers)
            wanted = self._task(number)
            key = f"storm-{number}-{uuid.uuid4()}"
            task = await insist(lambda t=wanted, k=key: self.client.tasks.create(t, key=k))
            if draw.random() < _CANCELLED_SHARE:
                await asyncio.sleep(draw.uniform(0, LONGEST_RUN_SECONDS))
                await self._cancel(task)
            self.ended.append(await self._end_of(task, until))

    def _task(self, number: int) -> TaskCreateIn:
        lines = self.ground.draw.randint(1, 20)
        pause = round(self.ground.draw.uniform(0, LONGEST_RUN_SECONDS / lines), 3)
        return TaskCreateIn(
            title=f"Write note {number}",
            repository_id=self.repository_id,
            permission=PermissionLevel.AUTONOMOUS,
            run=TaskRun(
                command=_COMMAND.format(marks=self.marks, number=number, lines=lines, pause=pause),
                test_command=f"grep -q ended notes/{number}",
                timeout_seconds=120,
                max_retries=100,
            ),
        )

    async def _cancel(self, task: TaskOut) -> None:
        # It may have ended just now, or an earlier call may have cancelled it.
        with suppress(Conflict):
            await insist(lambda: self.client.tasks.cancel(task.id))

    async def _end_of(self, task: TaskOut, until: float) -> TaskOut:
        now: TaskOut = task
        # While the storm lasts nobody can tell how long it takes.
        longest = max(0.0, until - time.monotonic()) + PATIENCE_SECONDS
        try:
            async with asyncio.timeout(longest):
                while now.status not in FINAL:
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
                    now = await insist(lambda: self.client.tasks.get(task.id))
                return now
        except TimeoutError:
            raise AssertionError(
                f"{task.ref} has not ended: {now.status} ({now.status_reason})\n"
                + self.ground.log_tail()
            ) from None

    async def check_each(self) -> Counter[str]:
        """What is asked of each task that has ended; how many ended in which way."""
        for task in self.ended:
            merged = self._merges(task)
            executions = [row async for row in self.client.executions.list(task_id=task.id)]
            assert all(row.status != "running" for row in executions), f"{task.ref}: {executions}"
            if task.status is TaskStatus.COMPLETED:
                assert merged == 1, f"{task.ref}: merged {merged} times"
                (best,) = [row for row in executions if row.status == "completed"]
                number = task.title.rpartition(" ")[2]
                note = self.repo.git("show", f"main:notes/{number}")
                assert note == "begun\nended", f"{task.ref}: {note!r}"
                await self._check_lines(task, best.id)
            else:
                assert merged == 0, f"{task.ref} is {task.status}, and merged"
                assert task.status is TaskStatus.CANCELLED or task.status_reason, task.ref
        return Counter(task.status.value for task in self.ended)

    def _merges(self, task: TaskOut) -> int:
        told = f"--grep=AgentVine-Task: {task.id}"
        return len(self.repo.git("log", "main", "--first-parent", "--format=%H", told).split())

    async def _check_lines(self, task: TaskOut, execution_id: uuid.UUID) -> None:
        page = await self.client.executions.logs(execution_id, limit=1000, stream="stdout")
        lines = [line.message for line in page.items]
        expected = [f"line {n}" for n in range(1, len(lines))] + [f"last {len(lines) - 1}"]
        assert lines == expected, f"{task.ref}: {lines}"

    def programs(self, history: History) -> History:
        """What the programs have said of themselves, as facts.

        A program that has got its task's lock proves that all earlier ones had ended.
        """
        orders = {
            fact.more["execution"]: (fact.order, fact.fence)
            for fact in history
            if fact.kind is Kind.ATTEMPT
        }
        holders = {
            (fact.order, fact.fence): fact.worker for fact in history if fact.kind is Kind.GRANTED
        }
        facts: list[Fact] = []
        for path in sorted(self.marks.glob("[0-9]*")):
            facts += _facts_of(path, orders, holders)
        return History(facts)


def _facts_of(
    path: Path, orders: dict[str, tuple[str, int]], holders: dict[tuple[str, int], str]
) -> Iterator[Fact]:
    live: list[str] = []
    for line in path.read_text().splitlines():
        at, _task, execution, is_alone = line.split()
        order, fence = orders[execution]
        if is_alone == "1":
            for each in live:
                yield Fact(
                    at=float(at), kind=Kind.PROGRAM_ENDED, order=order, more={"execution": each}
                )
            live.clear()
        live.append(execution)
        yield Fact(
            at=float(at),
            kind=Kind.PROGRAM_STARTED,
            order=order,
            fence=fence,
            worker=holders[order, fence],
            more={"execution": execution},
        )


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer: what cannot be done now says so, and nothing else happens."""
    while True:
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
