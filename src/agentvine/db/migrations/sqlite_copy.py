"""The safety copy of a SQLite file before a migration, and the way back to it.

The copy is made with ``VACUUM INTO`` on a connection of its own: one consistent state, readers
and other writers undisturbed, and compact. The way back is SQLite's backup interface, page by page
into the live file: replacing the file under its write-ahead log would corrupt it.
"""

import asyncio
import os
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

_BUSY_SECONDS = 30.0


async def make_copy(database: Path, directory: Path, revision: str, now: datetime) -> Path | None:
    """Copy the database; None where there is nothing in it yet.

    Args:
        database: The file.
        directory: Where copies are kept; made where missing, readable by its owner only.
        revision: The revision the migration goes to, for the name.
        now: The time, for the name.
    """
    return await asyncio.to_thread(_make_copy, database, directory, revision, now)


async def restore(database: Path, copy: Path | None) -> None:
    """Bring the database back to its copy; to empty where there was none."""
    await asyncio.to_thread(_restore, database, copy)


def _make_copy(database: Path, directory: Path, revision: str, now: datetime) -> Path | None:
    if not database.exists() or database.stat().st_size == 0:
        return None
    with closing(sqlite3.connect(database, timeout=_BUSY_SECONDS)) as connection:
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            return None
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy = _free_name(directory / f"pre-{revision}-{now:%Y%m%dT%H%M%SZ}.db")
        # Made before it is filled, so that nobody else can ever read it: it holds secrets' hashes.
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        connection.execute("VACUUM INTO ?", (str(copy),))
    with copy.open("rb") as file:
        os.fsync(file.fileno())
    return copy


def _free_name(wanted: Path) -> Path:
    name, number = wanted, 1
    while name.exists():
        number += 1
        name = wanted.with_stem(f"{wanted.stem}-{number}")
    return name


def _restore(database: Path, copy: Path | None) -> None:
    source = ":memory:" if copy is None else str(copy)
    with (
        closing(sqlite3.connect(source)) as before,
        closing(sqlite3.connect(database, timeout=_BUSY_SECONDS)) as live,
    ):
        before.backup(live)
        found = live.execute("PRAGMA integrity_check(5)").fetchall()
        if found != [("ok",)]:
            raise sqlite3.DatabaseError(f"the restored file is damaged: {found}")
