"""Small trees of migrations for the tests of the runner, and plain Alembic to compare with."""

import shutil
import sqlite3
import warnings
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent, indent

from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData
from sqlalchemy.exc import SAWarning

from agentvine.config.settings import DatabaseSettings
from agentvine.db.migrations.runner import SCRIPTS, MigrationRunner
from agentvine.db.migrations.state import CODE, Compatibility
from agentvine.db.registry import Registry
from agentvine.kit.clock import SystemClock

_REVISION = '''
"""{title}."""

import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = {after!r}
branch_labels = None
depends_on = None
{constants}

def upgrade() -> None:
{upgrade}


def downgrade() -> None:
{downgrade}
'''

# What `alembic init` writes, reduced to its online mode, with batch mode for SQLite; and foreign
# keys on, as an application has them.
_PLAIN_ENV = """
from alembic import context
from sqlalchemy import create_engine, event

engine = create_engine(context.config.get_main_option("sqlalchemy.url"))

@event.listens_for(engine, "connect")
def foreign_keys_on(connection, record):
    connection.execute("PRAGMA foreign_keys=ON")

with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""

FAMILY = {
    "upgrade": """
        op.create_table(
            "parents",
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("name", sa.String(50)),
            sa.Column("updated_at", sa.DateTime(timezone=True)),
            sa.PrimaryKeyConstraint("id", name="pk_parents"),
        )
        op.create_table(
            "children",
            sa.Column("id", sa.Integer(), nullable=False),
            sa.Column("parent_id", sa.Integer(), nullable=False),
            sa.PrimaryKeyConstraint("id", name="pk_children"),
            sa.ForeignKeyConstraint(
                ["parent_id"], ["parents.id"], name="fk_children_parents", ondelete="CASCADE"
            ),
        )
        op.execute("INSERT INTO parents (id, name) VALUES (1, 'Ada'), (2, 'Bob')")
        op.execute("INSERT INTO children (id, parent_id) VALUES (1, 1), (2, 1), (3, 2)")
    """,
    "downgrade": """
        op.drop_table("children")
        op.drop_table("parents")
    """,
}
"""Two parents with three children, who go with them."""

REQUIRE_NAME = {
    "upgrade": """
        with op.batch_alter_table("parents") as batch:
            batch.alter_column("name", existing_type=sa.String(50), nullable=False)
    """,
    "downgrade": """
        with op.batch_alter_table("parents") as batch:
            batch.alter_column("name", existing_type=sa.String(50), nullable=True)
    """,
}
"""A harmless change of the parents, which on SQLite means to make their table anew."""


def make_tree(folder: Path, *revisions: Mapping[str, str]) -> Path:
    """A folder of migrations named 0001, 0002 ...; each gives ``upgrade`` and ``downgrade``."""
    versions = folder / "versions"
    versions.mkdir(parents=True)
    shutil.copy(SCRIPTS / "env.py", folder / "env.py")
    shutil.copy(SCRIPTS / "script.py.mako", folder / "script.py.mako")
    after = None
    for number, given in enumerate(revisions, start=1):
        name = f"{number:04}"
        (versions / f"{name}.py").write_text(
            _REVISION.format(
                title=given.get("title", f"Step {number}"),
                revision=name,
                after=after,
                constants=given.get("constants", ""),
                upgrade=_body(given.get("upgrade", "")),
                downgrade=_body(given.get("downgrade", "")),
            )
        )
        after = name
    return folder


def runner_of(
    settings: DatabaseSettings,
    scripts: Path,
    registry: Registry | None = None,
    *,
    metadata: MetaData | None = None,
    numbers: Compatibility = CODE,
) -> MigrationRunner:
    """Our runner over a toy tree."""
    return MigrationRunner(
        settings,
        metadata=metadata or MetaData(),
        registry=registry or Registry(),
        scripts=scripts,
        numbers=numbers,
        clock=SystemClock(),
    )


def upgrade_with_plain_alembic(database: Path, scripts: Path, revision: str) -> None:
    """The same migrations by Alembic alone."""
    plain = scripts.with_name(f"{scripts.name}-plain")
    if not plain.exists():
        shutil.copytree(scripts, plain)
        (plain / "env.py").write_text(_PLAIN_ENV)
    config = Config()
    config.set_main_option("script_location", str(plain))
    config.set_main_option("path_separator", "os")
    config.set_main_option("sqlalchemy.url", f"sqlite:///{database}")
    with warnings.catch_warnings():
        # All it says about an expression index that it drops, and only to who looks.
        warnings.filterwarnings("ignore", "Skipped unsupported reflection", SAWarning)
        command.upgrade(config, revision)


def query(database: Path, sql: str) -> list[tuple[object, ...]]:
    """Ask a SQLite file with the driver alone."""
    connection = sqlite3.connect(database)
    try:
        with connection:
            return connection.execute(sql).fetchall()
    finally:
        connection.close()


def _body(code: str) -> str:
    return indent(dedent(code).strip() or "pass", "    ")
