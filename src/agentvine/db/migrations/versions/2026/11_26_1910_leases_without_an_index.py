"""Let a beat renew leases in place: no index holds them, and pages keep room for new versions.

What has lapsed is found among what is claimed, which is little.

Revision: leases_without_an_index, after providers_of_models.
"""

import sqlalchemy as sa
from alembic import op

revision = "leases_without_an_index"
down_revision = "providers_of_models"
branch_labels = None
depends_on = None

_INDEX = "idx_work_orders_lease"


def upgrade() -> None:
    op.drop_index(_INDEX, table_name="work_orders")
    _set_storage("SET (fillfactor = 70)")


def downgrade() -> None:
    _set_storage("RESET (fillfactor)")
    rows = sa.text("status = 'claimed'")
    op.create_index(
        _INDEX, "work_orders", ["lease_expires_at"], postgresql_where=rows, sqlite_where=rows
    )


def _set_storage(change: str) -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE work_orders {change}")
