"""Limits and pauses of running work, and enrolment of workers.

Revision: limits_and_enrolment, after repository_sandboxes.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from agentvine.db.types import utc_now, uuid_default

revision = "limits_and_enrolment"
down_revision = "repository_sandboxes"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    _create_limits()
    _extend_orders()
    _create_enrolments()


def downgrade() -> None:
    op.drop_table("worker_enrolments")
    op.drop_index("idx_work_orders_line", table_name="work_orders")
    op.drop_index("idx_work_orders_ready", table_name="work_orders")
    for column in ("held_limits", "line_id", "stop_requested_at"):
        op.drop_column("work_orders", column)
    op.create_index(
        "idx_work_orders_ready",
        "work_orders",
        ["queue_name", "rank", "id"],
        **_where("status = 'pending'"),
    )
    op.drop_table("work_limits")


def _create_limits() -> None:
    op.create_table(
        "work_limits",
        sa.Column("id", _COUNTED, nullable=False),
        sa.Column("scope", sa.String(20), nullable=False),
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("capacity", sa.Integer()),
        sa.Column("running", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("paused_at", _TIME),
        sa.Column("paused_by", sa.String(200)),
        sa.Column("pause_reason", sa.Text()),
        sa.Column("stops_runs", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_limits")),
        sa.UniqueConstraint("scope", "key", name=op.f("uq_work_limits_scope_key")),
        sa.CheckConstraint(
            "scope IN ('fleet', 'queue', 'worker_type', 'project', 'repository', 'agent')",
            name=op.f("ck_work_limits_scope_1612"),
        ),
        sa.CheckConstraint("capacity >= 0", name=op.f("ck_work_limits_capacity_not_negative")),
        sa.CheckConstraint("running >= 0", name=op.f("ck_work_limits_running_not_negative")),
        *_checks(
            "work_limits",
            key_length='length("key") <= 100',
            capacity_integer="typeof(\"capacity\") IN ('integer', 'null')",
            running_integer="typeof(\"running\") IN ('integer', 'null')",
            paused_by_length='length("paused_by") <= 200',
            stops_runs_boolean='"stops_runs" IN (0, 1)',
        ),
        postgresql_with={"fillfactor": "50"},
        sqlite_autoincrement=True,
    )


def _extend_orders() -> None:
    op.drop_index("idx_work_orders_ready", table_name="work_orders")
    op.add_column("work_orders", sa.Column("stop_requested_at", _TIME))
    if _is_sqlite():
        # Alembic would copy the whole table to add a CHECK.
        op.execute(
            "ALTER TABLE work_orders ADD COLUMN line_id BIGINT "
            "CONSTRAINT ck_work_orders_line_id_integer "
            "CHECK (typeof(\"line_id\") IN ('integer', 'null'))"
        )
        op.execute(
            "ALTER TABLE work_orders ADD COLUMN held_limits JSON "
            "CONSTRAINT ck_work_orders_held_limits_json "
            'CHECK ("held_limits" IS NULL OR json_valid("held_limits"))'
        )
    else:
        op.add_column("work_orders", sa.Column("line_id", sa.BigInteger()))
        op.add_column("work_orders", sa.Column("held_limits", _JSON))
    op.create_index(
        "idx_work_orders_ready",
        "work_orders",
        ["queue_name", "rank", "id"],
        **_where("status = 'pending' AND line_id IS NULL"),
    )
    op.create_index(
        "idx_work_orders_line",
        "work_orders",
        ["line_id", "queue_name", "rank", "id"],
        **_where("line_id IS NOT NULL"),
    )


def _create_enrolments() -> None:
    op.create_table(
        "worker_enrolments",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("prefix", sa.String(32), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("scopes", _JSON, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("key_prefix", sa.String(32)),
        sa.Column("worker_name", sa.String(100)),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker_enrolments")),
        sa.UniqueConstraint("prefix", name=op.f("uq_worker_enrolments_prefix")),
        sa.ForeignKeyConstraint(
            ["created_by"],
            ["users.id"],
            name=op.f("fk_worker_enrolments_created_by_users"),
            ondelete="SET NULL",
        ),
        *_checks(
            "worker_enrolments",
            name_length='length("name") <= 100',
            prefix_length='length("prefix") <= 32',
            token_hash_length='length("token_hash") <= 64',  # noqa: S106  # a CHECK's name
            scopes_json='"scopes" IS NULL OR json_valid("scopes")',
            key_prefix_length='length("key_prefix") <= 32',
            worker_name_length='length("worker_name") <= 100',
        ),
    )
    op.create_index("idx_worker_enrolments_created_by", "worker_enrolments", ["created_by"])


def _checks(table: str, **rules: str) -> list[sa.CheckConstraint]:
    """What holds SQLite to the types of its columns; PostgreSQL does so by itself."""
    if not _is_sqlite():
        return []
    return [
        sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in rules.items()
    ]


def _where(condition: str) -> dict[str, Any]:
    return {"postgresql_where": sa.text(condition), "sqlite_where": sa.text(condition)}


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
