"""Let a repository say what its runs find in their work trees.

Revision: workspaces_of_repositories, after budgets_of_tasks.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "workspaces_of_repositories"
down_revision = "budgets_of_tasks"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # With the CHECK that holds SQLite to the type; added with its column, it goes with it, too.
        op.execute(
            "ALTER TABLE repositories ADD COLUMN \"workspace\" JSON NOT NULL DEFAULT '{}' "
            "CONSTRAINT ck_repositories_workspace_json "
            'CHECK ("workspace" IS NULL OR json_valid("workspace"))'
        )
        return
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column(
        "repositories",
        sa.Column("workspace", json, nullable=False, server_default=sa.text("'{}'")),
    )


def downgrade() -> None:
    op.drop_column("repositories", "workspace")
