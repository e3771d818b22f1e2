"""Let one event make one notification for a person, and find what is to be sent among few rows.

Revision: keys_of_notifications, after conflicts_of_changes.
"""

import sqlalchemy as sa
from alembic import op

revision = "keys_of_notifications"
down_revision = "conflicts_of_changes"
branch_labels = None
depends_on = None

_TABLE = "notifications"
_NEXT = "idx_notifications_next_attempt"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        # With its CHECK; Alembic would copy the whole table to add it.
        op.execute(
            'ALTER TABLE notifications ADD COLUMN "key" VARCHAR(200) '
            'CONSTRAINT ck_notifications_key_length CHECK (length("key") <= 200)'
        )
    else:
        op.add_column(_TABLE, sa.Column("key", sa.String(200)))
    op.create_index("uq_notifications_user_key", _TABLE, ["user_id", "key"], unique=True)
    op.create_index("idx_notifications_newest", _TABLE, ["user_id", "id"])
    is_there = sa.text("next_attempt_at IS NOT NULL")
    op.drop_index(_NEXT, _TABLE)
    op.create_index(
        _NEXT, _TABLE, ["next_attempt_at"], postgresql_where=is_there, sqlite_where=is_there
    )


def downgrade() -> None:
    op.drop_index(_NEXT, _TABLE)
    op.create_index(_NEXT, _TABLE, ["next_attempt_at"])
    op.drop_index("idx_notifications_newest", _TABLE)
    op.drop_index("uq_notifications_user_key", _TABLE)
    op.drop_column(_TABLE, "key")
