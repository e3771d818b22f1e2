"""Names that were taken twice before the database saw to it are told apart, and nothing is lost."""

import pytest
from sqlalchemy import insert, select

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.domains.projects.models import Project
from agentvine.domains.templates.models import Template
from agentvine.kit.clock import SystemClock
from agentvine.kit.ids import new_id
from agentvine.server.migrations import migration_runner
from tests.support.builders.identity import acting, make_user
from tests.support.builders.projects import make_project

ROW = {"category": "api", "files": {"a.txt": "a"}}


@pytest.mark.slow
async def test_the_oldest_keeps_its_name_and_the_others_get_numbers(
    empty_database_settings: DatabaseSettings,
):
    runner = migration_runner(empty_database_settings)
    await runner.setup()
    await runner.downgrade("files_of_chats")
    database = await Database.open(empty_database_settings, SystemClock())
    try:
        async with database.transaction() as tx:
            user = await make_user(tx)
            project = await make_project(tx, acting(user))
            for owner in (None, project.id):
                for name in ("one", "one", "one-2", "one", "other", "x" * 255, "x" * 255):
                    row = {"id": new_id(), "name": name, "project_id": owner, **ROW}
                    await tx.execute(insert(Template).values(**row))

        await runner.upgrade()

        async with database.read() as read:
            query = select(Project.id, Template.name).join(
                Project, Project.id == Template.project_id, isouter=True
            )
            found = (await read.execute(query.order_by(Template.id))).all()
    finally:
        await database.close()
    expected = ["one", "one-3", "one-2", "one-4", "other", "x" * 255, f"{'x' * 253}-2"]
    assert [name for owner, name in found if owner is None] == expected
    assert [name for owner, name in found if owner is not None] == expected
