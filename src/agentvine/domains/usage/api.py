"""Routes of the usage slice: budgets, and what was used."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from agentvine.domains.executions import queries as executions
from agentvine.domains.executions.errors import ExecutionNotFound
from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.projects.errors import ProjectNotFound, ProjectNotYours, ProjectReadOnly
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks.errors import TaskNotFound
from agentvine.domains.usage import attempts, budgets, overrides, queries, reports, sums
from agentvine.domains.usage.errors import (
    BudgetExists,
    BudgetForbidden,
    BudgetNotFound,
    BudgetScopeInvalid,
    PriceExists,
    PriceNotFound,
)
from agentvine.domains.usage.models import TokenUsage
from agentvine.domains.work.errors import LeaseLost
from agentvine.http.deps import Paging, Read, State, Tx, Worker, require
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.kit.pagination import PageRequest, decode_cursor
from agentvine.protocol.attempts import AttemptOut
from agentvine.protocol.base import PageOut
from agentvine.protocol.prices import PriceOut, PriceSetIn
from agentvine.protocol.usage import (
    BudgetCreateIn,
    BudgetEditIn,
    BudgetOut,
    CallOut,
    CallQuery,
    SumQuery,
    UsageOut,
    UsageReportIn,
    UsageReportOut,
)

router = APIRouter()

BudgetReader = Annotated[UserActor, Depends(require("budgets:read"))]
BudgetWriter = Annotated[UserActor, Depends(require("budgets:write"))]
ExecutionReader = Annotated[UserActor, Depends(require("executions:read"))]
ModelAdmin = Annotated[UserActor, Depends(require("models:admin"))]
UsageReader = Annotated[UserActor, Depends(require("usage:read"))]

_CHANGE = responses(
    BudgetNotFound, BudgetForbidden, ProjectNotFound, ProjectReadOnly, ProjectNotYours
)


@router.get("/budgets", tags=["budgets"])
async def list_budgets(
    actor: BudgetReader, read: Read, state: State, page: Paging
) -> PageOut[BudgetOut]:
    """The budgets you may see, and how their present period stands."""
    found = await queries.list_budgets(read, actor, page)
    now, zone = state.clock.now(), state.settings.zone
    items = await queries.budgets_out(read, found.items, now, zone)
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.post(
    "/budgets",
    status_code=201,
    tags=["budgets"],
    responses=responses(
        BudgetForbidden,
        BudgetScopeInvalid,
        BudgetExists,
        ProjectNotFound,
        ProjectReadOnly,
        ProjectNotYours,
    ),
)
async def create_budget(
    body: BudgetCreateIn, actor: BudgetWriter, tx: Tx, state: State, once: CreateOnce
) -> BudgetOut:
    """Limit what may be spent in each period."""

    async def create() -> BudgetOut:
        budget = await budgets.create_budget(tx, actor, body)
        [made] = await queries.budgets_out(tx, [budget], tx.now, state.settings.zone)
        return made

    return await once.run(tx, body, BudgetOut, create)


@router.get("/budgets/{budget_id}", tags=["budgets"], responses=responses(BudgetNotFound))
async def get_budget(
    budget_id: uuid.UUID, actor: BudgetReader, read: Read, state: State
) -> BudgetOut:
    """One budget, and how its present period stands."""
    budget = await queries.get_budget(read, actor, budget_id)
    now, zone = state.clock.now(), state.settings.zone
    [found] = await queries.budgets_out(read, [budget], now, zone)
    return found


@router.patch("/budgets/{budget_id}", tags=["budgets"], responses=_CHANGE)
async def edit_budget(
    budget_id: uuid.UUID, body: BudgetEditIn, actor: BudgetWriter, tx: Tx, state: State
) -> BudgetOut:
    """Change a budget, from now on."""
    budget = await budgets.edit_budget(tx, actor, budget_id, body)
    [edited] = await queries.budgets_out(tx, [budget], tx.now, state.settings.zone)
    return edited


@router.delete("/budgets/{budget_id}", status_code=204, tags=["budgets"], responses=_CHANGE)
async def delete_budget(budget_id: uuid.UUID, actor: BudgetWriter, tx: Tx) -> None:
    """Limit nothing by it any more."""
    await budgets.delete_budget(tx, actor, budget_id)


@router.get("/prices", tags=["prices"])
async def list_prices(actor: UsageReader, read: Read, page: Paging) -> PageOut[PriceOut]:
    """The prices of models that somebody has set here, past and coming ones too."""
    found = await overrides.list_prices(read, page)
    items = [PriceOut.model_validate(row) for row in found.items]
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.post("/prices", status_code=201, tags=["prices"], responses=responses(PriceExists))
async def set_price(body: PriceSetIn, actor: ModelAdmin, tx: Tx, once: CreateOnce) -> PriceOut:
    """Let a model cost so much from a time on, whatever the price table says."""

    async def create() -> PriceOut:
        return PriceOut.model_validate(await overrides.set_price(tx, body))

    return await once.run(tx, body, PriceOut, create)


@router.delete(
    "/prices/{price_id}", status_code=204, tags=["prices"], responses=responses(PriceNotFound)
)
async def remove_price(price_id: uuid.UUID, actor: ModelAdmin, tx: Tx) -> None:
    """Let the price before it hold again, or the table's."""
    await overrides.remove_price(tx, price_id)


@router.get("/tasks/{task_id}/attempts", tags=["executions"], responses=responses(TaskNotFound))
async def list_attempts(
    task_id: uuid.UUID, actor: ExecutionReader, read: Read, page: Paging
) -> PageOut[AttemptOut]:
    """The attempts at a task in figures, oldest first: how each ended and what it took."""
    task = await tasks.get_task(read, actor, task_id)
    found = await attempts.list_attempts(read, task.id, page)
    return PageOut(items=list(found.items), next_cursor=found.next_cursor)


@router.get(
    "/executions/{execution_id}/figures",
    tags=["executions"],
    responses=responses(ExecutionNotFound),
)
async def get_figures(execution_id: uuid.UUID, actor: ExecutionReader, read: Read) -> AttemptOut:
    """One attempt in figures: time, processor time, memory, tokens and cost."""
    execution = await executions.get_execution(read, actor, execution_id)
    [figures] = await attempts.in_figures(read, [execution])
    return figures


@router.get("/usage", tags=["usage"])
async def sum_usage(
    actor: UsageReader,
    read: Read,
    wanted: Annotated[SumQuery, Query()],
) -> UsageOut:
    """What the calls used that you may see, summed up."""
    return await sums.sum_usage(read, actor, wanted)


@router.get("/usage/calls", tags=["usage"])
async def list_calls(
    actor: UsageReader,
    read: Read,
    wanted: Annotated[CallQuery, Query()],
) -> PageOut[CallOut]:
    """The calls that you may see, newest first."""
    after = decode_cursor(wanted.cursor) if wanted.cursor else None
    page = PageRequest(limit=wanted.limit, after=after)
    found = await queries.list_calls(read, actor, page, wanted)
    return PageOut(items=[_call_out(row) for row in found.items], next_cursor=found.next_cursor)


@router.post("/executions/{execution_id}/usage", tags=["protocol"], responses=responses(LeaseLost))
async def report_usage(
    execution_id: uuid.UUID, body: UsageReportIn, actor: Worker, tx: Tx, state: State
) -> UsageReportOut:
    """Count calls that an attempt made past the gateway; each once, however often it is told."""
    return await reports.record_report(tx, actor, execution_id, body, state.settings.zone)


def _call_out(row: TokenUsage) -> CallOut:
    fields = {name: getattr(row, name) for name in CallOut.model_fields if name != "is_estimated"}
    return CallOut(**fields, is_estimated=bool((row.metadata_ or {}).get("is_estimated")))
