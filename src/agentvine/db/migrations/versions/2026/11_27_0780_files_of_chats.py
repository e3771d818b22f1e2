"""Keep files that go with answers, questions and messages to runs; find them by their content.

Revision: files_of_chats, after team_runs.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "files_of_chats"
down_revision = "team_runs"
branch_labels = None
depends_on = None

_JSON = postgresql.JSONB()


def upgrade() -> None:
    op.create_index("idx_chat_attachments_file_path", "chat_attachments", ["file_path"])
    if op.get_bind().dialect.name == "sqlite":
        # With its CHECK; Alembic would copy the whole table to add it.
        op.execute(
            "ALTER TABLE run_messages ADD COLUMN attachments JSON DEFAULT '[]' NOT NULL "
            "CONSTRAINT ck_run_messages_attachments_json "
            'CHECK ("attachments" IS NULL OR json_valid("attachments"))'
        )
        return
    op.add_column(
        "run_messages",
        sa.Column("attachments", _JSON, nullable=False, server_default=sa.text("'[]'")),
    )


def downgrade() -> None:
    op.drop_column("run_messages", "attachments")
    op.drop_index("idx_chat_attachments_file_path", "chat_attachments")
