"""Keep what merges of live changes would come to.

Revision: trial_merges, after files_of_tasks.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from agentvine.db.columns import empty_list
from agentvine.db.types import utc_now, uuid_default

revision = "trial_merges"
down_revision = "files_of_tasks"
branch_labels = None
depends_on = None

_TABLE = "trial_merges"
_KEY = ("repository_id", "first_commit", "second_commit", "is_with_target")
_FILES = sa.JSON().with_variant(postgresql.ARRAY(sa.Text()), "postgresql")


def upgrade() -> None:
    _add_switch()
    op.create_table(
        _TABLE,
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("repository_id", sa.Uuid(), nullable=False),
        sa.Column("first_commit", sa.String(64), nullable=False),
        sa.Column("second_commit", sa.String(64), nullable=False),
        sa.Column("is_with_target", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("is_clean", sa.Boolean(), nullable=False, server_default=sa.text("true")),
        sa.Column("files", _FILES, nullable=False, server_default=empty_list()),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), nullable=False, server_default=utc_now()
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial_merges")),
        sa.UniqueConstraint(*_KEY, name=op.f(f"uq_trial_merges_{'_'.join(_KEY)}")),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_trial_merges_repository_id_repositories"),
            ondelete="CASCADE",
        ),
        *_sqlite_checks(),
    )


def downgrade() -> None:
    op.drop_table(_TABLE)
    op.drop_column("repositories", "trial_merges")


def _add_switch() -> None:
    if not _is_sqlite():
        column = sa.Column(
            "trial_merges", sa.Boolean(), nullable=False, server_default=sa.text("true")
        )
        op.add_column("repositories", column)
        return
    # With its CHECK; Alembic would copy the whole table to add it.
    op.execute(
        "ALTER TABLE repositories ADD COLUMN trial_merges BOOLEAN DEFAULT true NOT NULL "
        'CONSTRAINT ck_repositories_trial_merges_boolean CHECK ("trial_merges" IN (0, 1))'
    )


def _sqlite_checks() -> list[sa.CheckConstraint]:
    if not _is_sqlite():
        return []
    rules = {
        "first_commit_length": 'length("first_commit") <= 64',
        "second_commit_length": 'length("second_commit") <= 64',
        "is_with_target_boolean": '"is_with_target" IN (0, 1)',
        "is_clean_boolean": '"is_clean" IN (0, 1)',
        "files_json": '"files" IS NULL OR json_valid("files")',
    }
    return [
        sa.CheckConstraint(rule, name=op.f(f"ck_trial_merges_{name}"))
        for name, rule in rules.items()
    ]


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
