"""Keep providers of models, their keys, and which models may be used.

Revision: providers_of_models, after pauses_and_messages_of_runs.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from agentvine.db.types import utc_now, uuid_default

revision = "providers_of_models"
down_revision = "pauses_and_messages_of_runs"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_TEXTS = sa.JSON().with_variant(postgresql.ARRAY(sa.Text()), "postgresql")
_KINDS = "kind IN ('anthropic', 'openai', 'openai_compatible', 'gemini')"


def upgrade() -> None:
    _create_providers()
    _create_credentials()
    _create_rules()


def downgrade() -> None:
    for table in ("model_rules", "provider_credentials", "model_providers"):
        op.drop_table(table)


def _create_providers() -> None:
    op.create_table(
        "model_providers",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("base_url", sa.String(500), nullable=False),
        _texts("models"),
        _flag("is_free", default=False),
        _flag("is_active", default=True),
        _flag("allows_private", default=False),
        _flag("is_from_environment", default=False),
        sa.Column("tested_at", _TIME),
        sa.Column("test_problem", sa.String(500)),
        _texts("seen_models"),
        *_stamps(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_providers")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_model_providers_project_id_name")),
        _cascade("model_providers", "project_id", "projects"),
        sa.CheckConstraint(_KINDS, name=op.f("ck_model_providers_kind_6bdd")),
        *_checks(
            "model_providers",
            name_length='length("name") <= 50',
            base_url_length='length("base_url") <= 500',
            models_json='"models" IS NULL OR json_valid("models")',
            is_free_boolean='"is_free" IN (0, 1)',
            is_active_boolean='"is_active" IN (0, 1)',
            allows_private_boolean='"allows_private" IN (0, 1)',
            is_from_environment_boolean='"is_from_environment" IN (0, 1)',
            test_problem_length='length("test_problem") <= 500',
            seen_models_json='"seen_models" IS NULL OR json_valid("seen_models")',
        ),
    )
    rows = sa.text("project_id IS NULL")
    op.create_index(
        "uq_model_providers_without_project",
        "model_providers",
        ["name"],
        unique=True,
        postgresql_where=rows,
        sqlite_where=rows,
    )


def _create_credentials() -> None:
    op.create_table(
        "provider_credentials",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("provider_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("sealed_key", sa.Text()),
        sa.Column("last_four", sa.String(4), nullable=False, server_default=sa.text("''")),
        sa.Column("fingerprint", sa.String(32), nullable=False),
        _flag("is_active", default=True),
        sa.Column("limited_until", _TIME),
        sa.Column("limit_reason", sa.String(500)),
        *_stamps(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_credentials")),
        sa.UniqueConstraint(
            "provider_id",
            "fingerprint",
            name=op.f("uq_provider_credentials_provider_id_fingerprint"),
        ),
        _cascade("provider_credentials", "provider_id", "model_providers"),
        *_checks(
            "provider_credentials",
            name_length='length("name") <= 100',
            last_four_length='length("last_four") <= 4',
            fingerprint_length='length("fingerprint") <= 32',
            is_active_boolean='"is_active" IN (0, 1)',
            limit_reason_length='length("limit_reason") <= 500',
        ),
    )


def _create_rules() -> None:
    op.create_table(
        "model_rules",
        sa.Column("scope_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid()),
        _texts("allowed"),
        sa.Column("aliases", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("default_model", sa.String(100)),
        *_stamps(),
        sa.PrimaryKeyConstraint("scope_id", name=op.f("pk_model_rules")),
        sa.UniqueConstraint("project_id", name=op.f("uq_model_rules_project_id")),
        _cascade("model_rules", "project_id", "projects"),
        *_checks(
            "model_rules",
            allowed_json='"allowed" IS NULL OR json_valid("allowed")',
            aliases_json='"aliases" IS NULL OR json_valid("aliases")',
            default_model_length='length("default_model") <= 100',
        ),
    )


def _texts(name: str) -> sa.Column[Any]:
    empty = "'[]'" if _is_sqlite() else "'{}'"
    return sa.Column(name, _TEXTS, nullable=False, server_default=sa.text(empty))


def _flag(name: str, *, default: bool) -> sa.Column[bool]:
    words = sa.text(str(default).lower())
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=words)


def _stamps() -> list[sa.Column[Any]]:
    return [
        sa.Column(name, _TIME, nullable=False, server_default=utc_now())
        for name in ("created_at", "updated_at")
    ]


def _cascade(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column],
        [f"{target}.id"],
        name=op.f(f"fk_{table}_{column}_{target}"),
        ondelete="CASCADE",
    )


def _checks(table: str, **rules: str) -> list[sa.CheckConstraint]:
    """What holds SQLite to the types of its columns; PostgreSQL does so by itself."""
    if not _is_sqlite():
        return []
    return [
        sa.CheckConstraint(rule, name=op.f(f"ck_{table}_{name}")) for name, rule in rules.items()
    ]


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"
