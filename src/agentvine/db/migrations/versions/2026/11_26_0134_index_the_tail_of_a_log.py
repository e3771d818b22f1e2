"""Index the tail of a log: who follows it reads on from a line, however long the log is.

Revision: index_log_tails, after 0001_initial_schema.
"""

from alembic import op

revision = "index_log_tails"
down_revision = "0001_initial_schema"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("idx_execution_logs_tail", "execution_logs", ["execution_id", "id"])


def downgrade() -> None:
    op.drop_index("idx_execution_logs_tail", table_name="execution_logs")
