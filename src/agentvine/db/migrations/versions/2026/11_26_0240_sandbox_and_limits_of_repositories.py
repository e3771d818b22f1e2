"""Let a repository say in what sandbox, and within which limits, its tasks run.

Revision: repository_sandboxes, after mark_sign_in_tokens.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

revision = "repository_sandboxes"
down_revision = "mark_sign_in_tokens"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # With the CHECK that holds SQLite to the type; added with its column, it goes with it, too.
        for column, rest in (("sandbox", ""), ("limits", "NOT NULL DEFAULT '{}'")):
            op.execute(
                f'ALTER TABLE repositories ADD COLUMN "{column}" JSON {rest} '
                f"CONSTRAINT ck_repositories_{column}_json "
                f'CHECK ("{column}" IS NULL OR json_valid("{column}"))'
            )
        return
    op.add_column("repositories", sa.Column("sandbox", _JSON))
    op.add_column(
        "repositories",
        sa.Column("limits", _JSON, nullable=False, server_default=sa.text("'{}'")),
    )


def downgrade() -> None:
    op.drop_column("repositories", "limits")
    op.drop_column("repositories", "sandbox")
