"""Fills tables with a long past by copying rows inside the database: for hundreds of thousands."""

import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Integer, Table, and_, func, insert, literal, select, type_coerce, update
from sqlalchemy.sql.elements import ColumnElement

from agentvine.db.base import table_of
from agentvine.db.session import Transaction
from agentvine.domains.executions.models import Execution
from agentvine.domains.projects.models import Project
from agentvine.domains.tasks.models import Task
from agentvine.domains.work.models import WorkerAssignment, WorkOrder
from tests.support.builders.work import Crew, row_of

_TASKS, _ORDERS = table_of(Task), table_of(WorkOrder)


async def copy_orders(
    crew: Crew,
    count: int,
    *,
    order: Mapping[str, Any] | None = None,
    task: Mapping[str, Any] | None = None,
    **fields: Any,
) -> uuid.UUID:
    """Put one order into the queue, and ``count`` copies of it and its task behind it.

    Args:
        crew: Whose queue.
        count: How many copies.
        order: Columns of the copied orders that differ from the first one's.
        task: Columns of the copied tasks that differ.
        fields: Of the first task, as for ``Crew.enqueue``.

    Returns:
        The id of the first order, which is not changed.
    """
    first = await crew.order(await crew.enqueue(**fields))
    model = await crew.task_of(first.id)
    base = model.number
    async with crew.database.transaction() as tx:
        i = _counted(count)
        tasks = _copied(_TASKS, row_of(model) | dict(task or {}))
        tasks |= {"id": _new_id(tx), "number": base + i.c.i}
        await _insert(tx, _TASKS, tasks, select(*tasks.values()).select_from(i))
        orders = _copied(_ORDERS, row_of(first) | dict(order or {}))
        orders |= {
            "id": _new_id(tx),
            "task_id": _TASKS.c.id,
            "rank": literal(first.rank, _ORDERS.c.rank.type) + _TASKS.c.number - base,
        }
        of_copies = (
            _TASKS.c.project_id == model.project_id,
            _TASKS.c.number > base,
            _TASKS.c.number <= base + count,
        )
        await _insert(tx, _ORDERS, orders, select(*orders.values()).where(*of_copies))
        await tx.execute(
            update(Project)
            .where(Project.id == model.project_id)
            .values(next_task_number=base + count + 1)
        )
    return first.id


async def copy_attempts(crew: Crew, worker_id: uuid.UUID) -> None:
    """Give every finished order without one an execution and an assignment of a worker."""
    async with crew.database.transaction() as tx:
        past: dict[str, Any] = {
            "id": _ORDERS.c.id,  # unique, and never looked at
            "worker_id": literal(worker_id, _ORDERS.c.worker_id.type),
            "status": _ORDERS.c.status,
            "fence": _ORDERS.c.fence,
        }
        is_done = and_(_ORDERS.c.status == "completed", _ORDERS.c.execution_id.is_(None))
        rows = past | {"work_order_id": _ORDERS.c.id}
        table = table_of(WorkerAssignment)
        await _insert(tx, table, rows, select(*rows.values()).where(is_done))
        rows = past | {"work_order_id": _ORDERS.c.id, "task_id": _ORDERS.c.task_id}
        await _insert(tx, table_of(Execution), rows, select(*rows.values()).where(is_done))


def _copied(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: literal(value, table.c[name].type) for name, value in row.items()}


def _counted(count: int) -> Any:
    numbers = select(literal(1, Integer()).label("i")).cte("numbers", recursive=True)
    return numbers.union_all(select(numbers.c.i + 1).where(numbers.c.i < count))


def _new_id(tx: Transaction) -> ColumnElement[Any]:
    if tx.dialect.serialises_writers:
        return type_coerce(func.lower(func.hex(func.randomblob(16))), _ORDERS.c.id.type)
    return func.gen_random_uuid()


async def _insert(tx: Transaction, table: Table, row: Mapping[str, Any], rows: Any) -> None:
    await tx.execute(insert(table).from_select(list(row), rows, include_defaults=False))
