"""What happens to executions, told to the reactions in the same transaction."""

import uuid
from dataclasses import dataclass

from agentvine.impact.analysis import Findings


@dataclass(frozen=True, slots=True)
class ChangeSeen:
    """The server has an execution's commits, and has looked at them itself; its task is locked."""

    execution_id: uuid.UUID
    findings: Findings
