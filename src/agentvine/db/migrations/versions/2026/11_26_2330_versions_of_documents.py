"""Give documents a project, versions and words, and say which runs are given them.

Revision: versions_of_documents, after bodies_of_calls. The words themselves are a derived table
of the registry, which makes and fills it at the end of this migration.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from agentvine.db.columns import empty_list
from agentvine.db.types import check_name, utc_now, uuid_default

revision = "versions_of_documents"
down_revision = "bodies_of_calls"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_TAGS = sa.JSON().with_variant(postgresql.ARRAY(sa.String(50)), "postgresql")
_TYPES = ("design", "plan", "specification", "guide", "reference")
_TASKS = ("feature", "bugfix", "test", "docs", "refactor", "review")
_ADDED = {"project_id": ("projects", "CASCADE"), "repository_id": ("repositories", "SET NULL")}


def upgrade() -> None:
    with op.batch_alter_table("context_documents") as batch:
        for column, (target, rule) in _ADDED.items():
            batch.add_column(sa.Column(column, sa.Uuid()))
            name = op.f(f"fk_context_documents_{column}_{target}")
            batch.create_foreign_key(name, target, [column], ["id"], ondelete=rule)
        batch.add_column(sa.Column("source_path", sa.String(500)))
        if _is_sqlite():
            name = op.f("ck_context_documents_source_path_length")
            batch.create_check_constraint(name, 'length("source_path") <= 500')
    op.create_index("idx_context_docs_project", "context_documents", ["project_id", "source_path"])
    op.create_index("idx_context_docs_repository", "context_documents", ["repository_id"])
    _create_versions()
    _create_rules()


def downgrade() -> None:
    op.drop_table("document_rules")
    op.drop_table("context_document_versions")
    op.drop_index("idx_context_docs_repository", "context_documents")
    op.drop_index("idx_context_docs_project", "context_documents")
    with op.batch_alter_table("context_documents") as batch:
        if _is_sqlite():
            batch.drop_constraint(op.f("ck_context_documents_source_path_length"), type_="check")
        batch.drop_column("source_path")
        for column, (target, _) in _ADDED.items():
            batch.drop_constraint(f"fk_context_documents_{column}_{target}", type_="foreignkey")
            batch.drop_column(column)


def _create_versions() -> None:
    table = "context_document_versions"
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(255), nullable=False),
        sa.Column("document_type", sa.String(50), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("tags", _TAGS, nullable=False, server_default=empty_list()),
        sa.Column("changed_by", sa.String(200), nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("document_id", "version", name=op.f(f"uq_{table}_document_id_version")),
        _choice(table, "document_type", _TYPES),
        _refers(table, "document_id", "context_documents", "CASCADE"),
        *_checks(
            table,
            version_integer="typeof(\"version\") IN ('integer', 'null')",
            title_length='length("title") <= 255',
            tags_json='"tags" IS NULL OR json_valid("tags")',
            changed_by_length='length("changed_by") <= 200',
        ),
    )


def _create_rules() -> None:
    table = "document_rules"
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("repository_id", sa.Uuid()),
        sa.Column("task_type", sa.String(20)),
        sa.Column("document_id", sa.Uuid()),
        sa.Column("document_type", sa.String(50)),
        sa.Column("tag", sa.String(50)),
        sa.Column("max_tokens", sa.Integer(), nullable=False, server_default=sa.text("4000")),
        sa.Column("position", sa.Integer(), nullable=False, server_default=sa.text("100")),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        _choice(table, "task_type", _TASKS),
        _choice(table, "document_type", _TYPES),
        _refers(table, "project_id", "projects", "CASCADE"),
        _refers(table, "repository_id", "repositories", "CASCADE"),
        _refers(table, "document_id", "context_documents", "CASCADE"),
        _refers(table, "created_by", "users", "SET NULL"),
        *_checks(
            table,
            tag_length='length("tag") <= 50',
            max_tokens_integer="typeof(\"max_tokens\") IN ('integer', 'null')",
            position_integer="typeof(\"position\") IN ('integer', 'null')",
        ),
    )
    for name, column in (
        ("project", "project_id"),
        ("repository", "repository_id"),
        ("document", "document_id"),
        ("created_by", "created_by"),
    ):
        op.create_index(f"idx_document_rules_{name}", table, [column])


def _choice(table: str, column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    rule = f"{column} IN ({', '.join(repr(value) for value in values)})"
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{check_name(column, values)}"))


def _refers(table: str, column: str, target: str, on_delete: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete=on_delete)


def _checks(table: str, **rules: str) -> list[sa.CheckConstraint]:
    """What holds SQLite to the types of its columns; PostgreSQL does so by itself."""
    if not _is_sqlite():
        return []
    return [
        sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in rules.items()
    ]


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
