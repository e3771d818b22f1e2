"""Writing a draft by its name: whoever writes the same plan again gets the same plan."""

from agentvine.db.session import Transaction
from agentvine.domains.plans import queries, service
from agentvine.domains.plans.enums import PlanStatus
from agentvine.domains.plans.models import Plan
from agentvine.domains.projects import queries as projects
from agentvine.kit.actor import UserActor
from agentvine.protocol.plans import PlanCreateIn


async def draft_plan(
    tx: Transaction, actor: UserActor, wanted: PlanCreateIn, *, only_own: bool
) -> Plan:
    """Make a plan, write its draft anew, or make its next version: a draft in each case.

    Args:
        tx: The transaction.
        actor: Who writes.
        wanted: The plan; what it does not hold stays as it is.
        only_own: Whether a draft that somebody else has written in is left alone: then the next
            version is made.

    Raises:
        RepositoryNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
        ProjectArchived: Nothing new begins there.
        PlanExists: Somebody makes a plan of this name at this moment.
    """
    repository = await projects.get_repository_for_change(tx, actor, wanted.repository_id)
    versions = await queries.lock_versions(tx, repository.id, wanted.name)
    if not versions:
        return await service.create_plan(tx, actor, wanted)
    plan, repository = await queries.get_plan_for_change(tx, actor, versions[-1].id)
    written = await queries.list_current_artifacts(tx, plan)
    is_foreign = any(each.created_by != tx.actor.label[:200] for each in written)
    if plan.status is not PlanStatus.DRAFT or (only_own and is_foreign):
        plan = await service.revise_plan(tx, plan, repository)
    for part in wanted.artifacts:
        await service.write_artifact(tx, plan, repository, part)
    await tx.refresh(plan)
    return plan
