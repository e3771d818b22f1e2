"""What a script may say, and reading it."""

from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from agentvine.kit.errors import Invalid
from agentvine.protocol.enums import FailureClass

_MAX_BYTES = 1024 * 1024


class RunScriptInvalid(Invalid):
    """The script of a scripted run cannot be read, or says something that is not known."""

    code = "run_script_invalid"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WriteFile(_Part):
    """A file and all that is in it."""

    path: str
    text: str


class ReplaceText(_Part):
    """A text of a file, which must be there, and what comes in its place."""

    path: str
    old: str = Field(min_length=1)
    new: str


class Question(_Part):
    """Something to ask, and the name by which later steps say ``${name}`` for the answer."""

    text: str
    options: list[str] = Field(default_factory=list[str], max_length=50)
    save: str = "answer"


class Permission(_Part):
    """A tool to be allowed, and what follows."""

    tool: str
    input: dict[str, Any] = Field(default_factory=dict[str, Any])
    allowed: "list[ScriptStep]" = Field(default_factory=list["ScriptStep"])
    denied: "list[ScriptStep]" = Field(default_factory=list["ScriptStep"])


class Plan(_Part):
    """A plan to be approved, and what follows."""

    text: str
    allowed: "list[ScriptStep]" = Field(default_factory=list["ScriptStep"])
    denied: "list[ScriptStep]" = Field(default_factory=list["ScriptStep"])


class OwnTool(_Part):
    """A call of one of AgentVine's own tools."""

    name: str
    input: dict[str, Any] = Field(default_factory=dict[str, Any])
    save: str = "result"


class Usage(_Part):
    """What the run has used of a model so far: totals."""

    model: str = "scripted"
    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)
    cache_read_tokens: int = Field(default=0, ge=0)
    cache_write_tokens: int = Field(default=0, ge=0)
    reasoning_tokens: int = Field(default=0, ge=0)
    cost_usd: float | None = Field(default=None, ge=0)


class Failure(_Part):
    """How the run fails."""

    failure_class: FailureClass = Field(alias="class")
    message: str = "as its script says"
    retry_after_seconds: float | None = Field(default=None, ge=0)


class Crash(_Part):
    """How the program breaks off: by an exit code, or by a signal."""

    exit_code: int = Field(default=1, ge=0, le=255)
    signal: int | None = Field(default=None, ge=1, le=64)


Seconds = Annotated[float, Field(ge=0, le=24 * 3600)]


class ScriptStep(_Part):
    """One step: exactly one of these."""

    say: str | None = None
    think: str | None = None
    write: WriteFile | None = None
    replace: ReplaceText | None = None
    delete: str | None = None
    run: str | None = None
    """A shell command; the run fails when it does."""
    ask: Question | None = None
    permit: Permission | None = None
    plan: Plan | None = None
    tool: OwnTool | None = None
    wait: Seconds | None = None
    wait_for_message: bool | None = None
    """Until a person says something; it is saved as ``message``."""
    usage: Usage | None = None
    fail: Failure | None = None
    crash: Crash | None = None
    hang: bool | None = None
    """For ever, whatever is said to it."""
    finish: str | None = None
    """The result; a script that ends without one finishes, too."""

    @field_validator("crash", mode="before")
    @classmethod
    def _is_a_crash(cls, value: object) -> object:
        return {} if value is True else value

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("a step is exactly one of " + ", ".join(type(self).model_fields))
        return self

    def plain(self) -> dict[str, Any]:
        """The step as the player takes it: its one word, and all that belongs to that."""
        [(name, value)] = [(name, getattr(self, name)) for name in self.model_fields_set]
        if not isinstance(value, BaseModel):
            return {name: value}
        told = value.model_dump(mode="json", by_alias=True)
        if isinstance(value, Permission | Plan):
            told |= {"allowed": _plain(value.allowed), "denied": _plain(value.denied)}
        return {name: told}


class Script(_Part):
    """A whole script."""

    model: str = "scripted"
    """The model that it says it uses."""
    steps: list[ScriptStep] = Field(min_length=1)
    resumed_steps: list[ScriptStep] | None = None
    """Instead of these, where it goes on with the session of an earlier attempt."""
    refuses_to_resume: bool = False

    def plain(self) -> dict[str, Any]:
        """The script as the player takes it."""
        again = self.resumed_steps
        return {
            "model": self.model,
            "refuses_to_resume": self.refuses_to_resume,
            "steps": _plain(self.steps),
            "resumed_steps": None if again is None else _plain(again),
        }


def parse_script(text: str) -> Script:
    """Read a script.

    Raises:
        RunScriptInvalid: It is no YAML, or says something that is not known.
    """
    try:
        told: Any = yaml.safe_load(text)
        return Script.model_validate({"steps": told} if isinstance(told, list) else told)
    except yaml.YAMLError as error:
        raise RunScriptInvalid(f"The script is no YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RunScriptInvalid(
            f"The script is wrong at {place or 'its top'}: {first['msg']}"
        ) from error


def find_script(worktree: Path, command: str | None) -> Script:
    """The script that a task's command is, or names; else that of the repository.

    Raises:
        RunScriptInvalid: There is none, or it cannot be read.
    """
    named = (command or "agentvine-script.yaml").strip()
    if "\n" in named or named.startswith(("[", "{", "-")):
        return parse_script(named)
    path = worktree / named
    try:
        inside = path.resolve(strict=True).is_relative_to(worktree.resolve())
        if not inside or path.stat().st_size > _MAX_BYTES:
            raise RunScriptInvalid(f"{named} is not a script inside the repository.")
        return parse_script(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RunScriptInvalid(
            f"A scripted run needs a script: give its YAML, or its path in the repository, with "
            f"--command, or keep one as agentvine-script.yaml ({named}: {error})."
        ) from error


def _plain(steps: list[ScriptStep]) -> list[dict[str, Any]]:
    return [step.plain() for step in steps]
