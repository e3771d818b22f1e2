"""Leave rows without a value out of indexes over columns that are mostly empty.

A change of a task's status writes to each of its indexes, whether it says anything or not.

Revision: indexes_of_what_is_there, after names_of_templates.
"""

import sqlalchemy as sa
from alembic import op

revision = "indexes_of_what_is_there"
down_revision = "names_of_templates"
branch_labels = None
depends_on = None

_INDEXES = (
    ("idx_tasks_conversation", "tasks", "conversation_id"),
    ("idx_tasks_plan", "tasks", "plan_id"),
    ("idx_tasks_pr", "tasks", "pr_id"),
    ("idx_work_orders_capability_set", "work_orders", "capability_set_id"),
    ("idx_work_orders_worker", "work_orders", "worker_id"),
    ("idx_executions_agent", "executions", "agent_id"),
)


def upgrade() -> None:
    for name, table, column in _INDEXES:
        is_there = sa.text(f"{column} IS NOT NULL")
        op.drop_index(name, table)
        op.create_index(name, table, [column], postgresql_where=is_there, sqlite_where=is_there)


def downgrade() -> None:
    for name, table, column in _INDEXES:
        op.drop_index(name, table)
        op.create_index(name, table, [column])
