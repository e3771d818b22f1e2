"""Tasks as clients see them."""

from agentvine.db.session import ReadSession
from agentvine.domains.tasks import files, queries
from agentvine.domains.tasks.context import read_context
from agentvine.domains.tasks.models import Task
from agentvine.protocol.tasks import TaskDetailOut, TaskOut


def task_out(task: Task) -> TaskOut:
    """A task without its relations."""
    return TaskOut(
        id=task.id,
        ref=f"T-{task.number}",
        title=task.title,
        description=task.description,
        status=task.status,
        status_reason=task.status_reason,
        type=task.task_type,
        permission=task.permission_level,
        priority=task.priority,
        project_id=task.project_id,
        repository_id=task.repository_id,
        target_branch=task.branch_name,
        definition_of_done=task.definition_of_done,
        parent_id=task.parent_task_id,
        plan_id=task.plan_id,
        plan_step=task.plan_step,
        agent_id=task.assigned_to_agent_id,
        conversation_id=task.conversation_id,
        run=read_context(task).run,
        metadata=task.metadata_ or {},
        row_version=task.row_version,
        total_tokens_used=task.total_tokens_used,
        total_cost_usd=task.total_cost_usd,
        budget_usd=task.budget_usd,
        created_at=task.created_at,
        updated_at=task.updated_at,
        started_at=task.started_at,
        completed_at=task.completed_at,
    )


async def task_detail_out(read: ReadSession, task: Task) -> TaskDetailOut:
    """A task with what it waits for, what waits for it, and its sub-tasks."""
    blockers = await queries.list_dependencies(read, task.id)
    dependants = await queries.list_dependants(read, task.id)
    waits = await files.list_current_waits(read, task)
    return TaskDetailOut(
        **task_out(task).model_dump(),
        dependencies=[queries.relation_out(relation, other) for relation, other in blockers],
        dependants=[queries.relation_out(relation, task) for relation, _ in dependants],
        sub_tasks=[task_out(child) for child in await queries.list_sub_tasks(read, task)],
        touches=await files.list_files(read, task.id),
        waits_for_files=[files.wait_out(wait) for wait in waits],
    )
