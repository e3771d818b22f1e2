"""Where orders and executions may go; the statements and commands that move them ask the tables."""

import uuid

import pytest

from agentvine.db.session import Database
from agentvine.domains.executions.errors import ExecutionEnded
from agentvine.domains.executions.models import Execution
from agentvine.domains.executions.states import set_status
from agentvine.domains.work import states, store
from agentvine.domains.work.enums import OrderStatus
from agentvine.kit.actor import SYSTEM
from agentvine.protocol.enums import ExecutionStatus


def test_an_order_that_is_over_goes_nowhere():
    over = (OrderStatus.COMPLETED, OrderStatus.FAILED, OrderStatus.EXPIRED)

    assert [states.ALLOWED[status] for status in over] == [frozenset()] * 3


async def test_no_statement_moves_an_order_against_the_table(database: Database):
    async with database.transaction(SYSTEM) as tx:
        with pytest.raises(AssertionError, match="from claimed to expired"):
            await store.settle(tx, uuid.uuid4(), 1, {"status": OrderStatus.EXPIRED})
        with pytest.raises(AssertionError, match="from pending to completed"):
            await store.withdraw(tx, uuid.uuid4(), {"status": OrderStatus.COMPLETED})
        # A statement that changes no status, or nothing at all, is none of the table's business.
        assert await store.withdraw(tx, uuid.uuid4(), {"priority": "high"}) is None


def test_an_execution_ends_once():
    execution = Execution(status=ExecutionStatus.RUNNING)
    set_status(execution, ExecutionStatus.TIMEOUT)

    with pytest.raises(ExecutionEnded, match="timeout already"):
        set_status(execution, ExecutionStatus.COMPLETED)
    assert execution.status is ExecutionStatus.TIMEOUT
