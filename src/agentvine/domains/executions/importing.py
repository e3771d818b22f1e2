"""Bringing what a run committed into its repository, under a ref that nothing prunes.

The server looks at the commits then, and what it finds is what a reviewer is shown.

The bundle is in the database, so this can be done late, and again: a chore does it for those that
could not be imported when they came.
"""

import asyncio
import hashlib
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import select, update

from agentvine.db.session import Database
from agentvine.domains.executions.errors import BundleDamaged
from agentvine.domains.executions.events import ChangeSeen
from agentvine.domains.executions.models import ChangeBundle, Execution
from agentvine.domains.projects.desk import Place, RepositoryDesk
from agentvine.domains.projects.models import Repository
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks.models import Task
from agentvine.git.bundles import import_bundle, read_bundle
from agentvine.git.errors import BundleBaseMissing, GitError
from agentvine.git.names import rescue_ref
from agentvine.git.refs import find_ref
from agentvine.impact.analysis import look_at_change
from agentvine.impact.reading import CommitReader
from agentvine.kit.actor import SystemActor
from agentvine.kit.errors import AppError

_ACTOR = SystemActor("importer")

log = structlog.get_logger(__name__)


def rescue_ref_of(execution_id: uuid.UUID) -> str:
    """The ref that keeps an execution's commits in its repository."""
    return rescue_ref(str(execution_id))


async def check_bundle(content: bytes, sha256: str) -> None:
    """See that a bundle came as it was sent, and that it can be one.

    Raises:
        BundleDamaged: It is not what was announced, or no git bundle of one branch.
    """
    actual = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
    if actual != sha256:
        raise BundleDamaged("The content does not have the announced SHA-256; send it again.")
    with tempfile.TemporaryDirectory(prefix="agentvine-bundle-") as folder:
        path = await _written(Path(folder), content)
        try:
            refs = read_bundle(path).refs
        except GitError as error:
            raise BundleDamaged("This is not a git bundle.") from error
    if len(refs) != 1:
        raise BundleDamaged(f"A bundle holds one branch; this one holds {len(refs)}.")


@dataclass(frozen=True, slots=True)
class BundleImporter:
    """Imports bundles into repositories."""

    database: Database
    desk: RepositoryDesk
    reader: CommitReader

    async def import_for(self, execution_id: uuid.UUID, *, again: bool = False) -> str | None:
        """Bring one execution's commits into its repository; the ref that keeps them there.

        Args:
            execution_id: Whose commits.
            again: Also when it has been done before: the repository may have lost them.

        Returns:
            None when there is no bundle, or no repository any more.

        Raises:
            GitError: The repository cannot be reached, or lacks what the bundle builds on.
        """
        found = await self._task_of(execution_id)
        if found is None:
            return None
        task, repository = found
        ref = rescue_ref_of(execution_id)
        async with self.desk.open(repository, fetch=False) as place:
            content = await self._content(execution_id, is_known_wanted=again)
            if content is None:
                return ref
            with tempfile.TemporaryDirectory(prefix="agentvine-bundle-") as folder:
                head = await self._import(place, await _written(Path(folder), content), ref)
            target = await self._target(place, task.branch_name or repository.default_branch)
            findings = await look_at_change(self.reader, place.path, target=target, head=head)
        async with self.database.transaction(_ACTOR) as tx:
            # Whoever reports this change waits: either it sees what is stored here, or is seen.
            await tasks.lock_task(tx, task.id)
            await tx.execute(
                update(ChangeBundle)
                .where(ChangeBundle.execution_id == execution_id)
                .values(
                    imported_ref=ref,
                    imported_at=tx.now,
                    findings=findings.model_dump(mode="json"),
                )
                .execution_options(synchronize_session=False)
            )
            tx.emit(ChangeSeen(execution_id, findings))
        return ref

    async def try_import(self, execution_id: uuid.UUID, *, within_seconds: float) -> str | None:
        """Like ``import_for``, but what goes wrong, or takes long, is left to the chore."""
        try:
            async with asyncio.timeout(within_seconds):
                return await self.import_for(execution_id)
        except (AppError, OSError) as error:  # a time-out is an OSError, too
            log.warning("bundle.not_imported", execution=str(execution_id), error=str(error))
            return None

    async def _import(self, place: Place, path: Path, ref: str) -> str:
        (name,) = read_bundle(path).refs
        try:
            imported = await import_bundle(self.desk.git, place.path, path, {name: ref})
        except BundleBaseMissing:
            if not place.is_mirror:
                raise
            # The run began from something newer than this mirror.
            await self.desk.refresh(place)
            imported = await import_bundle(self.desk.git, place.path, path, {name: ref})
        return imported[ref]

    async def _target(self, place: Place, branch: str) -> str | None:
        """The tip of the branch that the change is to go to; None when there is none."""
        prefix = "refs/remotes/origin" if place.is_mirror else "refs/heads"
        return await find_ref(self.desk.git, place.path, f"{prefix}/{branch}")

    async def _task_of(self, execution_id: uuid.UUID) -> tuple[Task, Repository] | None:
        query = (
            select(Task, Repository)
            .join(Repository, Task.repository_id == Repository.id)
            .join(Execution, Execution.task_id == Task.id)
            .join(ChangeBundle, ChangeBundle.execution_id == Execution.id)
            .where(Execution.id == execution_id)
        )
        async with self.database.read() as read:
            found = (await read.execute(query)).one_or_none()
        return None if found is None else (found[0], found[1])

    async def _content(self, execution_id: uuid.UUID, *, is_known_wanted: bool) -> bytes | None:
        query = select(ChangeBundle.content).where(ChangeBundle.execution_id == execution_id)
        if not is_known_wanted:
            query = query.where(ChangeBundle.imported_at.is_(None))
        async with self.database.read() as read:
            return await read.scalar(query)


async def _written(folder: Path, content: bytes) -> Path:
    path = folder / "change.bundle"
    await asyncio.to_thread(path.write_bytes, content)
    return path
