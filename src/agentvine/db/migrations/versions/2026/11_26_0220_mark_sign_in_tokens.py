"""Tell the tokens that were made for a password from all others.

Revision: mark_sign_in_tokens, after index_log_tails.
"""

import sqlalchemy as sa
from alembic import op

revision = "mark_sign_in_tokens"
down_revision = "index_log_tails"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_context().dialect.name == "sqlite":
        # With the CHECK that holds SQLite to truth values; a table need not be copied for it.
        op.execute(
            "ALTER TABLE api_tokens ADD COLUMN is_sign_in BOOLEAN DEFAULT (false) NOT NULL "
            'CONSTRAINT ck_api_tokens_is_sign_in_boolean CHECK ("is_sign_in" IN (0, 1))'
        )
    else:
        op.add_column(
            "api_tokens",
            sa.Column("is_sign_in", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        )
    op.execute("UPDATE api_tokens SET is_sign_in = true WHERE name = 'sign-in' AND kind = 'user'")


def downgrade() -> None:
    op.drop_column("api_tokens", "is_sign_in")
