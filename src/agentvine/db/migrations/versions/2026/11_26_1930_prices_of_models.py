"""Keep prices of models that hold before those of the price table.

Revision: prices_of_models, after questions_of_runs.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from agentvine.db.types import utc_now, uuid_default

revision = "prices_of_models"
down_revision = "questions_of_runs"
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_RATE: sa.types.TypeEngine[Any] = sa.DECIMAL(12, 6)
_RATES = {
    "input_usd": False,
    "output_usd": False,
    "cache_read_usd": True,
    "cache_write_usd": True,
    "reasoning_usd": True,
}


def upgrade() -> None:
    op.create_table(
        "price_overrides",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=uuid_default()),
        sa.Column("provider", sa.String(50)),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("effective_from", _TIME, nullable=False),
        *(sa.Column(name, _RATE, nullable=is_open) for name, is_open in _RATES.items()),
        sa.Column("created_at", _TIME, nullable=False, server_default=utc_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_overrides")),
        *_checks(),
    )
    op.create_index("idx_price_overrides_model", "price_overrides", ["model", "effective_from"])


def downgrade() -> None:
    op.drop_table("price_overrides")


def _checks() -> list[sa.CheckConstraint]:
    """What holds SQLite to the types of its columns; PostgreSQL does so by itself."""
    if op.get_bind().dialect.name != "sqlite":
        return []
    rules = {
        "provider_length": 'length("provider") <= 50',
        "model_length": 'length("model") <= 100',
    }
    rules |= {f"{name}_integer": f"typeof(\"{name}\") IN ('integer', 'null')" for name in _RATES}
    return [
        sa.CheckConstraint(rule, name=op.f(f"ck_price_overrides_{name}"))
        for name, rule in rules.items()
    ]
