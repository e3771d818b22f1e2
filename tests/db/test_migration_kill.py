"""A migration whose process is killed leaves a database that the next one can go on from."""

import asyncio
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from agentvine.config.settings import DatabaseSettings
from agentvine.db.registry import Registry
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock
from tests.support.toy_migrations import FAMILY, REQUIRE_NAME, make_tree, runner_of

_ROOT = Path(__file__).parents[2]
_UPGRADE = """
import asyncio, sys
from pathlib import Path
from agentvine.config.settings import DatabaseSettings
from agentvine.db.registry import Registry
from tests.support.toy_migrations import runner_of
registry = Registry()
registry.updated_at_trigger("parents")
settings = DatabaseSettings(url=sys.argv[1], backup_dir=Path(sys.argv[3]))
asyncio.run(runner_of(settings, Path(sys.argv[2]), registry).upgrade())
"""
_HANG = {
    **REQUIRE_NAME,
    "constants": "import time",
    "upgrade": REQUIRE_NAME["upgrade"]
    + """
        op.execute("DELETE FROM children")
        op.create_table("toys", sa.Column("id", sa.Integer()))
        print("half way", flush=True)
        time.sleep(60)  # killed long before
    """,
}


async def test_after_a_kill_in_mid_migration_the_next_run_finds_everything(
    empty_database_settings: DatabaseSettings, tmp_path: Path
):
    registry = Registry()
    registry.updated_at_trigger("parents")
    hanging = make_tree(tmp_path / "hanging", FAMILY, _HANG)
    good = make_tree(tmp_path / "good", FAMILY, REQUIRE_NAME)
    await runner_of(empty_database_settings, hanging, registry).upgrade("0001")

    await asyncio.to_thread(_kill_half_way, empty_database_settings, hanging)

    runner = runner_of(empty_database_settings, good, registry)
    assert (await runner.current()).revision == "0001"
    database = await Database.open(empty_database_settings, SystemClock())
    async with database.read() as read:
        assert await read.scalar(text("SELECT count(*) FROM children")) == 3
    await database.close()
    report = await runner.upgrade()
    assert report.steps == ("upgrade 0002",)
    assert report.repaired == ()
    assert await runner.check() == []


def _kill_half_way(settings: DatabaseSettings, tree: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _UPGRADE, settings.url, str(tree), str(settings.backup_dir)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half way\n"
    process.kill()
    process.wait()
    process.stdout.close()
