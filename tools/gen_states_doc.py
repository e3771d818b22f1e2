"""``python -m tools.gen_states_doc``: writes docs/reference/states.md from the tables of moves."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from agentvine.domains.executions import states as executions
from agentvine.domains.modifications import states as modifications
from agentvine.domains.plans import states as plans
from agentvine.domains.tasks import states as tasks
from agentvine.domains.work import states as work
from agentvine.protocol.enums import (
    ExecutionPhase,
    ExecutionStatus,
    FailureClass,
    FailureHandling,
    ModificationStatus,
    OrderStatus,
    PlanStatus,
    TaskStatus,
)
from tools.pages import Page, code, table, text_of

S = TypeVar("S", bound=StrEnum)

_HEADER = """\
# States

Written from the transition tables in the code by `python -m tools.gen_states_doc`, not by hand; a
test holds it to them. No other move is possible: what tries one is refused. What moves an order,
and what that means for its task: [the queue](../explanation/queue.md).
"""


_HANDLING = {
    FailureHandling.RETRY: "another attempt after a pause that grows, as often as the task allows.",
    FailureHandling.DELAY: (
        "another attempt when the provider lifts its limit. When the provider told the time, that "
        "costs no retry; otherwise it waits for as long as the settings say, and costs one."
    ),
    FailureHandling.STOP: "the task has failed: the same would fail again.",
    FailureHandling.WAIT: (
        "the task is blocked, with the reason; when a person has put it right, "
        "`agentvine task start` goes on."
    ),
    FailureHandling.ANSWER: (
        "another attempt when somebody has answered the run's question; it costs no retry."
    ),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """The states of one thing, and the table that says where it may go."""

    title: str
    table: str
    """Where the transition table is."""
    begins: tuple[StrEnum, ...]
    moves: Mapping[str, Sequence[str]]
    remark: str = ""


def moves_of(allowed: Mapping[S, frozenset[S]]) -> dict[str, list[str]]:
    """A transition table in the words of the wire, in a stable order."""
    words = {origin: sorted(target.value for target in there) for origin, there in allowed.items()}
    return {origin.value: targets for origin, targets in words.items()}


MACHINES = (
    Machine(
        "Plans",
        "src/agentvine/domains/plans/states.py",
        (PlanStatus.DRAFT,),
        moves_of(plans.ALLOWED),
        "A version. Only a draft can be changed; at most one version of a name is active.",
    ),
    Machine(
        "Tasks",
        "src/agentvine/domains/tasks/states.py",
        (TaskStatus.PENDING,),
        moves_of(tasks.ALLOWED),
        "A task is finished when it is completed, failed or cancelled; the latter two can be tried "
        "again (`agentvine task retry`).",
    ),
    Machine(
        "Work orders",
        "src/agentvine/domains/work/states.py",
        (OrderStatus.PENDING,),
        moves_of(work.ALLOWED),
        "Each is moved by a statement that names the state, and the fence of a claim, in its "
        "condition (`src/agentvine/domains/work/store.py`).",
    ),
    Machine(
        "Executions",
        "src/agentvine/domains/executions/states.py",
        (ExecutionStatus.RUNNING,),
        moves_of(executions.ALLOWED),
        "`timeout` is also how an attempt ends whose lease ran out.",
    ),
    Machine(
        "Modifications",
        "src/agentvine/domains/modifications/states.py",
        (ModificationStatus.PENDING, ModificationStatus.FAILED),
        moves_of(modifications.ALLOWED),
        "The work of a failed run begins as `failed`. A change that could not be applied stays "
        "approved, with a reason; one that is reverted stays applied, with the commit that did it.",
    ),
)


def render() -> str:
    """The whole page."""
    parts = [_HEADER]
    for machine in MACHINES:
        parts += _section(machine)
    return "\n".join([*parts, *_phases(), *_failures()])


def _section(machine: Machine) -> Iterator[str]:
    yield f"## {machine.title}\n"
    yield f"From `{machine.table}`. {machine.remark}\n"
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield from (f"    [*] --> {state}" for state in machine.begins)
    for origin, targets in machine.moves.items():
        yield from (f"    {origin} --> {target}" for target in targets)
        if not targets:
            yield f"    {origin} --> [*]"
    yield "```\n"
    rows = (
        (code(origin), ", ".join(code(target) for target in targets) or "nowhere")
        for origin, targets in machine.moves.items()
    )
    yield from table(("From", "To"), rows)


def _phases() -> Iterator[str]:
    yield "## Phases of a running execution\n"
    yield f"{text_of(ExecutionPhase.__doc__)} The worker's beats tell it, in this order:"
    yield f"{', '.join(code(phase) for phase in ExecutionPhase)}.\n"


def _failures() -> Iterator[str]:
    yield "## Why an attempt fails\n"
    yield f"{text_of(FailureClass.__doc__)}\n"
    rows = ((code(kind), kind.meaning, code(kind.handling)) for kind in FailureClass)
    yield from table(("Class", "What has happened", "Then"), rows)
    yield ""
    for handling, told in _HANDLING.items():
        yield f"- {code(handling)}: {told}"


PAGE = Page("states.md", "tools.gen_states_doc", render)

if __name__ == "__main__":
    sys.exit(PAGE.main())
