"""Plans on the wire: what shall be built, in numbered versions, and what each version holds."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal, Self, cast

from pydantic import ConfigDict, Field, TypeAdapter, model_validator

from agentvine.protocol.base import Edit, Input, Output
from agentvine.protocol.enums import ArtifactType, PermissionLevel, PlanStatus, TaskType
from agentvine.protocol.paths import FilePath, FilePatterns
from agentvine.protocol.tasks import TaskRun

MAX_STEPS = 200
MAX_CHANGES = 500
MAX_ITEMS = 200
MAX_TEXT = 100_000
MAX_CONTENT = 1_000_000
MAX_SEARCH_DEPTH = 20
MAX_DEPENDENCIES = 100

_KEY = r"^[a-z0-9][a-z0-9_-]{0,63}$"


_Line = Annotated[str, Field(min_length=1, max_length=2000)]


class FeaturePlan(Input):
    """What is wanted, and how one sees that it is there."""

    goal: str = Field(min_length=1, max_length=MAX_TEXT)
    scope: list[_Line] = Field(default_factory=list[str], max_length=MAX_ITEMS)
    non_goals: list[_Line] = Field(default_factory=list[str], max_length=MAX_ITEMS)
    acceptance_criteria: list[_Line] = Field(default_factory=list[str], max_length=MAX_ITEMS)


class PlanStep(Input):
    """One step; accepted, it becomes a task."""

    key: str = Field(pattern=_KEY)
    """What other steps call it; the same step keeps it from version to version."""
    title: str = Field(min_length=1, max_length=300)
    description: str | None = Field(default=None, max_length=MAX_TEXT)
    type: TaskType = TaskType.FEATURE
    files: FilePatterns = Field(default_factory=list[str])
    """What it touches."""
    depends_on: list[str] = Field(default_factory=list[str], max_length=MAX_DEPENDENCIES)
    """Keys of the steps that come first."""
    definition_of_done: str | None = Field(default=None, max_length=MAX_TEXT)
    permission: PermissionLevel = PermissionLevel.SUPERVISED
    run: TaskRun | None = None
    """How it is carried out; None: as all others, said when the plan is accepted."""


class ImplementationSteps(Input):
    """The steps in their order."""

    steps: list[PlanStep] = Field(min_length=1, max_length=MAX_STEPS)

    @model_validator(mode="after")
    def _is_a_plan(self) -> Self:
        keys = [step.key for step in self.steps]
        _check_once(keys, "step")
        for step in self.steps:
            if unknown := sorted(set(step.depends_on) - set(keys)):
                raise ValueError(f"{step.key} depends on {', '.join(unknown)}, which is no step")
            _check_once(step.depends_on, f"dependency of {step.key}")
        try:
            TopologicalSorter({step.key: step.depends_on for step in self.steps}).prepare()
        except CycleError as error:
            way = " waits for ".join(reversed(error.args[1]))
            raise ValueError(f"the steps wait for each other: {way}") from None
        return self


class CodeChange(Input):
    """One file: made, changed or removed."""

    # What is in a file is kept to the letter.
    model_config = ConfigDict(str_strip_whitespace=False)

    path: FilePath
    operation: Literal["create", "modify", "delete"]
    content: str | None = Field(default=None, max_length=MAX_CONTENT)
    """All of the file, to create or to replace it."""
    patch: str | None = Field(default=None, min_length=1, max_length=MAX_CONTENT)
    """A unified diff of this one file, to change it."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        given = {name for name in ("content", "patch") if getattr(self, name) is not None}
        fits: dict[str, list[set[str]]] = {
            "create": [{"content"}],
            "modify": [{"content"}, {"patch"}],
            "delete": [set()],
        }
        if given not in fits[self.operation]:
            needs = {"create": "content", "modify": "content or a patch", "delete": "neither"}
            raise ValueError(f"{self.path}: to {self.operation} it takes {needs[self.operation]}")
        return self


class CodeChanges(Input):
    """Changes that can be applied as one commit."""

    message: str | None = Field(default=None, min_length=1, max_length=10_000)
    """Of the commit."""
    changes: list[CodeChange] = Field(min_length=1, max_length=MAX_CHANGES)

    @model_validator(mode="after")
    def _each_file_once(self) -> Self:
        _check_once([change.path for change in self.changes], "file")
        return self


class FeaturePlanIn(Input):
    """A feature plan."""

    artifact_type: Literal[ArtifactType.FEATURE_PLAN]
    content: FeaturePlan


class ImplementationStepsIn(Input):
    """Steps."""

    artifact_type: Literal[ArtifactType.IMPLEMENTATION_STEPS]
    content: ImplementationSteps


class CodeChangesIn(Input):
    """Code changes."""

    artifact_type: Literal[ArtifactType.CODE_CHANGES]
    content: CodeChanges


ArtifactIn = Annotated[
    FeaturePlanIn | ImplementationStepsIn | CodeChangesIn, Field(discriminator="artifact_type")
]
"""A part of a plan; of each type, the newest counts."""
ARTIFACT: TypeAdapter[ArtifactIn] = TypeAdapter(ArtifactIn)
"""Reads one."""


class PlanCreateIn(Input):
    """The first version of a new plan."""

    repository_id: uuid.UUID
    name: str = Field(min_length=1, max_length=255)
    description: str | None = Field(default=None, max_length=MAX_TEXT)
    target_branch: str | None = Field(default=None, min_length=1, max_length=100)
    """Where its changes are to go; None: the repository's default branch."""
    artifacts: list[ArtifactIn] = Field(
        default_factory=list[FeaturePlanIn | ImplementationStepsIn | CodeChangesIn], max_length=3
    )

    @model_validator(mode="after")
    def _one_of_a_type(self) -> Self:
        _check_once([part.artifact_type for part in self.artifacts], "artifact")
        return self


class PlanEditIn(Edit):
    """A change of a draft; fields left out stay as they are."""

    may_be_emptied = frozenset({"description"})

    description: str | None = Field(default=None, max_length=MAX_TEXT)
    target_branch: str | None = Field(default=None, min_length=1, max_length=100)


class PlanSearchIn(Input):
    """Artifacts whose content holds this, at the same places; lists hold it anywhere."""

    contains: dict[str, Any] = Field(min_length=1)
    artifact_type: ArtifactType | None = None
    repository_id: uuid.UUID | None = None
    status: PlanStatus | None = None

    @model_validator(mode="after")
    def _is_not_too_deep(self) -> Self:
        if _is_deeper(self.contains, MAX_SEARCH_DEPTH):
            raise ValueError(f"contains may be {MAX_SEARCH_DEPTH} levels deep")
        return self


class PlanOut(Output):
    """A version of a plan."""

    id: uuid.UUID
    repository_id: uuid.UUID
    name: str
    description: str | None
    target_branch: str
    version: int
    status: PlanStatus
    row_version: int
    """Grows with every change; `If-Match` takes it."""
    created_at: datetime
    updated_at: datetime


class ArtifactOut(Output):
    """A part of a version, as somebody wrote it."""

    id: uuid.UUID
    plan_id: uuid.UUID
    artifact_type: ArtifactType
    content: Any
    created_by: str | None
    created_at: datetime


class PlanDetailOut(PlanOut):
    """A version with the artifacts that count, and all of it as a text."""

    artifacts: list[ArtifactOut]
    text: str
    """Markdown, as `agentvine plan create --file` takes it (without code changes)."""


class PlanHitOut(Output):
    """An artifact that was found, and the version it belongs to."""

    plan: PlanOut
    artifact: ArtifactOut


class FieldDiffOut(Output):
    """A field that differs."""

    field: str
    before: Any
    after: Any


class StepDiffOut(Output):
    """A step that is in both versions, and differs."""

    key: str
    title: str
    fields: list[FieldDiffOut]


class PlanDiffOut(Output):
    """What differs from one version to another."""

    before: PlanOut
    after: PlanOut
    text: str
    """A unified diff of the versions as text; empty where nothing differs."""
    fields: list[FieldDiffOut]
    """Of the version itself, and of its feature plan."""
    steps_added: list[str]
    steps_removed: list[str]
    steps_changed: list[StepDiffOut]
    steps_moved: list[str]
    """Those that stand elsewhere among the steps of both."""
    files_changed: list[str]
    """Files whose code changes differ."""


def _check_once(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{name} is there twice; each {what} stands once")
        seen.add(name)


def _is_deeper(value: object, levels: int) -> bool:
    inner: Iterable[object] = ()
    if isinstance(value, dict):
        inner = cast("dict[str, object]", value).values()
    elif isinstance(value, list):
        inner = cast("list[object]", value)
    else:
        return False
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in inner)
