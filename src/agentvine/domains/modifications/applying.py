"""Applying and reverting changes: the git work happens between two short transactions.

Everything here may be repeated. When a server dies between the merge and its record, the next try
finds the commit merged already and records just that.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from sqlalchemy import select

from agentvine.db.session import Database
from agentvine.domains.executions.importing import BundleImporter
from agentvine.domains.modifications import queries, service
from agentvine.domains.modifications.enums import ModificationStatus
from agentvine.domains.modifications.errors import ChangeConflicts, ChangeNotApplied
from agentvine.domains.modifications.models import Modification
from agentvine.domains.projects.desk import Place, RepositoryDesk
from agentvine.domains.projects.errors import RepositoryNotFound
from agentvine.domains.projects.models import Repository
from agentvine.domains.tasks.models import Task
from agentvine.git.errors import MergeConflict, PushRejected
from agentvine.git.merges import Landed, merge, revert
from agentvine.git.mirrors import resolve_source_branch
from agentvine.git.names import branch_ref
from agentvine.git.pushes import push
from agentvine.git.refs import has_commit, set_ref
from agentvine.git.trailers import Trailer, with_trailers
from agentvine.kit.actor import Actor, SystemActor
from agentvine.kit.errors import AppError

_ACTOR = SystemActor("applier")
_PUSH_ATTEMPTS = 5

Step = Callable[[Place], Awaitable[Landed]]


@dataclass(frozen=True, slots=True)
class _Loaded:
    modification: Modification
    task: Task
    repository: Repository | None

    @property
    def is_due(self) -> bool:
        return (
            self.modification.status is ModificationStatus.APPROVED
            and self.modification.apply_requested_at is not None
        )

    def place(self) -> tuple[Repository, str]:
        """The repository and the branch that the change goes to.

        Raises:
            RepositoryNotFound: It was deleted since.
        """
        if self.repository is None:
            raise RepositoryNotFound(
                "Its repository is not registered any more; the change is kept as a git bundle."
            )
        return self.repository, self.modification.target_branch or self.repository.default_branch


@dataclass(frozen=True, slots=True)
class ChangeApplier:
    """Merges approved changes into their target branches, and takes applied ones back."""

    database: Database
    desk: RepositoryDesk
    importer: BundleImporter
    _flights: "dict[uuid.UUID, asyncio.Task[None]]" = field(
        default_factory=dict[uuid.UUID, "asyncio.Task[None]"]
    )
    """Who asks for a change that is being applied already waits for the same outcome."""

    async def apply(self, modification_id: uuid.UUID) -> None:
        """Merge one approved change that is asked to be applied; nothing to do is no error.

        Raises:
            ChangeConflicts: It conflicts with what has been merged since; the files are named.
            ChangeNotApplied: Something else is in the way, and is named.
        """
        flight = self._flights.get(modification_id)
        if flight is None:
            flight = asyncio.create_task(self._apply(modification_id), name="apply a change")
            self._flights[modification_id] = flight
            flight.add_done_callback(lambda done: self._landed(modification_id, done))
        await asyncio.shield(flight)

    async def close(self) -> None:
        """Give up what is under way; it is taken up again by whoever runs next."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def look(self, modification: Modification) -> None:
        """Bring in the commits of a change that could not be looked at before.

        Raises:
            ChangeNotApplied: Something is in the way, and is named.
        """
        if modification.execution_id is None or not service.is_unseen(modification):
            return
        try:
            await self.importer.import_for(modification.execution_id)
        except AppError as error:
            raise _told(error) from error

    async def revert(self, modification_id: uuid.UUID, actor: Actor, *, reason: str) -> None:
        """Take an applied change back with a new commit on its target branch.

        Doing it again changes nothing.

        Raises:
            ChangeConflicts: Later changes build on it; the files are named.
            ChangeNotApplied: Something else is in the way, and is named.
        """
        loaded = await self._load(modification_id)
        commit = loaded.modification.merge_commit
        if commit is None or loaded.modification.reverted_at is not None:
            return
        message = f'Revert "{loaded.task.title}" (T-{loaded.task.number})\n\n{reason}'.strip()
        try:
            repository, target = loaded.place()

            async def step(place: Place) -> Landed:
                return await revert(self.desk.git, place.path, target, commit, message + "\n")

            async with self.desk.open(repository) as place:
                landed = await self._land(place, target, step)
        except AppError as error:
            raise _told(error) from error
        async with self.database.transaction(actor) as tx:
            current = await queries.lock_modification(tx, modification_id)
            if current.reverted_at is None:
                service.note_reverted(tx, current, landed.commit, reason=reason)

    async def _apply(self, modification_id: uuid.UUID) -> None:
        loaded = await self._load(modification_id)
        if not loaded.is_due:
            return
        try:
            landed = await self._merge(loaded)
        except AppError as error:
            await self._note_failure(modification_id, error)
            raise _told(error) from error
        if landed is None:
            return
        async with self.database.transaction(_ACTOR) as tx:
            current = await queries.lock_modification(tx, modification_id)
            if current.status is not ModificationStatus.APPLIED:
                service.note_applied(tx, current, landed.commit)

    async def _merge(self, loaded: _Loaded) -> Landed | None:
        """Merge it; None when it is not to be applied any more once its turn has come."""
        repository, target = loaded.place()
        head = loaded.modification.head_commit
        assert head is not None, "a recorded change names its commit"
        message = _message_of(loaded)

        async def step(place: Place) -> Landed:
            return await merge(self.desk.git, place.path, target, head, message)

        await self._ensure_commit(repository, loaded.modification, head)
        async with self.desk.open(repository) as place:
            if not (await self._load(loaded.modification.id)).is_due:
                return None
            return await self._land(place, target, step)

    async def _ensure_commit(
        self, repository: Repository, modification: Modification, head: str
    ) -> None:
        async with self.desk.open(repository, fetch=False) as place:
            is_there = await has_commit(self.desk.git, place.path, head)
        # Once it is merged, it could not be told any more what it was to change.
        is_needed = not is_there or service.is_unseen(modification)
        if is_needed and modification.execution_id is not None:
            await self.importer.import_for(modification.execution_id, again=True)

    async def _land(self, place: Place, target: str, step: Step) -> Landed:
        if not place.is_mirror:
            return await step(place)
        for _ in range(_PUSH_ATTEMPTS - 1):
            try:
                return await self._land_in_mirror(place, target, step)
            except PushRejected:
                before = await resolve_source_branch(self.desk.git, place.path, target)
                await self.desk.refresh(place)
                if await resolve_source_branch(self.desk.git, place.path, target) == before:
                    raise  # nobody was faster: a rule over there forbids it
        return await self._land_in_mirror(place, target, step)

    async def _land_in_mirror(self, place: Place, target: str, step: Step) -> Landed:
        git, ref = self.desk.git, branch_ref(target)
        before = await resolve_source_branch(git, place.path, target)
        await set_ref(git, place.path, ref, before)
        landed = await step(place)
        if landed.is_new:
            await push(
                git, place.path, place.remote, commit=landed.commit, ref=ref, expected=before
            )
        return landed

    async def _note_failure(self, modification_id: uuid.UUID, error: AppError) -> None:
        async with self.database.transaction(_ACTOR) as tx:
            current = await queries.lock_modification(tx, modification_id)
            if current.status is not ModificationStatus.APPROVED:
                return
            if error.permanent:
                files = error.files if isinstance(error, MergeConflict) else ()
                service.note_not_applied(tx, current, error.detail, conflicts=files)
            else:
                service.note_delayed(tx, current, error.detail)

    async def _load(self, modification_id: uuid.UUID) -> _Loaded:
        async with self.database.read() as read:
            found = (
                await read.execute(
                    select(Modification, Task, Repository)
                    .join(Task, Task.id == Modification.task_id)
                    .outerjoin(Repository, Repository.id == Modification.repository_id)
                    .where(Modification.id == modification_id)
                )
            ).one()
        return _Loaded(found[0], found[1], found[2])

    def _landed(self, modification_id: uuid.UUID, flight: "asyncio.Task[None]") -> None:
        self._flights.pop(modification_id, None)
        if not flight.cancelled():
            flight.exception()  # looked at, for when nobody waited to the end


def _message_of(loaded: _Loaded) -> str:
    trailers: dict[Trailer, object] = {
        Trailer.TASK: loaded.task.id,
        Trailer.MODIFICATION: loaded.modification.id,
    }
    if loaded.modification.execution_id is not None:
        trailers[Trailer.EXECUTION] = loaded.modification.execution_id
    return with_trailers(f"{loaded.task.title} (T-{loaded.task.number})", trailers)


def _told(error: AppError) -> AppError:
    if isinstance(error, MergeConflict):
        return ChangeConflicts(error.detail, files=list(error.files))
    again = "" if error.permanent else " It is tried again."
    return ChangeNotApplied(error.detail + again, cause=error.code, **error.extra)
