"""Modifications asked for in words, with what is foreseen of them; facts of source files.

Revision: foreseen_impact, after trial_merges.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from agentvine.db.types import utc_now

revision = "foreseen_impact"
down_revision = "trial_merges"
branch_labels = None
depends_on = None


def upgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    checks = [
        sa.CheckConstraint(rule, name=op.f(f"ck_source_facts_{name}"))
        for name, rule in (
            ("blob_length", 'length("blob") <= 64'),
            ("kind_length", 'length("kind") <= 30'),
            ("facts_json", '"facts" IS NULL OR json_valid("facts")'),
        )
    ]
    op.create_table(
        "source_facts",
        sa.Column("blob", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(30), nullable=False),
        sa.Column("facts", json, nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=utc_now()
        ),
        sa.PrimaryKeyConstraint("blob", "kind", name=op.f("pk_source_facts")),
        *(checks if is_sqlite else []),
    )
    op.create_index("idx_source_facts_created", "source_facts", ["created_at"])
    for name in ("foreseen", "wanted"):
        if is_sqlite:
            # With the CHECK that holds SQLite to the type; it goes with its column, too.
            op.execute(
                f'ALTER TABLE modifications ADD COLUMN "{name}" JSON '
                f"CONSTRAINT ck_modifications_{name}_json "
                f'CHECK ("{name}" IS NULL OR json_valid("{name}"))'
            )
        else:
            op.add_column("modifications", sa.Column(name, json))


def downgrade() -> None:
    for name in ("wanted", "foreseen"):
        op.drop_column("modifications", name)
    op.drop_table("source_facts")
