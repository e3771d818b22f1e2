"""Say what a project context is a snapshot of, and keep each content once.

Revision: snapshots_of_repositories, after versions_of_documents.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from agentvine.db.columns import empty_list
from agentvine.db.types import utc_now

revision = "snapshots_of_repositories"
down_revision = "versions_of_documents"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_LIST = sa.JSON().with_variant(postgresql.ARRAY(sa.Text()), "postgresql")
_TABLE = "project_contexts"
_CHECKS = {
    "branch_length": 'length("branch") <= 200',
    "commit_id_length": 'length("commit_id") <= 64',
    "file_count_integer": "typeof(\"file_count\") IN ('integer', 'null')",
    "total_bytes_integer": "typeof(\"total_bytes\") IN ('integer', 'null')",
    "notes_json": '"notes" IS NULL OR json_valid("notes")',
}


def upgrade() -> None:
    with op.batch_alter_table(_TABLE) as batch:
        batch.add_column(sa.Column("branch", sa.String(200)))
        batch.add_column(sa.Column("commit_id", sa.String(64)))
        for name, kind in (("file_count", sa.Integer()), ("total_bytes", sa.BigInteger())):
            zero = sa.text("0")
            batch.add_column(sa.Column(name, kind, nullable=False, server_default=zero))
        batch.add_column(sa.Column("notes", _LIST, nullable=False, server_default=empty_list()))
        batch.add_column(sa.Column("taken_at", _TIME))
        if _is_sqlite():
            for name, rule in _CHECKS.items():
                batch.create_check_constraint(op.f(f"ck_{_TABLE}_{name}"), rule)
    _create_blobs()
    op.create_table(
        "context_requests",
        sa.Column("repository_id", sa.Uuid(), nullable=False),
        sa.Column("requested_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("repository_id", name=op.f("pk_context_requests")),
        _refers("context_requests", "repository_id", "repositories"),
    )


def downgrade() -> None:
    op.drop_table("context_requests")
    op.drop_table("context_blobs")
    with op.batch_alter_table(_TABLE) as batch:
        if _is_sqlite():
            for name in _CHECKS:
                batch.drop_constraint(op.f(f"ck_{_TABLE}_{name}"), type_="check")
        for name in ("taken_at", "notes", "total_bytes", "file_count", "commit_id", "branch"):
            batch.drop_column(name)


def _create_blobs() -> None:
    table = "context_blobs"
    checks = {
        "hash_length": 'length("hash") <= 64',
        "size_integer": "typeof(\"size\") IN ('integer', 'null')",
    }
    op.create_table(
        table,
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("content", sa.Text()),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("project_id", "hash", name=op.f(f"pk_{table}")),
        _refers(table, "project_id", "projects"),
        *(
            sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}"))
            for name, rule in checks.items()
            if _is_sqlite()
        ),
    )


def _refers(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete="CASCADE")


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
