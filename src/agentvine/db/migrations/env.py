"""Alembic's entry: configures the context with what the runner hands over.

Only the runner comes here, with an open connection in ``config.attributes["run"]``. Why each
option is as it is:

- ``transaction_per_migration`` with ``transactional_ddl``: a migration is whole or not there.
  SQLite too rolls back DDL, once our engine emits BEGIN itself; Alembic assumes it cannot.
- ``render_as_batch``: SQLite alters a table by making a new one, and the migration says so.
- ``on_version_apply``: at the end of each migration, inside its transaction, the registry's
  objects are put back and the data is checked; an error there undoes the migration.
"""

from typing import cast

from alembic import context
from alembic.util import CommandError

from agentvine.db.migrations.run import MigrationRun

run = cast("MigrationRun | None", context.config.attributes.get("run"))
if run is None:
    raise CommandError("Run migrations with `agentvine db upgrade`, not with alembic itself.")

context.configure(
    connection=run.connection,
    target_metadata=run.metadata,
    transactional_ddl=True,
    transaction_per_migration=True,
    render_as_batch=True,
    compare_type=True,
    compare_server_default=True,
    include_object=run.include_object,
    on_version_apply=run.on_version_apply,
    autogenerate_plugins=["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
)
with context.begin_transaction():
    context.run_migrations()
