"""Let budgets limit tokens and runs, for logins without a price.

Revision: budgets_of_tokens_and_runs, after prices_of_models.
"""

import sqlalchemy as sa
from alembic import op

revision = "budgets_of_tokens_and_runs"
down_revision = "prices_of_models"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _add("budget_limits", "max_tokens", sa.BigInteger())
    _add("budget_limits", "max_runs", sa.Integer())
    _add("budget_counters", "spent_tokens", sa.BigInteger(), default="0")
    _add("budget_counters", "spent_runs", sa.Integer(), default="0")


def downgrade() -> None:
    for table, column in (
        ("budget_counters", "spent_runs"),
        ("budget_counters", "spent_tokens"),
        ("budget_limits", "max_runs"),
        ("budget_limits", "max_tokens"),
    ):
        op.drop_column(table, column)


def _add(
    table: str, column: str, kind: sa.BigInteger | sa.Integer, default: str | None = None
) -> None:
    if op.get_bind().dialect.name != "sqlite":
        server_default = sa.text(default) if default else None
        op.add_column(
            table,
            sa.Column(column, kind, nullable=default is None, server_default=server_default),
        )
        return
    # With the CHECK that holds SQLite to the type; added with its column, it goes with it, too.
    rule = f"typeof(\"{column}\") IN ('integer', 'null')"
    words = f" DEFAULT {default} NOT NULL" if default else ""
    name = "BIGINT" if isinstance(kind, sa.BigInteger) else "INTEGER"
    op.execute(
        f"ALTER TABLE {table} ADD COLUMN {column} {name}{words} "
        f"CONSTRAINT ck_{table}_{column}_integer CHECK ({rule})"
    )
