"""Hold plans to one active version of a name, and tasks to one for each step.

Revision: steps_of_plans, after words_of_memories.
"""

import sqlalchemy as sa
from alembic import op

revision = "steps_of_plans"
down_revision = "words_of_memories"
branch_labels = None
depends_on = None

_plans = sa.table(
    "plans",
    sa.column("repository_id"),
    sa.column("name"),
    sa.column("version"),
    sa.column("status"),
)


def upgrade() -> None:
    _add_row_version()
    _add_text("plan_artifacts", "created_by", 200)
    _add_text("tasks", "plan_step", 64)
    _keep_the_newest_active()
    for name, table, columns, rows in (
        ("uq_plans_one_active", "plans", ["repository_id", "name"], "status = 'active'"),
        ("uq_tasks_plan_step", "tasks", ["plan_id", "plan_step"], "plan_step IS NOT NULL"),
    ):
        where = sa.text(rows)
        op.create_index(
            name, table, columns, unique=True, postgresql_where=where, sqlite_where=where
        )


def downgrade() -> None:
    op.drop_index("uq_tasks_plan_step", "tasks")
    op.drop_index("uq_plans_one_active", "plans")
    op.drop_column("tasks", "plan_step")
    op.drop_column("plan_artifacts", "created_by")
    op.drop_column("plans", "row_version")


def _keep_the_newest_active() -> None:
    newer = _plans.alias("newer")
    is_replaced = sa.exists().where(
        newer.c.repository_id == _plans.c.repository_id,
        newer.c.name == _plans.c.name,
        newer.c.status == "active",
        newer.c.version > _plans.c.version,
    )
    op.execute(
        _plans.update().where(_plans.c.status == "active", is_replaced).values(status="archived")
    )


def _add_row_version() -> None:
    if not _is_sqlite():
        column = sa.Column("row_version", sa.Integer(), nullable=False, server_default=sa.text("1"))
        op.add_column("plans", column)
        return
    # With its CHECK; Alembic would copy the whole table to add it.
    op.execute(
        "ALTER TABLE plans ADD COLUMN row_version INTEGER DEFAULT 1 NOT NULL "
        "CONSTRAINT ck_plans_row_version_integer "
        "CHECK (typeof(\"row_version\") IN ('integer', 'null'))"
    )


def _add_text(table: str, column: str, length: int) -> None:
    if not _is_sqlite():
        op.add_column(table, sa.Column(column, sa.String(length)))
        return
    op.execute(
        f"ALTER TABLE {table} ADD COLUMN {column} VARCHAR({length}) "
        f'CONSTRAINT ck_{table}_{column}_length CHECK (length("{column}") <= {length})'
    )


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
