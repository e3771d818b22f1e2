"""The command that says which models may be used, and by which names. It is audited."""

from sqlalchemy import select

from agentvine.db.base import table_of
from agentvine.db.session import Transaction
from agentvine.domains.gateway.models import ModelRules
from agentvine.domains.gateway.providers import check_may_change
from agentvine.domains.gateway.queries import EVERYWHERE
from agentvine.domains.identity import history
from agentvine.kit.actor import UserActor
from agentvine.protocol.providers import ModelRulesIn


async def set_rules(tx: Transaction, actor: UserActor, wanted: ModelRulesIn) -> ModelRules:
    """Let these rules hold in a project, or everywhere, in the place of those that did.

    Raises:
        ProviderForbidden: Only an admin makes rules for all projects.
    """
    await check_may_change(tx, actor, wanted.project_id)
    scope_id = wanted.project_id or EVERYWHERE
    values = {
        "project_id": wanted.project_id,
        "allowed": wanted.allowed,
        "aliases": wanted.aliases,
        "default_model": wanted.default_model,
    }
    row = {"scope_id": scope_id, **values}
    table = table_of(ModelRules)
    await tx.execute(tx.dialect.upsert(table, row, keys=("scope_id",), update=tuple(values)))
    history.record(
        tx,
        "model_rules.set",
        entity=("model_rules", scope_id),
        project_id=wanted.project_id,
        after=wanted.model_dump(mode="json"),
    )
    await tx.flush()
    query = select(ModelRules).where(ModelRules.scope_id == scope_id)
    return (await tx.scalars(query.execution_options(populate_existing=True))).one()
