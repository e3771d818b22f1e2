"""Tasks that wait until more of their budget is left: how much there is, and when it is more.

What is kept with a waiting task is the part of its tightest budget that was left when that stopped
it. Within a period this part only shrinks; it grows by a raise, or with the next period. So a task
that goes on when it has grown is not stopped again for the same want.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import select

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.agents.models import Agent
from agentvine.domains.executions.models import Execution
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.models import Task
from agentvine.domains.usage.calls import Payer
from agentvine.domains.usage.enums import BudgetAction
from agentvine.domains.usage.events import BudgetExhausted
from agentvine.domains.usage.models import NO_LIMIT_USD, BudgetCounter, BudgetLimit
from agentvine.domains.usage.periods import day_of, period_of
from agentvine.domains.usage.purses import figures_of, read_budgets

_NOTHING = Decimal(0)
_SHARE = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of a budget that blocks."""

    name: str
    key: str
    """Names it with its period and its limits: another one after each raise."""
    share: Decimal
    """Which part of it, from 0 to 1."""
    told: str
    """The same in words."""
    is_shared: bool


async def payer_of_task(read: ReadSession, task: Task) -> Payer:
    """On whose account the next run of a task goes: that of the agent that made its last one."""
    query = (
        select(Execution.agent_id, Agent.type)
        .outerjoin(Agent, Agent.id == Execution.agent_id)
        .where(Execution.task_id == task.id)
        .order_by(Execution.id.desc())
        .limit(1)
    )
    last = (await read.execute(query)).first()
    return Payer(
        user_id=task.created_by,
        project_id=task.project_id,
        agent_id=last[0] if last else None,
        agent_type=last[1] if last else None,
        task_id=task.id,
    )


async def tightest(read: ReadSession, task: Task, day: date) -> Room | None:
    """The budget of which the smallest part is left; None where none blocks. Changes nothing."""
    rooms = [_room_of_task(task)] if task.budget_usd is not None else []
    payer = await payer_of_task(read, task)
    for budget, counter in await read_budgets(read, payer, day):
        if budget.is_active and budget.action_on_exceed is BudgetAction.BLOCK:
            rooms.append(await _room_of(read, budget, counter, day))
    return min(rooms, key=lambda room: room.share, default=None)


async def block_for_budget(tx: Transaction, task: Task, message: str, zone: ZoneInfo) -> None:
    """Let a task whose budget stopped it wait until more is left; without one, for a person."""
    room = await tightest(tx, task, day_of(tx.now, zone))
    if room is None:
        task_service.block_for_person(tx, task, reason=message)
        return
    share = room.share
    if await _was_changed_meanwhile(tx, task, zone):
        # What is left now is not what stopped it: it may go on as soon as there is anything.
        share = _NOTHING
    task_service.block_for_budget(tx, task, reason=f"{message}; {room.told}", room=share)
    tx.emit(BudgetExhausted(task, room.key, room.name, room.told, room.is_shared))


def may_go_on(waits_for: Decimal, room: Room | None) -> bool:
    """Whether more is left than when the task was stopped."""
    return room is None or room.share > waits_for


async def _was_changed_meanwhile(tx: Transaction, task: Task, zone: ZoneInfo) -> bool:
    """Whether a budget was changed, or began a new period, since the task's last run began."""
    began = await tx.scalar(
        select(Execution.started_at)
        .where(Execution.task_id == task.id)
        .order_by(Execution.id.desc())
        .limit(1)
    )
    if began is None:
        return False
    first, today = day_of(began, zone), day_of(tx.now, zone)
    rows = await read_budgets(tx, await payer_of_task(tx, task), today)
    return any(
        budget.updated_at > began or period_of(budget.period, today).start > first
        for budget, _ in rows
    )


def _room_of_task(task: Task) -> Room:
    amount = task.budget_usd or _NOTHING
    spent = task.total_cost_usd or _NOTHING
    told = (
        f"{max(_NOTHING, amount - spent)} of the task's own {amount} USD are left: "
        f"`agentvine task edit T-{task.number} --budget` raises it"
    )
    return Room(
        name="the task's own budget",
        key=f"task:{task.id}:{amount}",
        share=_share(amount, spent),
        told=told,
        is_shared=False,
    )


async def _room_of(
    read: ReadSession, budget: BudgetLimit, counter: BudgetCounter | None, day: date
) -> Room:
    period = period_of(budget.period, day)
    usd, tokens, runs = await figures_of(read, budget, counter, period)
    kinds: list[tuple[Decimal | int | None, Decimal | int, str]] = [
        (budget.max_tokens, tokens, "tokens"),
        (budget.max_runs, runs, "runs"),
    ]
    given = [(most, used, unit) for most, used, unit in kinds if most is not None]
    if budget.amount_usd < NO_LIMIT_USD or not given:
        given.append((budget.amount_usd, usd, "USD"))
    share, left, most, unit = min(
        (_share(Decimal(most), Decimal(used)), max(0, most - used), most, unit)
        for most, used, unit in given
    )
    told = (
        f"of the budget {budget.name} {left} of {most} {unit} are left until "
        f"{period.end - timedelta(days=1)}: `agentvine budget edit {budget.name}` raises it"
    )
    limits = f"{budget.amount_usd},{budget.max_tokens},{budget.max_runs}"
    return Room(
        name=budget.name,
        key=f"{budget.id}:{period.start}:{limits}",
        share=share,
        told=told,
        is_shared=True,
    )


def _share(amount: Decimal, spent: Decimal) -> Decimal:
    if amount <= 0 or spent >= amount:
        return _NOTHING
    return ((amount - spent) / amount).quantize(_SHARE, rounding=ROUND_DOWN)
