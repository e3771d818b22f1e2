"""Budgets of single tasks, and one reservation for each call.

Nothing has written counters or reservations before this revision: both tables are made anew.

Revision: budgets_of_tasks, after findings_of_changes.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from agentvine.db.types import utc_now, uuid_default

revision = "budgets_of_tasks"
down_revision = "findings_of_changes"
branch_labels = None
depends_on = None
removes_rows_from = ("budget_counters", "budget_reservations")

_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_EXACT: sa.types.TypeEngine[Any] = sa.DECIMAL(14, 6)
_STRINGS = sa.JSON().with_variant(postgresql.ARRAY(sa.Text()), "postgresql")


def upgrade() -> None:
    _drop_both()
    _create_counters(
        sa.Column("budget_id", sa.Uuid()),
        sa.Column("task_id", sa.Uuid()),
        rules=[
            sa.UniqueConstraint("task_id", name=op.f("uq_budget_counters_task_id")),
            _reference("budget_counters", "task_id", "tasks", "CASCADE"),
        ],
    )
    op.create_table(
        "budget_reservations",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("request_id", sa.String(100), nullable=False),
        sa.Column("execution_id", sa.Uuid()),
        sa.Column("amount_usd", _EXACT, nullable=False),
        sa.Column("counter_ids", _STRINGS, nullable=False),
        sa.Column("call", _JSON, nullable=False),
        sa.Column("owner", sa.String(100)),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_reservations")),
        sa.UniqueConstraint("request_id", name=op.f("uq_budget_reservations_request_id")),
        _reference("budget_reservations", "execution_id", "executions", "SET NULL"),
        *_checks(
            "budget_reservations",
            amount_usd_integer="typeof(\"amount_usd\") IN ('integer', 'null')",
            request_id_length='length("request_id") <= 100',
            owner_length='length("owner") <= 100',
            counter_ids_json='"counter_ids" IS NULL OR json_valid("counter_ids")',
            call_json='"call" IS NULL OR json_valid("call")',
        ),
    )
    _index_reservations("execution_id", "expires_at")
    _add_task_budget()


def downgrade() -> None:
    op.drop_column("tasks", "budget_usd")
    _drop_both()
    _create_counters(sa.Column("budget_id", sa.Uuid(), nullable=False), rules=[])
    op.create_table(
        "budget_reservations",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("counter_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.String(100), nullable=False),
        sa.Column("execution_id", sa.Uuid()),
        sa.Column("amount_usd", _EXACT, nullable=False),
        sa.Column("status", sa.String(20), nullable=False, server_default=sa.text("'reserved'")),
        sa.Column("owner", sa.String(100)),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.Column("settled_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_reservations")),
        sa.CheckConstraint(
            "status IN ('reserved', 'settled', 'expired', 'released')",
            name=op.f("ck_budget_reservations_status_a404"),
        ),
        _reference("budget_reservations", "counter_id", "budget_counters", "CASCADE"),
        _reference("budget_reservations", "execution_id", "executions", "SET NULL"),
        *_checks(
            "budget_reservations",
            amount_usd_integer="typeof(\"amount_usd\") IN ('integer', 'null')",
            request_id_length='length("request_id") <= 100',
            owner_length='length("owner") <= 100',
        ),
    )
    _index_reservations("counter_id", "execution_id", "expires_at", "request_id", "status")


def _add_task_budget() -> None:
    if not _is_sqlite():
        op.add_column("tasks", sa.Column("budget_usd", sa.DECIMAL(10, 2)))
        return
    # Alembic would copy the whole table to add a CHECK.
    op.execute(
        "ALTER TABLE tasks ADD COLUMN budget_usd DECIMAL(10, 2) "
        "CONSTRAINT ck_tasks_budget_usd_integer "
        "CHECK (typeof(\"budget_usd\") IN ('integer', 'null'))"
    )


def _drop_both() -> None:
    op.drop_table("budget_reservations")
    op.drop_table("budget_counters")


def _create_counters(
    *owners: sa.Column[Any],
    rules: Sequence[sa.Constraint],
) -> None:
    nothing = sa.text("0")
    op.create_table(
        "budget_counters",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        *owners,
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("period_end", sa.Date()),
        sa.Column("spent_usd", _EXACT, nullable=False, server_default=nothing),
        sa.Column("reserved_usd", _EXACT, nullable=False, server_default=nothing),
        sa.Column("alerted_at", _TIME),
        sa.Column("updated_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_counters")),
        sa.UniqueConstraint(
            "budget_id", "period_start", name=op.f("uq_budget_counters_budget_id_period_start")
        ),
        _reference("budget_counters", "budget_id", "budget_limits", "CASCADE"),
        *rules,
        *_checks(
            "budget_counters",
            spent_usd_integer="typeof(\"spent_usd\") IN ('integer', 'null')",
            reserved_usd_integer="typeof(\"reserved_usd\") IN ('integer', 'null')",
        ),
    )


def _index_reservations(*columns: str) -> None:
    for column in columns:
        name = f"idx_budget_reservations_{column.removesuffix('_id').removesuffix('_at')}"
        op.create_index(name, "budget_reservations", [column])


def _reference(table: str, column: str, target: str, on_delete: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}_{target}"), ondelete=on_delete
    )


def _checks(table: str, **rules: str) -> list[sa.CheckConstraint]:
    """What holds SQLite to the types of its columns; PostgreSQL does so by itself."""
    if not _is_sqlite():
        return []
    return [
        sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in rules.items()
    ]


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
