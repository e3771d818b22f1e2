"""What every simulated world begins with: a database with an admin, a repository and two tokens."""

import shutil
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.domains.identity import service as identity
from agentvine.domains.identity import tokens
from agentvine.domains.identity.enums import TokenKind
from agentvine.kit.clock import SystemClock
from tests.reliability.simulator.driver import OBSERVE
from tests.support.builders.identity import acting
from tests.support.builders.projects import make_project, make_repository
from tests.support.histories.observer import sqlite_triggers
from tests.support.postgres import run_apart

_WITHOUT_GIT = """CREATE TRIGGER simulation_has_no_git AFTER INSERT ON work_orders BEGIN
    UPDATE work_orders SET payload = json_set(payload, '$.repository', json('null'))
    WHERE id = NEW.id; END"""


@dataclass(frozen=True)
class Prepared:
    """The file to copy, and what to know about it."""

    template: Path
    admin_token: str
    worker_token: str
    repository_id: uuid.UUID


def prepare(empty: Path, template: Path) -> Prepared:
    """Make the file from one with the newest schema."""
    shutil.copyfile(empty, template)
    prepared = run_apart(_fill(template))
    with closing(sqlite3.connect(template)) as database:
        for statement in (*sqlite_triggers(OBSERVE), _WITHOUT_GIT):
            database.execute(statement)
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return prepared


async def _fill(template: Path) -> Prepared:
    settings = DatabaseSettings(url=f"sqlite+aiosqlite:///{template}")
    database = await Database.open(settings, SystemClock())
    async with database.transaction() as tx:
        admin = await identity.ensure_first_admin(tx, bcrypt_rounds=4)
        assert admin is not None
        owner = acting(admin.user)
        repository = await make_repository(tx, owner, await make_project(tx, owner))
        texts: list[str] = []
        for kind, user_id in ((TokenKind.USER, owner.user_id), (TokenKind.WORKER, None)):
            _, text = await tokens.issue_token(
                tx, kind=kind, name=kind.value, user_id=user_id, scopes=[]
            )
            texts.append(text)
    await database.close()
    return Prepared(template, texts[0], texts[1], repository.id)
