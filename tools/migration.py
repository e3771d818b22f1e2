"""``python -m tools.migration "Add a due date to tasks"``: drafts a migration from the models.

An empty database is brought to the newest migration, compared with the models, and the difference
written as a new migration. It is a draft: Alembic sees neither renames nor data, and SQLite not
what PostgreSQL alone has. Read it, write both directions by hand where needed, run the tests.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from agentvine.config.settings import DatabaseSettings
from agentvine.db.migrations.runner import SCRIPTS, MigrationRunner
from agentvine.server.migrations import REGISTRY, metadata


def main(arguments: list[str] | None = None) -> int:
    """Write the draft and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m tools.migration", description=__doc__)
    parser.add_argument("message", help="what the migration does, as a short sentence")
    options = parser.parse_args(arguments)
    for path in asyncio.run(draft(options.message)):
        print(path)
    return 0


async def draft(message: str, scripts: Path = SCRIPTS) -> list[Path]:
    """Write what the models have and the migrations in this folder do not; the new files."""
    with tempfile.TemporaryDirectory(prefix="agentvine-migration-") as folder:
        place = Path(folder)
        settings = DatabaseSettings(
            url=f"sqlite+aiosqlite:///{place / 'draft.db'}", backup_dir=place / "backups"
        )
        runner = MigrationRunner(settings, metadata=metadata, registry=REGISTRY, scripts=scripts)
        await runner.setup()
        return await runner.revision(message)


if __name__ == "__main__":
    sys.exit(main())
