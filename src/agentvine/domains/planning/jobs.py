"""The chore that completes plans: an active version whose tasks are all done is over."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, and_, exists, select
from sqlalchemy.orm import aliased

from agentvine.db.session import Database, ReadSession
from agentvine.domains.planning import service
from agentvine.domains.plans.enums import PlanId, PlanStatus
from agentvine.domains.plans.models import Plan
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.states import FINAL
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("plans")
_BATCH = 50
_FIRST = uuid.UUID(int=0)


@dataclass(slots=True)
class PlanChore:
    """Level-triggered: whatever ended the last task, and whoever missed it. One bounded step."""

    database: Database
    held: Select[PlanId]
    """Plans that somebody above is not done with, although their tasks are."""
    _after: uuid.UUID = _FIRST
    """Where the next step goes on, so that plans which failed do not hide others."""

    async def run(self) -> int:
        """Complete what is done. Returns how many plans that were."""
        async with self.database.read() as read:
            found = await self._candidates(read)
        done = 0
        for plan_id in found:
            async with self.database.transaction(_ACTOR) as tx:
                done += await service.complete_plan_when_done(tx, plan_id, held=self.held)
        self._after = found[-1] if len(found) == _BATCH else _FIRST
        return done

    async def _candidates(self, read: ReadSession) -> Sequence[uuid.UUID]:
        """Active versions with something done and nothing under way: of any version of the plan."""
        version = aliased(Plan)
        of_plan = and_(
            Task.plan_id == version.id,
            Task.plan_step.is_not(None),
            version.repository_id == Plan.repository_id,
            version.name == Plan.name,
        )
        is_under_way = exists().where(of_plan, Task.status.not_in(FINAL), Task.deleted_at.is_(None))
        query = (
            select(Plan.id)
            .where(
                Plan.status == PlanStatus.ACTIVE,
                Plan.id > self._after,
                Plan.id.not_in(self.held),
                exists().where(of_plan, Task.status == TaskStatus.COMPLETED),
                ~is_under_way,
            )
            .order_by(Plan.id)
            .limit(_BATCH)
        )
        return (await read.scalars(query)).all()
