"""Commands on budgets: make, change and delete them. All are audited."""

import uuid
from collections.abc import Mapping

from sqlalchemy import select

from agentvine.db.session import Transaction
from agentvine.domains.agents.models import Agent
from agentvine.domains.identity import history
from agentvine.domains.projects import queries as projects
from agentvine.domains.usage.enums import BudgetLimitId, BudgetScope
from agentvine.domains.usage.errors import BudgetExists, BudgetForbidden, BudgetScopeInvalid
from agentvine.domains.usage.models import NO_LIMIT_USD, BudgetLimit
from agentvine.domains.usage.purses import BOOKS, CHANNEL
from agentvine.domains.usage.queries import get_budget
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.usage import BudgetCreateIn, BudgetEditIn


async def create_budget(tx: Transaction, actor: UserActor, wanted: BudgetCreateIn) -> BudgetLimit:
    """Limit what may be spent, from the present period on; what it has seen so far counts.

    Raises:
        BudgetForbidden: Only an admin limits more than a project of their own.
        BudgetScopeInvalid: There is no such agent.
        BudgetExists: There is one of this name with the same scope.
    """
    scope_id = wanted.project_id or wanted.agent_id
    await _check_may_change(tx, actor, wanted.scope, scope_id)
    if wanted.scope is BudgetScope.AGENT and await tx.get(Agent, scope_id) is None:
        raise BudgetScopeInvalid(f"There is no agent {scope_id}.")
    # Nobody adds to the ledger while the budget begins: its counters miss nothing.
    await tx.dialect.close_lock(tx, BOOKS)
    twin = select(BudgetLimit.id).where(
        BudgetLimit.name == wanted.name,
        BudgetLimit.scope_type == wanted.scope,
        BudgetLimit.scope_id.is_not_distinct_from(scope_id),
        BudgetLimit.scope_agent_type.is_not_distinct_from(wanted.agent_type),
    )
    if await tx.scalar(twin) is not None:
        raise BudgetExists(f"Edit it, or choose another name than {wanted.name!r}.")
    budget = BudgetLimit(
        id=BudgetLimitId(new_id()),
        name=wanted.name,
        scope_type=wanted.scope,
        scope_id=scope_id,
        scope_agent_type=wanted.agent_type,
        amount_usd=NO_LIMIT_USD if wanted.amount_usd is None else wanted.amount_usd,
        max_tokens=wanted.max_tokens,
        max_runs=wanted.max_runs,
        period=wanted.period,
        alert_threshold=wanted.alert_threshold,
        action_on_exceed=wanted.action,
        is_active=True,
    )
    tx.add(budget)
    _record(tx, "budget.created", budget, None, wanted.model_dump(mode="json", exclude_unset=True))
    await tx.flush()
    await tx.refresh(budget)
    return budget


async def edit_budget(
    tx: Transaction, actor: UserActor, budget_id: uuid.UUID, change: BudgetEditIn
) -> BudgetLimit:
    """Change what is given, from now on.

    Raises:
        BudgetNotFound: There is none, or it is not theirs to see.
        BudgetForbidden: It is not theirs to change.
    """
    budget = await _take(tx, actor, budget_id)
    fields = change.model_dump(exclude_unset=True)
    columns = {"action": "action_on_exceed"}
    before = {name: str(getattr(budget, columns.get(name, name))) for name in fields}
    for name, value in fields.items():
        setattr(budget, columns.get(name, name), value)
    _record(tx, "budget.edited", budget, before, change.model_dump(mode="json", exclude_unset=True))
    await tx.flush()
    await tx.refresh(budget)
    return budget


async def delete_budget(tx: Transaction, actor: UserActor, budget_id: uuid.UUID) -> None:
    """Limit nothing by it any more; what was used stays in the ledger.

    Raises:
        BudgetNotFound: There is none, or it is not theirs to see.
        BudgetForbidden: It is not theirs to change.
    """
    budget = await _take(tx, actor, budget_id)
    before = {"name": budget.name, "amount_usd": str(budget.amount_usd)}
    _record(tx, "budget.deleted", budget, before, None)
    await tx.delete(budget)


async def _take(tx: Transaction, actor: UserActor, budget_id: uuid.UUID) -> BudgetLimit:
    """A budget to be changed; no call is under way with what it was."""
    budget = await get_budget(tx, actor, budget_id)
    await _check_may_change(tx, actor, budget.scope_type, budget.scope_id)
    await tx.dialect.close_lock(tx, BOOKS)
    tx.hint(CHANNEL)  # tasks may wait for it
    return budget


async def _check_may_change(
    tx: Transaction, actor: UserActor, scope: BudgetScope, scope_id: uuid.UUID | None
) -> None:
    if scope is BudgetScope.PROJECT and scope_id is not None:
        await projects.get_own_project(tx, actor, scope_id)
    elif not actor.is_admin:
        raise BudgetForbidden("Ask an admin: it is about more than a project of yours.")


def _record(
    tx: Transaction,
    action: str,
    budget: BudgetLimit,
    before: Mapping[str, object] | None,
    after: Mapping[str, object] | None,
) -> None:
    of_project = budget.scope_id if budget.scope_type is BudgetScope.PROJECT else None
    history.record(
        tx, action, entity=("budget", budget.id), project_id=of_project, before=before, after=after
    )
