"""Commands on snapshots: keep one, ask for one, set variables, archive, delete. All are audited."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr
from sqlalchemy import delete, select

from agentvine.db.base import table_of
from agentvine.db.session import Transaction
from agentvine.domains.contexts.errors import (
    ContextIsCurrent,
    TooManyVariables,
    VariableNameInvalid,
    VariableNotFound,
)
from agentvine.domains.contexts.models import ContextBlob, ContextRequest
from agentvine.domains.contexts.states import set_status
from agentvine.domains.contexts.vault import ContextVault
from agentvine.domains.identity import history
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.enums import ContextStatus, ProjectContextId
from agentvine.domains.projects.models import ProjectContext, Repository
from agentvine.kit.ids import new_id
from agentvine.protocol.contexts import MAX_VARIABLES

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What was found in a repository, before any transaction was opened."""

    branch: str
    commit_id: str
    codebase: dict[str, Any]
    total_bytes: int
    dependencies: list[str]
    deployment: dict[str, Any]
    metrics: Mapping[str, float]
    notes: list[str] = field(default_factory=list[str])


async def request_snapshot(tx: Transaction, repository_id: uuid.UUID) -> None:
    """Have a snapshot of a repository taken when there is time."""
    row = {"repository_id": repository_id, "requested_at": tx.now}
    table = table_of(ContextRequest)
    await tx.execute(
        tx.dialect.upsert(table, row, keys=("repository_id",), update=["requested_at"])
    )


async def settle_request(tx: Transaction, request: ContextRequest) -> None:
    """A request is answered; one that has come since stays."""
    await tx.execute(
        delete(ContextRequest)
        .where(
            ContextRequest.repository_id == request.repository_id,
            ContextRequest.requested_at <= request.requested_at,
        )
        .execution_options(synchronize_session=False)
    )


async def keep_blobs(tx: Transaction, blobs: Sequence[Mapping[str, Any]]) -> None:
    """Keep contents that are not kept yet: rows of ``context_blobs``."""
    if blobs:
        keys = ("project_id", "hash")
        await tx.execute(tx.dialect.upsert(table_of(ContextBlob), blobs, keys=keys))


async def keep_snapshot(
    tx: Transaction,
    repository: Repository,
    found: Snapshot,
    *,
    owner: str | None = None,
    name: str | None = None,
    only_if_new: bool = False,
) -> ProjectContext:
    """Make a snapshot the repository's current context, with the variables of the one before.

    Args:
        tx: The transaction.
        repository: Of what.
        found: What was found there.
        owner: Whose it is; None: whose the one before was.
        name: What to call it, if not as the repository.
        only_if_new: Whether the current context is enough when it is of the same commit.
    """
    await tx.dialect.close_lock(tx, f"contexts of {repository.id}")
    current = await projects.get_current_context(tx, repository)
    if only_if_new and current.commit_id == found.commit_id and current.branch == found.branch:
        return current
    if current.commit_id is None:
        # What the registration made: whatever refers to it already refers to this state.
        context = current
    else:
        context = _follower_of(current, owner)
        tx.add(context)
    context.name = name or repository.name
    for field_name in ("branch", "commit_id", "codebase", "total_bytes", "dependencies", "notes"):
        setattr(context, field_name, getattr(found, field_name))
    context.file_count = len(found.codebase)
    context.deployment_config = found.deployment
    for metric in ("test_coverage", "security_score", "performance_score"):
        setattr(context, metric, found.metrics.get(metric))
    context.taken_at = tx.now
    history.record(
        tx,
        "context.taken",
        entity=("context", context.id),
        project_id=context.project_id,
        after={"name": context.name, "commit": found.commit_id, "files": context.file_count},
    )
    await tx.flush()
    await tx.refresh(context)
    return context


async def set_variable(
    tx: Transaction, vault: ContextVault, context: ProjectContext, name: str, value: SecretStr
) -> None:
    """Give a context an environment variable, or another value of it.

    Raises:
        VariableNameInvalid: No environment has such a name.
        TooManyVariables: The context has as many as it may.
    """
    if not _NAME.fullmatch(name):
        raise VariableNameInvalid("Use letters, digits and _, beginning with no digit.")
    known = dict(context.environment_vars)
    if name not in known and len(known) >= MAX_VARIABLES:
        raise TooManyVariables(f"A context has at most {MAX_VARIABLES}; unset some first.")
    assert context.repository_id is not None, "lock_context gives those of repositories alone"
    known[name] = vault.seal(context.repository_id, name, value)
    context.environment_vars = known
    _record_variable(tx, context, "context.variable_set", name)


async def unset_variable(tx: Transaction, context: ProjectContext, name: str) -> None:
    """Take an environment variable from a context.

    Raises:
        VariableNotFound: It has none of this name.
    """
    known = dict(context.environment_vars)
    if known.pop(name, None) is None:
        raise VariableNotFound(f"{context.name} has no variable {name}.")
    context.environment_vars = known
    _record_variable(tx, context, "context.variable_unset", name)


async def archive_context(tx: Transaction, context: ProjectContext) -> None:
    """Put a context aside; it stays readable.

    Raises:
        ContextIsCurrent: It is its repository's newest one.
        ContextDeleted: It was deleted.
    """
    await _check_has_followers(tx, context)
    set_status(tx, context, ContextStatus.ARCHIVED)
    await _written(tx, context)


async def activate_context(tx: Transaction, context: ProjectContext) -> None:
    """Take an archived context out again.

    Raises:
        ContextDeleted: It was deleted.
    """
    set_status(tx, context, ContextStatus.ACTIVE)
    await _written(tx, context)


async def delete_context(tx: Transaction, context: ProjectContext) -> None:
    """Hide a context for good, and forget its variables; changes that refer to it stay.

    Raises:
        ContextIsCurrent: It is its repository's newest one.
    """
    await _check_has_followers(tx, context)
    set_status(tx, context, ContextStatus.DELETED)
    context.environment_vars = {}
    await _written(tx, context)


async def _check_has_followers(tx: Transaction, context: ProjectContext) -> None:
    if context.repository_id is None:
        return
    newest = await tx.scalar(
        select(ProjectContext.id)
        .where(ProjectContext.repository_id == context.repository_id)
        .order_by(ProjectContext.id.desc())
        .limit(1)
    )
    if newest == context.id:
        raise ContextIsCurrent("New changes refer to it; take a new snapshot first.")


async def _written(tx: Transaction, context: ProjectContext) -> None:
    await tx.flush()  # the database stamps the time of the change
    await tx.refresh(context)


def _follower_of(current: ProjectContext, owner: str | None) -> ProjectContext:
    return ProjectContext(
        id=ProjectContextId(new_id()),
        type=current.type,
        status=ContextStatus.ACTIVE,
        owner_id=owner or current.owner_id,
        project_id=current.project_id,
        repository_id=current.repository_id,
        environment_vars=dict(current.environment_vars),
    )


def _record_variable(tx: Transaction, context: ProjectContext, action: str, name: str) -> None:
    history.record(
        tx,
        action,
        entity=("context", context.id),
        project_id=context.project_id,
        after={"name": name},
    )
