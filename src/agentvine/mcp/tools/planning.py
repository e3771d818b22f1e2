"""A run's agent proposes a plan. It is a draft: nothing comes of it until a person accepts it."""

from agentvine.domains.plans.drafting import draft_plan
from agentvine.domains.tasks.models import Task
from agentvine.kit.errors import Invalid
from agentvine.mcp.calls import RunCall
from agentvine.mcp.plans import PlanParts, plan_line
from agentvine.mcp.table import RunTool


class NoRepositoryToPlan(Invalid):
    """This task has no repository that a plan could be about."""

    code = "no_repository_to_plan"


class ProposePlan(PlanParts):
    """Propose a plan for your task's repository, for people to read, change and accept.

    Use it when you were asked to plan, or when the work turns out to be too much for one task and
    people should decide how it is split. It becomes a draft; its steps become tasks when a person
    accepts it. Propose under the same name again to correct it. What is worth doing without being
    decided is a sub-task instead (create_task).
    """


async def _propose(call: RunCall, given: ProposePlan) -> str:
    async with call.state.database.read() as read:
        person = await call.person(read)
    async with call.state.database.transaction(person) as tx:
        task = await tx.get_one(Task, call.run.task_id)
        if task.repository_id is None:
            raise NoRepositoryToPlan("Say what you would do in your last message instead.")
        wanted = given.to_plan(task.repository_id)
        plan = await draft_plan(tx, person, wanted, only_own=True)
        await call.check_held(tx)
        line = plan_line(plan)
    return f"Proposed: {line}\nPeople decide about it; go on with what does not depend on that."


TOOLS = (RunTool(name="propose_plan", takes=ProposePlan, do=_propose),)
"""Those for who plans."""
