"""Making a plan's code changes a commit: git works between two short transactions.

Everything here may be repeated: a commit that names the artifact, at the branch's tip, is the one
that an earlier try has made.
"""

import re
import uuid
from dataclasses import dataclass

from agentvine.db.session import Database
from agentvine.domains.identity import history
from agentvine.domains.planning.errors import ChangesMissing, ChangesNotApplied, PlanNotActive
from agentvine.domains.plans import queries as plans
from agentvine.domains.plans.enums import ArtifactType, PlanStatus
from agentvine.domains.plans.models import Plan
from agentvine.domains.projects.desk import Place, RepositoryDesk
from agentvine.domains.projects.models import Repository
from agentvine.git.commits import read_message
from agentvine.git.edits import FileEdit, commit_edits
from agentvine.git.errors import PushRejected, RefMoved
from agentvine.git.names import branch_ref
from agentvine.git.places import clean_room, locate
from agentvine.git.trailers import Trailer, read_trailers, with_trailers
from agentvine.kit.actor import UserActor
from agentvine.kit.errors import AppError
from agentvine.protocol.planning import ChangesAppliedOut
from agentvine.protocol.plans import CodeChange, CodeChanges


@dataclass(frozen=True, slots=True)
class _Loaded:
    plan: Plan
    repository: Repository
    artifact_id: uuid.UUID
    changes: CodeChanges


@dataclass(frozen=True, slots=True)
class _Made:
    commit: str
    base: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class ChangeWriter:
    """Applies the code changes of active plans."""

    database: Database
    desk: RepositoryDesk

    async def apply(
        self, actor: UserActor, plan_id: uuid.UUID, branch: str | None
    ) -> ChangesAppliedOut:
        """Make a version's code changes a commit on a new branch; again gives the same commit.

        Raises:
            PlanNotFound: It is not theirs to see.
            ProjectReadOnly: They may only look.
            PlanNotActive: The version does not count.
            ChangesMissing: It has none.
            ChangesNotApplied: Something is in the way, and is named; nothing was changed.
        """
        loaded = await self._load(actor, plan_id)
        name = branch or _branch_of(loaded.plan)
        try:
            async with self.desk.open(loaded.repository) as place:
                made = await self._make(place, loaded, name)
        except AppError as error:
            raise ChangesNotApplied(error.detail, cause=error.code, **error.extra) from error
        paths = [change.path for change in loaded.changes.changes]
        if made.is_new:
            await self._record(actor, loaded, name, made.commit)
        return ChangesAppliedOut(
            branch=name,
            commit=made.commit,
            base_commit=made.base,
            files=paths,
            is_new=made.is_new,
        )

    async def _load(self, actor: UserActor, plan_id: uuid.UUID) -> _Loaded:
        async with self.database.transaction(actor) as tx:
            plan, repository = await plans.get_plan_for_change(tx, actor, plan_id)
            if plan.status is not PlanStatus.ACTIVE:
                raise PlanNotActive(
                    f"Version {plan.version} of {plan.name} is {plan.status}; activate it first."
                )
            artifacts = await plans.list_current_artifacts(tx, plan)
            changes = plans.content_of(artifacts).changes
            if changes is None:
                raise ChangesMissing(f"Version {plan.version} of {plan.name} changes no files.")
            ids = {artifact.artifact_type: artifact.id for artifact in artifacts}
        return _Loaded(plan, repository, ids[ArtifactType.CODE_CHANGES], changes)

    async def _make(self, place: Place, loaded: _Loaded, branch: str) -> _Made:
        git, target = self.desk.git, loaded.plan.target_branch
        made = await self._made_before(place, loaded, branch)
        if made is not None:
            return made
        base = await self.desk.resolve_branch(place, target)
        edits = [_edit_of(change) for change in loaded.changes.changes]
        commit = await commit_edits(git, place.path, base, edits, _message_of(loaded))
        try:
            await self.desk.create_branch(place, branch, commit, reason="plan")
        except (RefMoved, PushRejected):
            await self.desk.refresh(place)
            made = await self._made_before(place, loaded, branch)
            if made is None:
                raise
            return made
        return _Made(commit, base, is_new=True)

    async def _made_before(self, place: Place, loaded: _Loaded, branch: str) -> _Made | None:
        git = self.desk.git
        commit = await self.desk.find_branch(place, branch)
        if commit is None:
            return None
        with clean_room(locate(place.path)) as room:
            message, parents = await read_message(git, room, commit)
        named = read_trailers(message).get(Trailer.ARTIFACT)
        if named != str(loaded.artifact_id) or len(parents) != 1:
            raise RefMoved(
                f"There is a branch {branch} already; name another one.", ref=branch_ref(branch)
            )
        return _Made(commit, parents[0], is_new=False)

    async def _record(self, actor: UserActor, loaded: _Loaded, branch: str, commit: str) -> None:
        async with self.database.transaction(actor) as tx:
            history.record(
                tx,
                "plan.changes_applied",
                entity=("plan", loaded.plan.id),
                project_id=loaded.repository.project_id,
                after={"branch": branch, "commit": commit, "version": loaded.plan.version},
            )


def _branch_of(plan: Plan) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", plan.name.lower()).strip("-")[:60] or "plan"
    return f"agentvine/{slug}-v{plan.version}-{plan.id.hex[-6:]}"


def _message_of(loaded: _Loaded) -> str:
    plan = loaded.plan
    said = loaded.changes.message or f"{plan.name}, version {plan.version}"
    return with_trailers(said, {Trailer.PLAN: plan.id, Trailer.ARTIFACT: loaded.artifact_id})


def _edit_of(change: CodeChange) -> FileEdit:
    return FileEdit(
        path=change.path,
        content=None if change.content is None else change.content.encode(),
        patch=None if change.patch is None else change.patch.encode(),
        must_be_new=change.operation == "create",
    )
