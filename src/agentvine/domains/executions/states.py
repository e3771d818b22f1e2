"""Where an execution may go: it runs, and ends once."""

from agentvine.domains.executions.enums import ExecutionStatus
from agentvine.domains.executions.errors import ExecutionEnded
from agentvine.domains.executions.models import Execution

_S = ExecutionStatus

ALLOWED: dict[ExecutionStatus, frozenset[ExecutionStatus]] = {
    _S.RUNNING: frozenset({_S.COMPLETED, _S.FAILED, _S.TIMEOUT, _S.CANCELLED}),
    # Another attempt is another execution.
    _S.COMPLETED: frozenset(),
    _S.FAILED: frozenset(),
    _S.TIMEOUT: frozenset(),
    _S.CANCELLED: frozenset(),
}


def set_status(execution: Execution, to: ExecutionStatus) -> None:
    """Move an execution.

    Raises:
        ExecutionEnded: It has ended already.
    """
    if to not in ALLOWED[execution.status]:
        raise ExecutionEnded(f"It is {execution.status} already; nothing was changed.")
    execution.status = to
