"""What a version of a plan wants of the tasks that are there: pure, so that it can be looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.service import why_cancelled
from agentvine.domains.tasks.states import FINAL
from agentvine.protocol.planning import StepAction
from agentvine.protocol.plans import PlanStep

_ORDER_ONLY = {"depends_on"}
"""What does not make a step another one: its task is given what it waits for anew."""


@dataclass(frozen=True, slots=True)
class MadeTask:
    """A task that was made of a step."""

    task: Task
    version: int
    step: PlanStep | None
    """As it was in that version; None where it cannot be read any more."""

    @property
    def key(self) -> str:
        """Of the step."""
        return self.task.plan_step or ""

    @property
    def is_open(self) -> bool:
        """Whether it can still be cancelled, and nobody has done so."""
        return (
            self.task.status not in FINAL
            and self.task.deleted_at is None
            and why_cancelled(self.task) is None
        )


@dataclass(frozen=True, slots=True)
class Item:
    """What becomes of one step, or of one task."""

    key: str
    title: str
    action: StepAction
    reason: str
    step: PlanStep | None = None
    """To be added, or kept."""
    task: Task | None = None
    """To be kept, or cancelled."""


def find_drift(version: int, steps: Sequence[PlanStep], made: Sequence[MadeTask]) -> list[Item]:
    """What is to be kept, cancelled and added, so that the tasks are those of a version.

    Args:
        version: Its number.
        steps: Its steps, in their order.
        made: All tasks made of any version of the plan.
    """
    of_key: dict[str, list[MadeTask]] = {}
    for one in sorted(made, key=lambda one: (one.version, one.task.number)):
        of_key.setdefault(one.key, []).append(one)
    items: list[Item] = []
    for step in steps:
        items += _of_step(version, step, of_key.pop(step.key, []))
    gone = (one for there in of_key.values() for one in there if one.is_open)
    return [*items, *(_cancelled(one, "no step of this version") for one in gone)]


def _of_step(version: int, step: PlanStep, made: Sequence[MadeTask]) -> list[Item]:
    own = next((one for one in made if one.version == version), None)
    if own is not None:
        kept, reason = own, "its task"
    else:
        kept, reason = _still_good(step, made)
    others = [one for one in made if one is not kept and one.version != version and one.is_open]
    items = [_cancelled(one, f"version {one.version} of this step") for one in others]
    if kept is None:
        return [*items, Item(step.key, step.title, StepAction.ADD, reason, step=step)]
    keep = Item(step.key, step.title, StepAction.KEEP, reason, step=step, task=kept.task)
    return [*items, keep]


def _still_good(step: PlanStep, made: Sequence[MadeTask]) -> tuple[MadeTask | None, str]:
    there = [one for one in made if one.task.deleted_at is None]
    if not there:
        return None, "new"
    newest = there[-1]
    status = newest.task.status
    if not _is_same(step, newest.step):
        return None, f"changed since version {newest.version}"
    if status is TaskStatus.COMPLETED:
        return newest, f"done for version {newest.version}"
    if not newest.is_open:
        ended = status.value if status in FINAL else "being cancelled"
        return None, f"T-{newest.task.number} of version {newest.version} is {ended}"
    return newest, f"as in version {newest.version}"


def _is_same(step: PlanStep, before: PlanStep | None) -> bool:
    if before is None:
        return False
    return step.model_dump(exclude=_ORDER_ONLY) == before.model_dump(exclude=_ORDER_ONLY)


def _cancelled(one: MadeTask, reason: str) -> Item:
    return Item(one.key, one.task.title, StepAction.CANCEL, reason, task=one.task)


def levels_of(steps: Sequence[PlanStep]) -> Mapping[str, int]:
    """How many steps must be done one after the other before each."""
    levels: dict[str, int] = {}
    for step in in_order(steps):
        levels[step.key] = 1 + max((levels[key] for key in step.depends_on), default=-1)
    return levels


def in_order(steps: Sequence[PlanStep]) -> list[PlanStep]:
    """The steps so that each comes after those it depends on, otherwise as they stand."""
    ordered: list[PlanStep] = []
    done: set[str] = set()
    left = list(steps)
    while left:
        ready = [step for step in left if done.issuperset(step.depends_on)]
        ordered += ready
        done.update(step.key for step in ready)
        left = [step for step in left if step.key not in done]
    return ordered


def ancestors_of(steps: Sequence[PlanStep]) -> Mapping[str, set[str]]:
    """All that must be done before each step."""
    found: dict[str, set[str]] = {}
    for step in in_order(steps):
        found[step.key] = set(step.depends_on).union(*(found[key] for key in step.depends_on))
    return found
