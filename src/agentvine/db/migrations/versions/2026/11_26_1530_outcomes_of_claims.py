"""Keep how a claim ended, so that a repeated report gets its first answer again.

Revision: outcomes_of_claims, after workspaces_of_repositories.
"""

import sqlalchemy as sa
from alembic import op

from agentvine.db.types import utc_now

revision = "outcomes_of_claims"
down_revision = "workspaces_of_repositories"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "claim_outcomes",
        sa.Column("work_order_id", sa.Uuid(), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("available_at", _TIME),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("work_order_id", "fence", name=op.f("pk_claim_outcomes")),
        _cascade("work_order_id", "work_orders"),
        _cascade("worker_id", "workers"),
    )
    op.create_index("idx_claim_outcomes_worker", "claim_outcomes", ["worker_id"])


def downgrade() -> None:
    op.drop_table("claim_outcomes")


def _cascade(column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{target}.id"],
        name=op.f(f"fk_claim_outcomes_{column}_{target}"),
        ondelete="CASCADE",
    )
