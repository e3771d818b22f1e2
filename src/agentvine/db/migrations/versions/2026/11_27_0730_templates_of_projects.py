"""Give templates a project, and what is known of their variables.

Revision: templates_of_projects, after mentions_and_files_of_messages.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "templates_of_projects"
down_revision = "mentions_and_files_of_messages"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_REFERENCES = {"project_id": ("projects", "CASCADE"), "created_by": ("users", "SET NULL")}
_SQLITE = {
    "variables_json": '"variables" IS NULL OR json_valid("variables")',
    "row_version_integer": "typeof(\"row_version\") IN ('integer', 'null')",
}
"""What holds SQLite to the types of the new columns; PostgreSQL does so by itself."""


def upgrade() -> None:
    with op.batch_alter_table("templates") as batch:
        batch.add_column(
            sa.Column("variables", _JSON, nullable=False, server_default=sa.text("'[]'"))
        )
        batch.add_column(sa.Column("test_command", sa.Text()))
        for column, (target, rule) in _REFERENCES.items():
            batch.add_column(sa.Column(column, sa.Uuid()))
            name = op.f(f"fk_templates_{column}_{target}")
            batch.create_foreign_key(name, target, [column], ["id"], ondelete=rule)
        batch.add_column(
            sa.Column("row_version", sa.Integer(), nullable=False, server_default=sa.text("1"))
        )
        if _is_sqlite():
            for name, rule in _SQLITE.items():
                batch.create_check_constraint(op.f(f"ck_templates_{name}"), rule)
    op.create_index("idx_templates_project", "templates", ["project_id"])
    op.create_index("idx_templates_created_by", "templates", ["created_by"])


def downgrade() -> None:
    op.drop_index("idx_templates_created_by", "templates")
    op.drop_index("idx_templates_project", "templates")
    with op.batch_alter_table("templates") as batch:
        if _is_sqlite():
            for name in _SQLITE:
                batch.drop_constraint(op.f(f"ck_templates_{name}"), type_="check")
        for column, (target, _) in _REFERENCES.items():
            batch.drop_constraint(op.f(f"fk_templates_{column}_{target}"), type_="foreignkey")
            batch.drop_column(column)
        for column in ("row_version", "test_command", "variables"):
            batch.drop_column(column)


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
