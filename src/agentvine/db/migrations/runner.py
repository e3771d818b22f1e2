"""Runs the migrations, so that a failing one leaves the database as it was.

One run at a time: a file lock on SQLite (which also keeps a running server away), an advisory
lock on PostgreSQL. Before a SQLite file is changed it is copied, and any error brings the copy
back, so that even a run of several migrations is whole or not there. What must hold around each
migration is in ``run.py``.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData, event, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from agentvine.config.settings import DatabaseSettings
from agentvine.db import schema_objects
from agentvine.db.engine import dialect_of, sqlite_path
from agentvine.db.errors import (
    DatabaseNotOurs,
    DatabaseUnreachable,
    MigrationFailed,
    SchemaOutdated,
    SchemaTooNew,
    UnknownRevision,
)
from agentvine.db.filelock import DatabaseFileLock
from agentvine.db.migrations import creation, sqlite_copy
from agentvine.db.migrations.exclusive import exclusive, migration_engine
from agentvine.db.migrations.results import Current, MigrationReport, Problem, Revision
from agentvine.db.migrations.run import MigrationRun
from agentvine.db.migrations.state import CODE, Compatibility, read_compatibility
from agentvine.db.registry import Registry
from agentvine.db.shielding import finish
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.errors import AppError

SCRIPTS = Path(__file__).parent
T = TypeVar("T")
_one_alembic = threading.Lock()
"""Alembic keeps its context per process, whatever the thread or task."""


class MigrationRunner:
    """Upgrades, downgrades and inspects one database."""

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        metadata: MetaData,
        registry: Registry,
        scripts: Path = SCRIPTS,
        numbers: Compatibility = CODE,
        clock: Clock | None = None,
        held_lock: DatabaseFileLock | None = None,
    ) -> None:
        """Bind a database to a tree of migrations.

        Args:
            settings: The database.
            metadata: All models.
            registry: The schema objects to keep.
            scripts: The folder with ``env.py`` and ``versions``.
            numbers: This code's compatibility numbers.
            clock: Dates the safety copies.
            held_lock: The lock a server already holds on its SQLite file.
        """
        self._settings = settings
        self._metadata = metadata
        self._registry = registry
        self._scripts = scripts
        self._numbers = numbers
        self._clock = clock or SystemClock()
        self._held_lock = held_lock
        self._dialect = dialect_of(settings)
        self._script = ScriptDirectory.from_config(_config(scripts))

    async def init(self) -> MigrationReport:
        """Make the database where there is none, and give an empty one its schema.

        A database that has a schema is left as it is, whatever its revision.
        """
        created = await creation.create_database(self._settings)
        current = None if created else await self.current()
        if current is not None and current.revision is not None:
            return MigrationReport(current.revision, current.revision)
        return await self._migrate(command.upgrade, "head", created=created)

    async def setup(self) -> MigrationReport:
        """Make the database where there is none, and bring it to the newest revision.

        One that is newer than this code, but still serves it, is left as it is.
        """
        created = await creation.create_database(self._settings)
        current = None if created else await self.current()
        if current is not None and self._is_newer_and_fits(current):
            return MigrationReport(current.revision, current.revision)
        return await self._migrate(command.upgrade, "head", created=created)

    async def upgrade(self, revision: str = "head") -> MigrationReport:
        """Go forward to a revision; a SQLite file is made where there is none."""
        return await self._migrate(command.upgrade, revision)

    async def downgrade(self, revision: str) -> MigrationReport:
        """Go back to a revision; ``base`` removes the schema with all its data."""
        return await self._migrate(command.downgrade, revision)

    async def stamp(self, revision: str) -> MigrationReport:
        """Write down a revision without running any migration."""
        self._resolve(revision)
        # An unknown revision can only be forgotten, and Alembic forgets in a step of its own.
        is_known = self._knows((await self.current()).revision)
        action = partial(command.stamp, purge=not is_known)
        return await self._migrate(action, revision, is_stamp=True)

    async def current(self) -> Current:
        """Where the database stands.

        Raises:
            DatabaseUnreachable: There is none, or it does not answer.
        """
        self._require_file()
        async with migration_engine(self._settings) as engine:
            return await self._on(engine, self._read_current)

    def history(self, current: str | None = None) -> list[Revision]:
        """All migrations, newest first; ``current`` marks where a database stands."""
        head = self._script.get_current_head()
        return [
            Revision(
                script.revision,
                after=_joined(script.down_revision),
                message=(script.doc or "").partition("\n")[0].rstrip("."),
                is_current=script.revision == current,
                is_head=script.revision == head,
            )
            for script in self._script.walk_revisions()
        ]

    async def check(self) -> list[Problem]:
        """Everything that is wrong; empty for a database that is reachable, at head and whole."""
        try:
            self._require_file()
            async with migration_engine(self._settings) as engine:
                current = await self._on(engine, self._read_current)
                self._refuse_unfit(current)
                differences = await self._on(
                    engine, partial(schema_objects.compare, registry=self._registry)
                )
        except AppError as error:
            return [Problem(error.code, error.detail)]
        if not current.is_at_head:
            detail = f"At {current.revision or 'no revision'}, the newest is {current.head}."
            return [Problem(SchemaOutdated.code, detail, "Run `agentvine db upgrade`.")]
        return [
            Problem("schema_object", f"The {difference}.", "Run `agentvine db upgrade`.")
            for difference in differences
        ]

    async def require_ready(self) -> None:
        """Refuse a database that this code must not use.

        A newer schema that still serves this code passes: that is how replicas are replaced one
        after the other.

        Raises:
            DatabaseUnreachable: There is none, or it does not answer.
            SchemaTooNew: A newer AgentVine migrated it, and this one would do harm.
            SchemaOutdated: It must be migrated first.
        """
        current = await self.current()
        if self._is_newer_and_fits(current):
            return
        self._refuse_unfit(current)
        if not current.is_at_head:
            raise SchemaOutdated(
                f"The schema is at {current.revision or 'no revision'}, this AgentVine needs "
                f"{current.head}: run `agentvine db upgrade`."
            )

    async def revision(self, message: str, *, autogenerate: bool = True) -> list[Path]:
        """Write a migration file that brings a database at head to the models; for developers."""
        action = partial(command.revision, message=message, autogenerate=autogenerate)
        async with exclusive(self._settings, self._held_lock), self._engine() as engine:
            made = await self._alembic(engine, action, [])
        scripts = cast("list[Script | None]", made if isinstance(made, list) else [made])
        return [Path(script.path) for script in scripts if script is not None]

    def _engine(self) -> Any:
        return migration_engine(self._settings)

    async def _migrate(
        self,
        action: Callable[..., Any],
        target: str,
        *,
        created: bool = False,
        is_stamp: bool = False,
    ) -> MigrationReport:
        async with exclusive(self._settings, self._held_lock), self._engine() as engine:
            before = await self._on(engine, self._read_current)
            if not is_stamp:
                self._refuse_unfit(before)
            is_there = not is_stamp and target in ("head", before.revision) and before.is_at_head
            copy = None if is_there else await self._safety_copy(target)
            steps: list[str] = []
            try:
                if not is_there:
                    await self._alembic(engine, partial(action, revision=target), steps)
                repaired = await self._on(
                    engine, partial(schema_objects.apply, registry=self._registry)
                )
            except BaseException as error:
                await engine.dispose()
                if not is_there:
                    await self._restore(copy, before)
                failure = self._failure(error, target, copy)
                if failure is None:
                    raise
                raise failure from error
            after = await self._on(engine, self._read_current)
        if copy is not None and not steps:
            copy.unlink()  # nothing was changed, so it is a copy for nothing
            copy = None
        names = tuple(str(item) for item in repaired)
        return MigrationReport(
            before.revision, after.revision, tuple(steps), names, copy, created=created
        )

    async def _alembic(
        self, engine: AsyncEngine, action: Callable[..., Any], steps: list[str]
    ) -> Any:
        """Run one Alembic command over one connection."""

        def work(connection: Connection) -> Any:
            run = MigrationRun(connection, self._metadata, self._registry, self._numbers, steps)
            # On the engine, after its own listener: a connection's would run before BEGIN.
            event.listen(connection.engine, "begin", run.on_begin)
            try:
                config = _config(self._scripts)
                config.attributes["run"] = run
                return action(config)
            finally:
                event.remove(connection.engine, "begin", run.on_begin)

        while not _one_alembic.acquire(blocking=False):  # noqa: ASYNC110  # a lock over loops
            await asyncio.sleep(0.02)
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(work)
        finally:
            _one_alembic.release()

    async def _on(self, engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
        """Run a function of a synchronous connection in a transaction of its own."""
        connection: AsyncConnection | None = None
        try:
            async with engine.begin() as connection:
                return await connection.run_sync(work)
        except DBAPIError as error:
            raise self._dialect.trouble(error) or DatabaseUnreachable(
                f"The database does not answer: {error.orig}."
            ) from error
        except (OSError, TimeoutError) as error:
            raise DatabaseUnreachable(f"The database does not answer: {error}.") from error

    def _read_current(self, connection: Connection) -> Current:
        revision = MigrationContext.configure(connection).get_current_revision()
        tables = [] if revision else inspect(connection).get_table_names()
        return Current(
            revision,
            self._script.get_current_head(),
            read_compatibility(connection),
            tuple(sorted(set(tables) & set(self._metadata.tables))),
        )

    async def _safety_copy(self, target: str) -> Path | None:
        if not self._dialect.serialises_writers:
            return None
        path = sqlite_path(self._settings)
        directory = self._settings.backup_dir or path.parent / "backups"
        name = (self._script.get_current_head() or "head") if target == "head" else target
        return await sqlite_copy.make_copy(path, directory, name, self._clock.now())

    async def _restore(self, copy: Path | None, before: Current) -> None:
        """Bring the copy back; without one, only what was empty before is emptied again."""
        if not self._dialect.serialises_writers:
            return  # each migration was rolled back by the server
        if copy is not None or (before.revision is None and not before.clashes):
            await finish(sqlite_copy.restore(sqlite_path(self._settings), copy))

    def _failure(self, error: BaseException, target: str, copy: Path | None) -> AppError | None:
        """Our own error for a run that was undone; None where the error speaks for itself."""
        if isinstance(error, AppError):
            return None
        if isinstance(error, CommandError):
            return _unknown(target, error)
        if isinstance(error, DBAPIError) and (trouble := self._dialect.trouble(error)) is not None:
            return trouble
        if not isinstance(error, Exception):
            return None
        detail = error.orig if isinstance(error, DBAPIError) else error
        kept = f" A copy is kept at {copy}." if copy else ""
        return MigrationFailed(
            f"The migration to {target} failed ({detail}), and the database is as it was before."
            + kept
        )

    def _require_file(self) -> None:
        if self._dialect.serialises_writers and not sqlite_path(self._settings).exists():
            path = sqlite_path(self._settings)
            raise DatabaseUnreachable(f"There is no database at {path}: run `agentvine db setup`.")

    def _resolve(self, revision: str) -> None:
        try:
            self._script.get_revisions(revision)
        except CommandError as error:
            raise _unknown(revision, error) from error

    def _knows(self, revision: str | None) -> bool:
        return revision is None or revision in {
            script.revision for script in self._script.walk_revisions()
        }

    def _is_newer_and_fits(self, current: Current) -> bool:
        numbers = current.numbers
        return (
            not self._knows(current.revision)
            and numbers is not None
            and numbers.needs_code <= self._numbers.schema_version
        )

    def _refuse_unfit(self, current: Current) -> None:
        """Refuse a database that this tree of migrations cannot go on from."""
        if current.clashes:
            raise DatabaseNotOurs(
                f"The database has {', '.join(current.clashes[:5])} but no revision. Use an empty "
                "database; or, if the schema is known to be right, `agentvine db stamp head`."
            )
        numbers = current.numbers
        if not self._knows(current.revision) or (
            numbers is not None and numbers.needs_code > self._numbers.schema_version
        ):
            version = f"schema {numbers.schema_version}" if numbers else "another schema"
            raise SchemaTooNew(
                f"The database is at {current.revision} ({version}); this AgentVine knows "
                f"schema {self._numbers.schema_version}. Use the newer AgentVine that migrated "
                "it, or restore the copy that was made before."
            )


def _unknown(revision: str, error: CommandError) -> UnknownRevision:
    return UnknownRevision(f"{revision}: {error}. `agentvine db history` lists the revisions.")


def _config(scripts: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.set_main_option("recursive_version_locations", "true")
    config.set_main_option(
        "file_template", "%%(year)d/%%(month).2d_%%(day).2d_%%(hour).2d%%(minute).2d_%%(slug)s"
    )
    return config


def _joined(revisions: str | list[str] | tuple[str, ...] | None) -> str | None:
    if revisions is None or isinstance(revisions, str):
        return revisions
    return ", ".join(revisions)
