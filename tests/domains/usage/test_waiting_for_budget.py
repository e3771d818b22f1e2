"""A used-up budget stops a task until more is left, or somebody says go."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agentvine.db.session import Database
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.jobs import TaskChores
from agentvine.domains.tasks.models import Task
from agentvine.domains.usage import books, budgets, waiting
from agentvine.domains.usage.calls import Call, Outcome, Payer
from agentvine.domains.usage.jobs import UsageChores
from agentvine.domains.usage.models import BudgetLimit
from agentvine.domains.usage.prices import Tokens
from agentvine.domains.work import why
from agentvine.protocol.enums import BudgetPeriod, BudgetScope, FailureClass
from agentvine.protocol.tasks import TaskEditIn
from agentvine.protocol.usage import BudgetCreateIn, BudgetEditIn
from tests.support.builders.identity import unique
from tests.support.builders.work import Crew, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")

UTC = ZoneInfo("UTC")


async def make_budget(crew: Crew, amount: str, **fields: Any) -> BudgetLimit:
    wanted = BudgetCreateIn.model_validate(
        {
            "name": unique("budget"),
            "scope": BudgetScope.PROJECT,
            "project_id": crew.ground.project_id,
            "amount_usd": amount,
            **fields,
        }
    )
    async with crew.ground.transaction() as tx:
        return await budgets.create_budget(tx, crew.ground.owner, wanted)


async def stop(crew: Crew, spent: str, order_id: Any = None) -> Task:
    """A run that spends so much and is then stopped by its budget."""
    order_id = order_id or await crew.enqueue()
    worker = await crew.worker()
    claim = await worker.claim_one()
    task = await crew.task_of(claim.order_id)
    payer = Payer(project_id=task.project_id, task_id=task.id, execution_id=claim.execution_id)
    async with crew.database.transaction() as tx:
        call = Call(unique("call"), "m", payer, tx.now.date())
        await books.settle(tx, call, Outcome(Tokens(10, 1), Decimal(spent)))
    outcome = await worker.fail(claim, FailureClass.BUDGET_EXHAUSTED, "The gateway refused a call.")
    assert not outcome.will_retry
    order = await crew.order(claim.order_id)
    assert order.retry_count == 0
    return await crew.task_of(claim.order_id)


async def now_is(crew: Crew, task: Task) -> TaskStatus:
    async with crew.database.read() as read:
        return (await read.get_one(Task, task.id)).status


async def raise_budget(crew: Crew, budget: BudgetLimit, **change: Any) -> None:
    async with crew.ground.transaction() as tx:
        await budgets.edit_budget(tx, crew.ground.owner, budget.id, BudgetEditIn(**change))


async def test_a_raised_budget_lets_the_task_go_on_by_itself(shared_database: Database):
    crew = await make_crew(shared_database)
    budget = await make_budget(crew, "1.00")
    task = await stop(crew, "0.99")
    chores = UsageChores(shared_database, UTC)

    assert task.status is TaskStatus.BLOCKED
    said = str(task.status_reason)
    assert f"of the budget {budget.name} 0.010000 of 1.00 USD are left until" in said
    assert f"`agentvine budget edit {budget.name}` raises it" in said
    assert f"`agentvine task resume T-{task.number}`" in said
    async with shared_database.read() as read:
        told = await why.explain(read, task, await why.newest_order(read, task.id))
    assert [reason.code for reason in told.reasons] == ["budget_used_up"]

    await chores.resume()
    assert await TaskChores(shared_database).unblock() == 0
    assert await now_is(crew, task) is TaskStatus.BLOCKED
    await raise_budget(crew, budget, amount_usd=Decimal("2.00"))
    await chores.resume()
    assert await now_is(crew, task) is TaskStatus.QUEUED

    # What is left of the raise stops it again, at the next raise it goes on again.
    again = await stop(crew, "1.00", order_id=task.id)
    await chores.resume()
    assert (again.id, await now_is(crew, task)) == (task.id, TaskStatus.BLOCKED)
    await raise_budget(crew, budget, is_active=False)
    await chores.resume()
    assert await now_is(crew, task) is TaskStatus.QUEUED


async def test_a_budget_that_is_raised_while_the_run_ends_is_not_waited_for(
    shared_database: Database,
):
    crew = await make_crew(shared_database)
    budget = await make_budget(crew, "1.00")
    order_id = await crew.enqueue()
    worker = await crew.worker()
    claim = await worker.claim_one()
    task = await crew.task_of(order_id)
    await raise_budget(crew, budget, amount_usd=Decimal("5.00"))
    await worker.fail(claim, FailureClass.BUDGET_EXHAUSTED, "Refused.")

    await UsageChores(shared_database, UTC).resume()

    assert await now_is(crew, task) is TaskStatus.QUEUED


async def test_a_new_period_has_room_and_somebody_may_say_go_before(shared_database: Database):
    crew = await make_crew(shared_database)
    await make_budget(crew, "1.00", period=BudgetPeriod.DAILY)
    task = await stop(crew, "1.50")
    async with shared_database.read() as read:
        today = shared_database.clock.now().date()
        now = await waiting.tightest(read, task, today)
        tomorrow = await waiting.tightest(read, task, today + timedelta(days=1))
    assert now is not None
    assert tomorrow is not None
    assert (now.share, tomorrow.share) == (0, 1)
    assert waiting.may_go_on(now.share, tomorrow)
    assert not waiting.may_go_on(now.share, now)

    async with shared_database.transaction() as tx:
        await task_service.start_task(tx, await tx.get_one(Task, task.id))
    assert await now_is(crew, task) is TaskStatus.QUEUED


async def test_the_tasks_own_budget_is_waited_for_too(shared_database: Database):
    crew = await make_crew(shared_database)
    order_id = await crew.enqueue(budget_usd=Decimal("0.50"))
    task = await stop(crew, "0.50", order_id)
    assert "0 of the task's own 0.50 USD are left" in str(task.status_reason).replace(
        "0.000000", "0"
    )

    async with shared_database.transaction() as tx:
        fresh = await tx.get_one(Task, task.id)
        await task_service.edit_task(tx, fresh, TaskEditIn(budget_usd=Decimal("0.75")))
    await UsageChores(shared_database, UTC).resume()

    assert await now_is(crew, task) is TaskStatus.QUEUED
