"""Where a line comes from, in the words of tools."""

from agentvine.protocol.tracing import LineOriginOut

_PROMPT_CHARACTERS = 4000


def origin_words(row: LineOriginOut) -> str:
    """Where a line comes from, and what its writer was asked to do."""
    commit, change, task, used = row.commit, row.modification, row.task, row.usage
    lines = [
        f"line: {row.text}",
        f"commit {commit.id} of {commit.author}, {commit.authored_at:%Y-%m-%d}: {commit.subject}",
    ]
    if change:
        lines.append(f"change {change.id} [{change.status}] asked by {change.requested_by}")
    if task:
        lines.append(f"task {task.ref} [{task.status}] {task.title} (id {task.id})")
    if row.plan:
        lines.append(f"plan {row.plan.name}, version {row.plan.version}, step {row.plan.step}")
    if row.execution:
        lines.append(f"run {row.execution.id}, attempt {row.execution.attempt}")
    if row.agent:
        lines.append(f"agent {row.agent.name} ({row.agent.type})")
    if used:
        lines.append(f"used {used.tokens_in} tokens in, {used.tokens_out} out, ${used.cost_usd}")
    if not task:
        lines += [f"{name}: {value}" for name, value in row.trailers.items()]
    if row.prompt:
        lines.append(f"asked to:\n{row.prompt[:_PROMPT_CHARACTERS]}")
    return "\n".join([*lines, *row.notes])
