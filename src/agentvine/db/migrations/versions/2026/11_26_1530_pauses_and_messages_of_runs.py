"""Let people pause a run, and say something to it.

Revision: pauses_and_messages_of_runs, after outcomes_of_claims.
"""

import sqlalchemy as sa
from alembic import op

from agentvine.db.types import utc_now, uuid_default

revision = "pauses_and_messages_of_runs"
down_revision = "outcomes_of_claims"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_IS_INTEGER = "typeof(\"{column}\") IN ('integer', 'null')"


def upgrade() -> None:
    _add_fence()
    op.add_column("work_orders", sa.Column("pause_requested_at", _TIME))
    op.add_column("work_orders", sa.Column("paused_at", _TIME))
    op.create_table(
        "run_messages",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("work_order_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.Column("delivered_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_messages")),
        sa.UniqueConstraint(
            "work_order_id",
            "fence",
            "number",
            name=op.f("uq_run_messages_work_order_id_fence_number"),
        ),
        sa.ForeignKeyConstraint(
            ["work_order_id"],
            ["work_orders.id"],
            name=op.f("fk_run_messages_work_order_id_work_orders"),
            ondelete="CASCADE",
        ),
        *_checks(
            fence_integer=_IS_INTEGER.format(column="fence"),
            number_integer=_IS_INTEGER.format(column="number"),
            author_length='length("author") <= 200',
        ),
    )


def downgrade() -> None:
    op.drop_table("run_messages")
    for column in ("paused_at", "pause_requested_at", "controlled_fence"):
        op.drop_column("work_orders", column)


def _add_fence() -> None:
    if not _is_sqlite():
        op.add_column("work_orders", sa.Column("controlled_fence", sa.BigInteger()))
        return
    # With the CHECK that holds SQLite to the type; added with its column, it goes with it, too.
    rule = _IS_INTEGER.format(column="controlled_fence")
    op.execute(
        "ALTER TABLE work_orders ADD COLUMN controlled_fence BIGINT "
        f"CONSTRAINT ck_work_orders_controlled_fence_integer CHECK ({rule})"
    )


def _checks(**rules: str) -> list[sa.CheckConstraint]:
    if not _is_sqlite():
        return []
    return [
        sa.CheckConstraint(rule, name=op.f(f"ck_run_messages_{name}"))
        for name, rule in rules.items()
    ]


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
