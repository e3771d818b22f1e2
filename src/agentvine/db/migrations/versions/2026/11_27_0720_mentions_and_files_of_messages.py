"""Let messages have files, mention agents, and be deleted.

Revision: mentions_and_files_of_messages, after snapshots_of_repositories.
"""

import sqlalchemy as sa
from alembic import op

from agentvine.db.types import check_name, utc_now, uuid_default

revision = "mentions_and_files_of_messages"
down_revision = "snapshots_of_repositories"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_STATES = ("waiting", "answered", "failed")


def upgrade() -> None:
    op.add_column("messages", sa.Column("deleted_at", _TIME))
    _create_attachments()
    _create_mentions()


def downgrade() -> None:
    op.drop_table("message_mentions")
    op.drop_table("message_attachments")
    with op.batch_alter_table("messages") as batch:
        batch.drop_column("deleted_at")


def _create_attachments() -> None:
    table = "message_attachments"
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("file_type", sa.String(100), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        _refers(table, "message_id", "messages", "CASCADE"),
        *_checks(
            table,
            file_name_length='length("file_name") <= 255',
            file_type_length='length("file_type") <= 100',
            size_integer="typeof(\"size\") IN ('integer', 'null')",
            sha256_length='length("sha256") <= 64',
        ),
    )
    op.create_index("idx_message_attachments_message", table, ["message_id"])
    op.create_index("idx_message_attachments_sha256", table, ["sha256"])


def _create_mentions() -> None:
    table = "message_mentions"
    states = f"state IN ({', '.join(repr(state) for state in _STATES)})"
    waiting = sa.text("state = 'waiting'")
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False, server_default=sa.text("'waiting'")),
        sa.Column("detail", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("leased_until", _TIME),
        sa.Column("reply_id", sa.Uuid()),
        sa.Column("task_id", sa.Uuid()),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("message_id", "agent_id", name=op.f(f"uq_{table}_message_id_agent_id")),
        sa.CheckConstraint(states, name=op.f(f"ck_{table}_{check_name('state', _STATES)}")),
        _refers(table, "message_id", "messages", "CASCADE"),
        _refers(table, "agent_id", "agents", "CASCADE"),
        _refers(table, "reply_id", "messages", "SET NULL"),
        *_checks(table, attempts_integer="typeof(\"attempts\") IN ('integer', 'null')"),
    )
    op.create_index("idx_message_mentions_agent", table, ["agent_id"])
    op.create_index("idx_message_mentions_reply", table, ["reply_id"])
    op.create_index(
        "idx_message_mentions_waiting",
        table,
        ["id"],
        postgresql_where=waiting,
        sqlite_where=waiting,
    )


def _refers(table: str, column: str, target: str, on_delete: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete=on_delete)


def _checks(table: str, **rules: str) -> list[sa.CheckConstraint]:
    """What holds SQLite to the types of its columns; PostgreSQL does so by itself."""
    if op.get_bind().dialect.name != "sqlite":
        return []
    return [
        sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in rules.items()
    ]
