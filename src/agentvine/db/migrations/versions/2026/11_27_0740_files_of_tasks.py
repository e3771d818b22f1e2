"""Keep which files tasks touch, and which tasks wait because of them.

Revision: files_of_tasks, after templates_of_projects.
"""

import sqlalchemy as sa
from alembic import op

from agentvine.db.types import check_name, utc_now, uuid_default

revision = "files_of_tasks"
down_revision = "templates_of_projects"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_SOURCES = ("declared", "plan", "impact", "history")


def upgrade() -> None:
    op.add_column("tasks", sa.Column("waits_for_files_since", _TIME))
    waiting, live = sa.text("waits_for_files_since IS NOT NULL"), sa.text("live_since IS NOT NULL")
    op.create_index(
        "idx_tasks_waiting_for_files",
        "tasks",
        ["repository_id"],
        postgresql_where=waiting,
        sqlite_where=waiting,
    )
    _add_switch("overlap_waits")
    op.create_table(
        "task_files",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("repository_id", sa.Uuid(), nullable=False),
        sa.Column("pattern", sa.String(1000), nullable=False),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("live_since", _TIME),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_files")),
        sa.CheckConstraint(
            f"source IN ({', '.join(repr(value) for value in _SOURCES)})",
            name=op.f(f"ck_task_files_{check_name('source', _SOURCES)}"),
        ),
        *_refers("task_id", "tasks"),
        *_refers("repository_id", "repositories"),
        *_sqlite_checks(),
    )
    op.create_index("idx_task_files_task", "task_files", ["task_id"])
    op.create_index("idx_task_files_repository", "task_files", ["repository_id"])
    op.create_index(
        "idx_task_files_live",
        "task_files",
        ["repository_id"],
        postgresql_where=live,
        sqlite_where=live,
    )


def downgrade() -> None:
    op.drop_table("task_files")
    op.drop_column("repositories", "overlap_waits")
    op.drop_index("idx_tasks_waiting_for_files", "tasks")
    op.drop_column("tasks", "waits_for_files_since")


def _add_switch(name: str) -> None:
    if not _is_sqlite():
        column = sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.text("true"))
        op.add_column("repositories", column)
        return
    # With its CHECK; Alembic would copy the whole table to add it.
    op.execute(
        f"ALTER TABLE repositories ADD COLUMN {name} BOOLEAN DEFAULT true NOT NULL "
        f'CONSTRAINT ck_repositories_{name}_boolean CHECK ("{name}" IN (0, 1))'
    )


def _refers(column: str, target: str) -> list[sa.ForeignKeyConstraint]:
    name = op.f(f"fk_task_files_{column}_{target}")
    return [sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete="CASCADE")]


def _sqlite_checks() -> list[sa.CheckConstraint]:
    if not _is_sqlite():
        return []
    return [
        sa.CheckConstraint('length("pattern") <= 1000', name=op.f("ck_task_files_pattern_length"))
    ]


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
