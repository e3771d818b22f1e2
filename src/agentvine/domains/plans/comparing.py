"""What differs between two versions of a plan: as text, and step by step."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, unified_diff
from typing import Any

from pydantic import BaseModel

from agentvine.db.session import ReadSession
from agentvine.domains.plans import queries
from agentvine.domains.plans.errors import PlansUnrelated
from agentvine.domains.plans.models import Plan
from agentvine.domains.plans.queries import Content
from agentvine.domains.plans.rendering import render_changes, render_plan
from agentvine.kit.actor import Actor
from agentvine.protocol.plans import FieldDiffOut, PlanDiffOut, PlanOut, PlanStep, StepDiffOut


@dataclass(frozen=True, slots=True)
class Version:
    """One side of a comparison."""

    plan: Plan
    content: Content

    @property
    def steps(self) -> Sequence[PlanStep]:
        """In their order."""
        return self.content.steps.steps if self.content.steps else ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs from one version to another."""

    text: str
    fields: list[FieldDiffOut]
    steps_added: list[str]
    steps_removed: list[str]
    steps_changed: list[StepDiffOut]
    steps_moved: list[str]
    files_changed: list[str]


async def diff_versions(
    read: ReadSession, actor: Actor, before_id: uuid.UUID, after_id: uuid.UUID
) -> PlanDiffOut:
    """What differs from one version of a plan to another.

    Raises:
        PlanNotFound: One of them is not theirs to see.
        PlansUnrelated: They are versions of two plans.
        ArtifactUnreadable: A part of one was written by other means, and is none.
    """
    sides: list[Version] = []
    for side_id in (before_id, after_id):
        plan = await queries.get_plan(read, actor, side_id)
        sides.append(Version(plan, await queries.get_content(read, plan)))
    before, after = sides
    names = {(side.plan.repository_id, side.plan.name) for side in sides}
    if len(names) > 1:
        raise PlansUnrelated(f"{before.plan.name} and {after.plan.name} are two plans.")
    found = compare(before, after)
    return PlanDiffOut(
        before=PlanOut.model_validate(before.plan),
        after=PlanOut.model_validate(after.plan),
        **{name: getattr(found, name) for name in found.__slots__},
    )


def compare(before: Version, after: Version) -> Comparison:
    """Compare two versions of a plan."""
    old = {step.key: step for step in before.steps}
    new = {step.key: step for step in after.steps}
    return Comparison(
        text=_text_diff(before, after),
        fields=_plan_fields(before, after),
        steps_added=[key for key in new if key not in old],
        steps_removed=[key for key in old if key not in new],
        steps_changed=[
            StepDiffOut(key=key, title=step.title, fields=fields)
            for key, step in new.items()
            if key in old and (fields := compare_models(old[key], step))
        ],
        steps_moved=_moved([key for key in old if key in new], [key for key in new if key in old]),
        files_changed=_changed_files(before.content, after.content),
    )


def compare_models(before: BaseModel, after: BaseModel) -> list[FieldDiffOut]:
    """The fields in which two of one shape differ."""
    return _differing(before.model_dump(mode="json"), after.model_dump(mode="json"))


def _differing(before: dict[str, Any], after: dict[str, Any]) -> list[FieldDiffOut]:
    return [
        FieldDiffOut(field=name, before=before.get(name), after=after.get(name))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def _plan_fields(before: Version, after: Version) -> list[FieldDiffOut]:
    def fields_of(side: Version) -> dict[str, Any]:
        feature = side.content.feature
        return {
            "description": side.plan.description,
            "target_branch": side.plan.target_branch,
            **(feature.model_dump(mode="json") if feature else {}),
        }

    return _differing(fields_of(before), fields_of(after))


def _text_diff(before: Version, after: Version) -> str:
    def lines_of(side: Version) -> list[str]:
        changes = side.content.changes.changes if side.content.changes else ()
        return (render_plan(side.plan, side.content) + render_changes(changes)).splitlines()

    lines = unified_diff(
        lines_of(before),
        lines_of(after),
        f"{before.plan.name} v{before.plan.version}",
        f"{after.plan.name} v{after.plan.version}",
        lineterm="",
    )
    return "".join(f"{line}\n" for line in lines)


def _moved(before: list[str], after: list[str]) -> list[str]:
    """The fewest keys that must be taken elsewhere to get from one order to the other."""
    stay: set[str] = set()
    for match in SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks():
        stay.update(before[match.a : match.a + match.size])
    return [key for key in after if key not in stay]


def _changed_files(before: Content, after: Content) -> list[str]:
    old = {change.path: change for change in before.changes.changes} if before.changes else {}
    new = {change.path: change for change in after.changes.changes} if after.changes else {}
    return sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
