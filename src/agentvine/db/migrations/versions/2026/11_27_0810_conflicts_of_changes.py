"""Keep the files in which a change conflicts, so that a conflict is told from a refused push.

Revision: conflicts_of_changes, after indexes_of_what_is_there.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "conflicts_of_changes"
down_revision = "indexes_of_what_is_there"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # With its CHECK; Alembic would copy the whole table to add it.
        op.execute(
            "ALTER TABLE modifications ADD COLUMN conflicting_files JSON DEFAULT '[]' "
            "CONSTRAINT ck_modifications_conflicting_files_json "
            'CHECK ("conflicting_files" IS NULL OR json_valid("conflicting_files"))'
        )
        return
    op.add_column(
        "modifications",
        sa.Column("conflicting_files", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'")),
    )


def downgrade() -> None:
    op.drop_column("modifications", "conflicting_files")
