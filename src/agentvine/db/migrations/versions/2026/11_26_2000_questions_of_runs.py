"""Keep what runs ask, and the rules that answer it.

Revision: questions_of_runs, after revisions_of_agents.
"""

import sqlalchemy as sa
from alembic import op

from agentvine.db.types import check_name, utc_now, uuid_default

revision = "questions_of_runs"
down_revision = "revisions_of_agents"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_STATES = ("open", "answered", "expired", "withdrawn")
_EFFECTS = ("deny", "ask", "model", "allow")
_COLUMNS = {"question_key": 200, "question_state": 20, "question_hash": 64}


def upgrade() -> None:
    for column, length in _COLUMNS.items():
        _add_column(column, length)
    asked, is_open = sa.text("question_key IS NOT NULL"), sa.text("question_state = 'open'")
    op.create_index(
        "uq_chat_messages_question",
        "chat_messages",
        ["execution_id", "question_key"],
        unique=True,
        postgresql_where=asked,
        sqlite_where=asked,
    )
    op.create_index(
        "idx_chat_messages_open",
        "chat_messages",
        ["id"],
        postgresql_where=is_open,
        sqlite_where=is_open,
    )
    op.create_table(
        "answer_rules",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid()),
        sa.Column("execution_id", sa.Uuid()),
        sa.Column("effect", sa.String(10), nullable=False),
        sa.Column("tool", sa.String(200), nullable=False),
        sa.Column("pattern", sa.Text()),
        sa.Column("input_hash", sa.String(64)),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("question_id", sa.Uuid()),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer_rules")),
        sa.CheckConstraint(
            _one_of("effect", _EFFECTS),
            name=op.f(f"ck_answer_rules_{check_name('effect', _EFFECTS)}"),
        ),
        _refers("project_id", "projects", "CASCADE"),
        _refers("task_id", "tasks", "CASCADE"),
        _refers("execution_id", "executions", "CASCADE"),
        _refers("question_id", "chat_messages", "SET NULL"),
        _refers("created_by", "users", "SET NULL"),
        *_lengths(tool=200, input_hash=64),
    )
    for name, column in (
        ("project", "project_id"),
        ("task", "task_id"),
        ("execution", "execution_id"),
        ("created_by", "created_by"),
        ("question", "question_id"),
    ):
        op.create_index(f"idx_answer_rules_{name}", "answer_rules", [column])


def downgrade() -> None:
    op.drop_table("answer_rules")
    op.drop_index("idx_chat_messages_open", "chat_messages")
    op.drop_index("uq_chat_messages_question", "chat_messages")
    if not _is_sqlite():
        op.drop_constraint(
            f"ck_chat_messages_{check_name('question_state', _STATES)}", "chat_messages"
        )
    for column in _COLUMNS:
        op.drop_column("chat_messages", column)


def _add_column(name: str, length: int) -> None:
    is_state = name == "question_state"
    rule = _one_of(name, _STATES) if is_state else f'length("{name}") <= {length}'
    kind = check_name(name, _STATES) if is_state else f"{name}_length"
    if _is_sqlite():
        # With its CHECK; added with its column, it goes with it, too.
        op.execute(
            f"ALTER TABLE chat_messages ADD COLUMN {name} VARCHAR({length}) "
            f"CONSTRAINT ck_chat_messages_{kind} CHECK ({rule})"
        )
        return
    op.add_column("chat_messages", sa.Column(name, sa.String(length)))
    if is_state:
        op.create_check_constraint(op.f(f"ck_chat_messages_{kind}"), "chat_messages", rule)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


def _refers(column: str, target: str, on_delete: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{target}.id"],
        name=op.f(f"fk_answer_rules_{column}_{target}"),
        ondelete=on_delete,
    )


def _lengths(**columns: int) -> list[sa.CheckConstraint]:
    if not _is_sqlite():
        return []
    return [
        sa.CheckConstraint(
            f'length("{name}") <= {length}', name=op.f(f"ck_answer_rules_{name}_length")
        )
        for name, length in columns.items()
    ]


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
