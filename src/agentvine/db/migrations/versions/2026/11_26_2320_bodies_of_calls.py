"""Keep what is said in calls to models, where the operator says so.

Revision: bodies_of_calls, after steps_of_plans.
"""

import sqlalchemy as sa
from alembic import op

from agentvine.db.types import utc_now, uuid_default

revision = "bodies_of_calls"
down_revision = "steps_of_plans"
branch_labels = None
depends_on = None


def upgrade() -> None:
    checks: list[sa.CheckConstraint] = []
    if op.get_bind().dialect.name == "sqlite":
        rules = {"request_id_length": 'length("request_id") <= 100'} | {
            f"{name}_integer": f"typeof(\"{name}\") IN ('integer', 'null')"
            for name in ("request_bytes", "response_bytes")
        }
        checks = [
            sa.CheckConstraint(rule, name=op.f(f"ck_call_bodies_{name}"))
            for name, rule in rules.items()
        ]
    op.create_table(
        "call_bodies",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("request_id", sa.String(100), nullable=False),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.Column("request_bytes", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("response_bytes", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=utc_now()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_bodies")),
        sa.UniqueConstraint("request_id", name=op.f("uq_call_bodies_request_id")),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_call_bodies_project_id_projects"),
            ondelete="CASCADE",
        ),
        *checks,
    )
    op.create_index("idx_call_bodies_created", "call_bodies", ["created_at"])
    op.create_index("idx_call_bodies_project", "call_bodies", ["project_id"])


def downgrade() -> None:
    op.drop_table("call_bodies")
