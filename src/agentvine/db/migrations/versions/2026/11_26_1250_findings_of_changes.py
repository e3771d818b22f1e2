"""Keep what the server itself found in the commits of a change.

Revision: findings_of_changes, after numbers_of_claims.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "findings_of_changes"
down_revision = "numbers_of_claims"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # With the CHECK that holds SQLite to the type; added with its column, it goes with it, too.
        op.execute(
            'ALTER TABLE change_bundles ADD COLUMN "findings" JSON '
            "CONSTRAINT ck_change_bundles_findings_json "
            'CHECK ("findings" IS NULL OR json_valid("findings"))'
        )
        return
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("change_bundles", sa.Column("findings", json))


def downgrade() -> None:
    op.drop_column("change_bundles", "findings")
