"""What follows from a plain claim or completion, for the statements that do it all at once.

The same stories as in ``attempts``, told in SQL: a test compares every row that the two write.
"""

from agentvine.domains.executions import shortcuts as executions
from agentvine.domains.modifications import shortcuts as modifications
from agentvine.domains.tasks import shortcuts as tasks
from agentvine.domains.work.beats import beat_statement
from agentvine.domains.work.plain import Plain
from agentvine.reactions.attempts import CHANGED_NOTHING

PLAIN = Plain.with_parts(
    claimed={**executions.BEGUN, **tasks.STARTED},
    completed={**executions.ENDED, **tasks.FINISHED},
    order_guard=executions.RUNS,
    task_guard=f"{tasks.CAN_FINISH} AND {modifications.NONE_WAITS}",
    reason=CHANGED_NOTHING,
)

BEAT = beat_statement(executions.ADVANCES)
