"""Calls that a runtime made past the gateway, told by the worker that ran it."""

import uuid
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import select

from agentvine.db.session import Transaction
from agentvine.domains.agents.models import Agent
from agentvine.domains.executions.models import Execution
from agentvine.domains.tasks.models import Task
from agentvine.domains.usage import books
from agentvine.domains.usage.calls import Call, Outcome, Payer
from agentvine.domains.usage.errors import PriceUnknown
from agentvine.domains.usage.overrides import price_call
from agentvine.domains.usage.periods import day_of
from agentvine.domains.usage.prices import Tokens
from agentvine.domains.work.errors import LeaseLost
from agentvine.domains.workers.models import Worker
from agentvine.kit.actor import WorkerActor
from agentvine.protocol.usage import CallIn, UsageReportIn, UsageReportOut


async def record_report(
    tx: Transaction,
    actor: WorkerActor,
    execution_id: uuid.UUID,
    report: UsageReportIn,
    zone: ZoneInfo,
) -> UsageReportOut:
    """Count the calls of an attempt; those counted before are passed over.

    A claim that was lost meanwhile does not matter: what was used was used. A model whose price
    nobody knows is counted with its tokens and marked, since it was called already.

    Raises:
        LeaseLost: The attempt never was of a worker of this token.
    """
    payer = await _payer(tx, actor, execution_id, report)
    day = day_of(tx.now, zone)
    counted, exceeded = 0, dict[str, None]()
    for told in report.calls:
        call = Call(f"{execution_id}:{told.request_id}", told.model, payer, day)
        settled = await books.settle(tx, call, await _outcome(tx, told))
        counted += settled.is_new
        exceeded |= dict.fromkeys(settled.exceeded)
    return UsageReportOut(counted=counted, exceeded=list(exceeded))


async def _payer(
    tx: Transaction, actor: WorkerActor, execution_id: uuid.UUID, report: UsageReportIn
) -> Payer:
    query = (
        select(Task, Execution.agent_id, Agent.type)
        .join(Execution, Execution.task_id == Task.id)
        .join(Worker, Worker.id == Execution.worker_id)
        .outerjoin(Agent, Agent.id == Execution.agent_id)
        .where(
            Execution.id == execution_id,
            Execution.work_order_id == report.order_id,
            Execution.fence == report.fence,
            Worker.token_id == actor.token_id,
        )
    )
    found = (await tx.execute(query)).one_or_none()
    if found is None:
        raise LeaseLost("No worker of this token made that attempt.")
    task, agent_id, agent_type = found
    return Payer(
        user_id=task.created_by,
        project_id=task.project_id,
        agent_id=agent_id,
        agent_type=agent_type,
        task_id=task.id,
        execution_id=execution_id,
        conversation_id=task.conversation_id,
    )


async def _outcome(tx: Transaction, told: CallIn) -> Outcome:
    tokens = Tokens(
        input=told.tokens_in,
        output=told.tokens_out,
        cache_read=told.tokens_cache_read,
        cache_write=told.tokens_cache_write,
    )
    notes: dict[str, object] = {"source": "runtime"}
    cost = told.cost_usd
    if cost is None:
        try:
            cost, notes["prices"] = await price_call(
                tx, tokens, model=told.model, provider=told.provider, at=tx.now
            )
        except PriceUnknown as error:
            cost = Decimal(0)
            notes["price_unknown"] = error.detail
    return Outcome(tokens, cost, told.duration_ms, notes=notes)
