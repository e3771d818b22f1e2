"""Drafting a migration from the models."""

import shutil
from pathlib import Path

from agentvine.db.migrations.runner import SCRIPTS
from tools.migration import draft


async def test_a_draft_is_written_beside_the_others_and_is_empty_when_nothing_changed(
    tmp_path: Path,
):
    scripts = tmp_path / "migrations"
    shutil.copytree(SCRIPTS, scripts)

    [path] = await draft("Add a due date", scripts)

    assert path.parent.parent == scripts / "versions"
    assert path.name.endswith("_add_a_due_date.py")
    assert path.read_text().count("    pass\n") == 2
