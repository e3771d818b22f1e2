"""Plans in the words of tools: flat input that becomes checked artifacts, and what one reads."""

import uuid
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from agentvine.domains.plans.models import Plan
from agentvine.domains.plans.queries import Content
from agentvine.mcp.words import ToolInput, titled
from agentvine.protocol.planning import PlanPreviewOut, StepAction
from agentvine.protocol.plans import (
    FeaturePlan,
    FeaturePlanIn,
    ImplementationSteps,
    ImplementationStepsIn,
    PlanCreateIn,
    PlanStep,
)

_STEP = (
    "Objects with key (a short name in small letters), title, description (all that is needed to "
    "do it), type (feature, bugfix, refactor, test, docs or review), files (paths it touches), "
    "depends_on (keys of steps that come first) and definition_of_done."
)
_FOR_PEOPLE = {"run", "permission"}
"""How a step is carried out, and with what permission, is not for who proposes it."""


class PlanParts(ToolInput):
    """What a plan holds."""

    name: str = Field(
        min_length=1, max_length=255, description="The same name writes the same plan again."
    )
    goal: str = Field(min_length=1, max_length=50_000, description="What is wanted, and why.")
    scope: list[str] = Field(default_factory=list[str], max_length=100)
    non_goals: list[str] = Field(default_factory=list[str], max_length=100)
    acceptance_criteria: list[str] = Field(
        default_factory=list[str], max_length=100, description="How one sees that it is there."
    )
    steps: list[dict[str, Any]] = Field(min_length=1, max_length=100, description=_STEP)

    def to_plan(self, repository_id: uuid.UUID) -> PlanCreateIn:
        """The same as the plans take it.

        Raises:
            ValidationError: The steps are no plan: a name is missing, or they wait for each other.
        """
        feature = FeaturePlan(
            goal=self.goal,
            scope=self.scope,
            non_goals=self.non_goals,
            acceptance_criteria=self.acceptance_criteria,
        )
        steps = ImplementationSteps.model_validate(
            {"steps": [_without(step, _FOR_PEOPLE) for step in self.steps]}
        )
        return PlanCreateIn(
            repository_id=repository_id,
            name=self.name,
            artifacts=[
                FeaturePlanIn.model_validate({"artifact_type": "feature_plan", "content": feature}),
                ImplementationStepsIn.model_validate(
                    {"artifact_type": "implementation_steps", "content": steps}
                ),
            ],
        )


def _without(step: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in step.items() if name not in names}


def plan_line(plan: Plan) -> str:
    """A version in one line."""
    return f"{plan.name}, version {plan.version} [{plan.status.value}] (id {plan.id})"


def plan_words(plan: Plan, content: Content) -> str:
    """A version in full; of code changes, which files."""
    lines = [plan_line(plan), f"target branch: {plan.target_branch}"]
    if plan.description:
        lines.append(plan.description)
    if (feature := content.feature) is not None:
        lines.append(f"goal:\n{feature.goal}")
        lines += titled("scope", feature.scope)
        lines += titled("non-goals", feature.non_goals)
        lines += titled("acceptance criteria", feature.acceptance_criteria)
    if content.steps is not None:
        lines.append("steps:")
        lines += [_step_words(step) for step in content.steps.steps]
    if content.changes is not None:
        changed = [f"{each.operation} {each.path}" for each in content.changes.changes]
        lines += titled("code changes", changed)
    return "\n".join(lines)


def preview_words(preview: PlanPreviewOut) -> str:
    """What accepting a version would do."""
    lines = [
        f"- {item.action.value}: {item.title} ({', '.join(filter(None, (item.ref, item.reason)))})"
        for item in preview.drift
    ]
    lines += [
        f"- note: {each.first} and {each.second} both touch {', '.join(each.files[:5])}"
        for each in preview.overlaps
        if not each.is_ordered
    ]
    if any(item.action is StepAction.CANCEL for item in preview.drift):
        lines.append("Tasks of an earlier version are cancelled only with cancel_tasks true.")
    return "\n".join(["accepting it would:", *(lines or ["- change nothing"])])


def _step_words(step: PlanStep) -> str:
    parts = [f"- {step.key} [{step.type.value}]: {step.title}"]
    if step.depends_on:
        parts.append(f"  after: {', '.join(step.depends_on)}")
    if step.files:
        parts.append(f"  files: {', '.join(step.files)}")
    if step.description:
        parts.append(f"  {step.description}")
    if step.definition_of_done:
        parts.append(f"  done when: {step.definition_of_done}")
    return "\n".join(parts)
