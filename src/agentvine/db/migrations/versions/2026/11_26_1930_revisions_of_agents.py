"""Keep how agents were set up.

Revision: revisions_of_agents, after leases_without_an_index.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from agentvine.db.types import utc_now, uuid_default

revision = "revisions_of_agents"
down_revision = "leases_without_an_index"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    _add_revision()
    op.create_table(
        "agent_revisions",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("model_config", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("system_prompt", sa.Text()),
        sa.Column("rules_file_path", sa.String(500)),
        sa.Column("is_active", sa.Boolean(), nullable=False, server_default=sa.text("true")),
        sa.Column("changed_by", sa.String(200), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=utc_now()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent_revisions")),
        sa.UniqueConstraint(
            "agent_id", "revision", name=op.f("uq_agent_revisions_agent_id_revision")
        ),
        sa.ForeignKeyConstraint(
            ["agent_id"],
            ["agents.id"],
            name=op.f("fk_agent_revisions_agent_id_agents"),
            ondelete="CASCADE",
        ),
        *_checks_of_sqlite(),
    )


def downgrade() -> None:
    op.drop_table("agent_revisions")
    op.drop_column("agents", "revision")


def _add_revision() -> None:
    if op.get_bind().dialect.name != "sqlite":
        column = sa.Column("revision", sa.Integer(), nullable=False, server_default=sa.text("1"))
        op.add_column("agents", column)
        return
    # Alembic would copy the whole table to add a CHECK.
    op.execute(
        "ALTER TABLE agents ADD COLUMN revision INTEGER DEFAULT 1 NOT NULL "
        "CONSTRAINT ck_agents_revision_integer "
        "CHECK (typeof(\"revision\") IN ('integer', 'null'))"
    )


def _checks_of_sqlite() -> list[sa.CheckConstraint]:
    """What holds SQLite to the types of its columns; PostgreSQL does so by itself."""
    if op.get_bind().dialect.name != "sqlite":
        return []
    rules = {
        "revision_integer": "typeof(\"revision\") IN ('integer', 'null')",
        "name_length": 'length("name") <= 50',
        "model_config_json": '"model_config" IS NULL OR json_valid("model_config")',
        "rules_file_path_length": 'length("rules_file_path") <= 500',
        "is_active_boolean": '"is_active" IN (0, 1)',
        "changed_by_length": 'length("changed_by") <= 200',
    }
    return [
        sa.CheckConstraint(rule, name=op.f(f"ck_agent_revisions_{name}"))
        for name, rule in rules.items()
    ]
