"""Remember the last claim that each worker was granted orders for.

Revision: numbers_of_claims, after limits_and_enrolment.
"""

import sqlalchemy as sa
from alembic import op

revision = "numbers_of_claims"
down_revision = "limits_and_enrolment"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("claim_session_id", sa.Uuid()))
    if op.get_bind().dialect.name == "sqlite":
        # With the CHECK that holds SQLite to the type; added with its column, it goes with it, too.
        op.execute(
            "ALTER TABLE workers ADD COLUMN claim_number INTEGER "
            "CONSTRAINT ck_workers_claim_number_integer "
            "CHECK (typeof(\"claim_number\") IN ('integer', 'null'))"
        )
    else:
        op.add_column("workers", sa.Column("claim_number", sa.Integer()))


def downgrade() -> None:
    op.drop_column("workers", "claim_number")
    op.drop_column("workers", "claim_session_id")
