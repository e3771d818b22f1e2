"""A version of a plan as Markdown: to read, to compare, and to give to `plan create --file`."""

from collections.abc import Iterator, Sequence

from agentvine.domains.plans.models import Plan
from agentvine.domains.plans.queries import Content
from agentvine.protocol.enums import PermissionLevel
from agentvine.protocol.plans import CodeChange, FeaturePlan, PlanStep


def render_plan(plan: Plan, content: Content) -> str:
    """All of a version but its code changes."""
    return "\n".join(_plan_lines(plan, content)).rstrip() + "\n"


def render_changes(changes: Sequence[CodeChange]) -> str:
    """Code changes, to be compared."""
    return "".join(
        f"{change.operation} {change.path}\n{change.content or change.patch or ''}\n"
        for change in changes
    )


def _plan_lines(plan: Plan, content: Content) -> Iterator[str]:
    yield from ("---", f"name: {_scalar(plan.name)}")
    yield from (f"target_branch: {_scalar(plan.target_branch)}", "---", "")
    if plan.description:
        yield from (plan.description, "")
    if content.feature is not None:
        yield from _feature_lines(content.feature)
    if content.steps is not None:
        yield from ("# Steps", "")
        for step in content.steps.steps:
            yield from _step_lines(step)


def _feature_lines(feature: FeaturePlan) -> Iterator[str]:
    yield from ("# Goal", "", feature.goal, "")
    for title, items in (
        ("Scope", feature.scope),
        ("Non-goals", feature.non_goals),
        ("Acceptance criteria", feature.acceptance_criteria),
    ):
        if items:
            yield from (f"# {title}", "", *(f"- {_one_line(item)}" for item in items), "")


def _step_lines(step: PlanStep) -> Iterator[str]:
    yield from (f"## {step.key}: {_one_line(step.title)}", "")
    yield f"- type: {step.type.value}"
    if step.files:
        yield f"- files: {', '.join(step.files)}"
    if step.depends_on:
        yield f"- depends on: {', '.join(step.depends_on)}"
    if step.permission is not PermissionLevel.SUPERVISED:
        yield f"- permission: {step.permission.value}"
    if step.definition_of_done:
        yield f"- done when: {_one_line(step.definition_of_done)}"
    if step.run is not None:
        yield f"- run: {step.run.model_dump_json(exclude_defaults=True, exclude_none=True)}"
    yield ""
    if step.description:
        yield from (step.description, "")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _scalar(text: str) -> str:
    """A YAML scalar in quotes, as JSON writes it too."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_one_line(escaped)}"'
