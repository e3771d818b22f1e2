"""Keep team runs, their steps and verdicts.

Revision: team_runs, after foreseen_impact.
"""

from decimal import Decimal

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from agentvine.db.types import check_name, utc_now, uuid_default

revision = "team_runs"
down_revision = "foreseen_impact"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_LEVELS = ("autonomous", "supervised", "human_required")
_ROLES = ("architect", "coder", "tester", "reviewer", "deliverer")
_OUTCOMES = ("pass", "fail", "approve", "changes_requested")
_STATUSES = (
    "planning",
    "awaiting_approval",
    "building",
    "testing",
    "reviewing",
    "delivering",
    "waiting",
    "completed",
    "failed",
    "cancelled",
)
_INDEXES = {
    "team_runs": {
        "project": ["project_id"],
        "repository": ["repository_id"],
        "status": ["status"],
        "plan": ["plan_id"],
        "conversation": ["conversation_id"],
        "created_by": ["created_by"],
    },
    "team_steps": {"task": ["task_id"]},
    "team_verdicts": {"run": ["team_run_id", "round"], "execution": ["execution_id"]},
}


def upgrade() -> None:
    _create_runs()
    _create_steps()
    _create_verdicts()
    for table, indexes in _INDEXES.items():
        for name, columns in indexes.items():
            op.create_index(f"idx_{table}_{name}", table, columns)


def downgrade() -> None:
    for table in reversed(_INDEXES):
        op.drop_table(table)


def _create_runs() -> None:
    table = "team_runs"
    op.create_table(
        table,
        _key(),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("repository_id", sa.Uuid()),
        sa.Column("goal", sa.Text(), nullable=False),
        _word("status", "planning"),
        sa.Column("status_reason", sa.Text()),
        _word("permission_level", "supervised"),
        _count("round", 0),
        _count("max_rounds", 3),
        sa.Column("budget_usd", _dollars(2)),
        sa.Column("target_branch", sa.String(255), nullable=False),
        sa.Column("branch_name", sa.String(255), nullable=False),
        sa.Column("base_commit", sa.String(64)),
        sa.Column("test_command", sa.Text()),
        sa.Column("roles", _JSON, nullable=False, server_default=sa.text("'{}'")),
        _flag("is_approved"),
        _flag("is_overruled"),
        sa.Column("busy_until", _TIME),
        sa.Column("plan_id", sa.Uuid()),
        sa.Column("conversation_id", sa.Uuid()),
        sa.Column("created_by", sa.Uuid()),
        _count("row_version", 1),
        *_stamps("created_at", "updated_at"),
        sa.Column("completed_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        _choice(table, "status", _STATUSES),
        _choice(table, "permission_level", _LEVELS),
        _refers(table, "project_id", "projects", "CASCADE"),
        _refers(table, "repository_id", "repositories", "SET NULL"),
        _refers(table, "plan_id", "plans", "SET NULL"),
        _refers(table, "conversation_id", "conversations", "SET NULL"),
        _refers(table, "created_by", "users", "SET NULL"),
        *_checks(
            table,
            integers=("round", "max_rounds", "budget_usd", "row_version"),
            flags=("is_approved", "is_overruled"),
            lengths={"target_branch": 255, "branch_name": 255, "base_commit": 64},
            documents=("roles",),
        ),
    )


def _create_steps() -> None:
    table = "team_steps"
    op.create_table(
        table,
        _key(),
        sa.Column("team_run_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        _count("round", 0),
        _count("number", 1),
        _flag("by_model"),
        sa.Column("task_id", sa.Uuid()),
        sa.Column("model", sa.String(100)),
        _count("tokens_in", 0),
        _count("tokens_out", 0),
        sa.Column("cost_usd", _dollars(6), nullable=False, server_default=sa.text("0")),
        sa.Column("problem", sa.Text()),
        sa.Column("answered_at", _TIME),
        *_stamps("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint(
            "team_run_id",
            "role",
            "round",
            "number",
            name=op.f(f"uq_{table}_team_run_id_role_round_number"),
        ),
        _choice(table, "role", _ROLES),
        _refers(table, "team_run_id", "team_runs", "CASCADE"),
        _refers(table, "task_id", "tasks", "SET NULL"),
        *_checks(
            table,
            integers=("round", "number", "tokens_in", "tokens_out", "cost_usd"),
            flags=("by_model",),
            lengths={"model": 100},
        ),
    )


def _create_verdicts() -> None:
    table = "team_verdicts"
    op.create_table(
        table,
        _key(),
        sa.Column("team_run_id", sa.Uuid(), nullable=False),
        sa.Column("step_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        _count("round", 0),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("findings", _JSON, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("execution_id", sa.Uuid()),
        *_stamps("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint("step_id", name=op.f(f"uq_{table}_step_id")),
        _choice(table, "role", _ROLES),
        _choice(table, "outcome", _OUTCOMES),
        _refers(table, "team_run_id", "team_runs", "CASCADE"),
        _refers(table, "step_id", "team_steps", "CASCADE"),
        _refers(table, "execution_id", "executions", "SET NULL"),
        *_checks(table, integers=("round",), documents=("findings",)),
    )


def _key() -> sa.Column[object]:
    return sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default())


def _dollars(places: int) -> sa.DECIMAL[Decimal]:
    return sa.DECIMAL(10, places)


def _word(name: str, default: str) -> sa.Column[str]:
    words = sa.text(f"'{default}'")
    return sa.Column(name, sa.String(20), nullable=False, server_default=words)


def _count(name: str, default: int) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False, server_default=sa.text(str(default)))


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.text("false"))


def _stamps(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, _TIME, server_default=utc_now()) for name in names]


def _choice(table: str, column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    rule = f"{column} IN ({', '.join(repr(value) for value in values)})"
    return sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{check_name(column, values)}"))


def _refers(table: str, column: str, target: str, on_delete: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=name, ondelete=on_delete)


def _checks(
    table: str,
    *,
    integers: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
    lengths: dict[str, int] | None = None,
    documents: tuple[str, ...] = (),
) -> list[sa.CheckConstraint]:
    """What holds SQLite to the types of its columns; PostgreSQL does so by itself."""
    if op.get_bind().dialect.name != "sqlite":
        return []
    rules = {f"{name}_integer": f"typeof(\"{name}\") IN ('integer', 'null')" for name in integers}
    rules |= {f"{name}_boolean": f'"{name}" IN (0, 1)' for name in flags}
    rules |= {f"{name}_length": f'length("{name}") <= {n}' for name, n in (lengths or {}).items()}
    rules |= {f"{name}_json": f'"{name}" IS NULL OR json_valid("{name}")' for name in documents}
    return [
        sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in rules.items()
    ]
