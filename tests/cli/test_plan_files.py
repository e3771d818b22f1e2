"""Plans as files: what `plan show` prints can be given to `plan create`, and mistakes are named."""

from pathlib import Path

import pytest

from agentvine.cli.plan_files import PlanFileInvalid, read_plan_file
from agentvine.domains.plans.enums import PlanStatus
from agentvine.domains.plans.models import Plan
from agentvine.domains.plans.queries import Content
from agentvine.domains.plans.rendering import render_plan
from agentvine.kit.ids import new_id
from agentvine.protocol.plans import FeaturePlan, ImplementationSteps

STEPS = {
    "steps": [
        {
            "key": "one",
            "title": 'Say "one"',
            "description": "Code:\n\n```sh\n# Steps\n## two: no step\n- type: x\n```\n\n- type: y",
            "type": "test",
            "files": ["a.py", "b/c.py"],
            "definition_of_done": "It is said.",
            "permission": "autonomous",
            "run": {"command": "echo one", "timeout_seconds": 60},
        },
        {"key": "two", "title": "Two", "depends_on": ["one"]},
    ]
}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_shown_can_be_read_back(tmp_path: Path):
    feature = FeaturePlan(
        goal="Grow.\n\nAnd more.", scope=["a", "b"], non_goals=["c"], acceptance_criteria=["d"]
    )
    steps = ImplementationSteps.model_validate(STEPS)
    plan = Plan(
        id=new_id(),
        name='The "best": plan # 1',
        description="Of all.",
        target_branch="main",
        version=1,
        status=PlanStatus.DRAFT,
    )

    text = render_plan(plan, Content(feature, steps, None))
    found = read_plan_file(write(tmp_path, "plan.md", text))

    assert (found.name, found.target_branch, found.description) == (plan.name, "main", "Of all.")
    assert [part.content for part in found.artifacts] == [feature, steps]


def test_yaml_names_the_parts(tmp_path: Path):
    text = """
name: beds
feature_plan: {goal: Grow.}
steps: [{key: one, title: One}]
code_changes: {changes: [{path: a.txt, operation: create, content: "a "}]}
"""
    found = read_plan_file(write(tmp_path, "plan.yaml", text))

    kinds = [part.artifact_type.value for part in found.artifacts]
    assert (found.name, kinds) == ("beds", ["feature_plan", "implementation_steps", "code_changes"])
    assert found.artifacts[2].model_dump()["content"]["changes"][0]["content"] == "a "


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.md", "# Aims\n\nNone.\n", "# Aims"),
        ("a.md", "# Steps\n\nFirst this.\n", "begin a step with"),
        ("a.md", "# Steps\n\n## a: A\n\n- depends on: b\n", "which is no step"),
        ("a.md", "# Scope\n\n- all\n", "feature_plan.goal"),
        ("a.yaml", "- a\n", "write the plan's fields"),
        ("a.yaml", "name: [", "no YAML"),
        ("a.yaml", "name: {a: 1}", "write a text"),
        ("a.yaml", "names: a", "names: a plan has no such field"),
        ("a.yaml", "steps: [{key: a, title: A, type: x}]", "implementation_steps.steps.0.type"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, name: str, text: str, reason: str):
    with pytest.raises(PlanFileInvalid) as caught:
        read_plan_file(write(tmp_path, name, text))

    assert reason in caught.value.detail
