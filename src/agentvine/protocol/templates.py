"""Templates of projects on the wire, and as files."""

import base64
import binascii
import uuid
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, field_validator, model_validator

from agentvine.protocol.base import Input, Output, Verbatim
from agentvine.protocol.template_enums import TemplateCategory, TemplateComplexity

MAX_FILES = 500
MAX_CHARACTERS = 4_000_000
"""Of all files of a template, and of all that is made of it."""
MAX_VALUE = 1000
MAX_VARIABLES = 50
_RESERVED = frozenset(
    ("self", "super", "loop", "true", "false", "none", "and", "or", "not", "in", "is", "if", "else")
)
"""Words of the language that templates are written in."""

Word = Annotated[
    str, StringConstraints(min_length=1, max_length=50, to_lower=True, strip_whitespace=True)
]
Words = Annotated[list[Word], Field(max_length=50)]


class TemplateSource(StrEnum):
    """Where a template comes from."""

    BUILT_IN = "built_in"
    OWN = "own"


class TemplateEncoding(StrEnum):
    """How a file's content is written."""

    TEXT = "text"
    BASE64 = "base64"


class TemplateVariable(Input):
    """What one fills in; without a default one must."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=50)
    description: str = Field(default="", max_length=500)
    default: str | None = Field(default=None, max_length=MAX_VALUE)
    """It may use the variables before it."""
    pattern: str | None = Field(default=None, max_length=500)
    """A regular expression without look-around, which the whole value matches."""

    @field_validator("name")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in _RESERVED:
            raise ValueError(f"{name!r} means something else in templates")
        return name

    @property
    def is_required(self) -> bool:
        """Whether a value must be given."""
        return self.default is None


class TemplateFile(Verbatim):
    """One file, with placeholders unless it is verbatim."""

    content: str = Field(max_length=MAX_CHARACTERS)
    encoding: TemplateEncoding = TemplateEncoding.TEXT
    executable: bool = False
    verbatim: bool = False
    """Kept as it is; what is in base64 always is."""

    @model_validator(mode="after")
    def _is_base64(self) -> "TemplateFile":
        if self.encoding is TemplateEncoding.BASE64:
            try:
                base64.b64decode(self.content, validate=True)
            except (binascii.Error, ValueError):
                raise ValueError("the content is no base64") from None
        return self


def _from_text(value: object) -> object:
    return {"content": value} if isinstance(value, str) else value


TemplatePath = Annotated[str, StringConstraints(min_length=1, max_length=500)]
TemplateFiles = Annotated[
    dict[TemplatePath, Annotated[TemplateFile, BeforeValidator(_from_text)]],
    Field(min_length=1, max_length=MAX_FILES),
]
"""By path, in which there may be placeholders; a text alone stands for a file of that content."""


class TemplateDefinition(Input):
    """What a template is, wherever it is kept."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)
    description: str = Field(default="", max_length=2000)
    category: TemplateCategory
    complexity: TemplateComplexity = TemplateComplexity.SIMPLE
    estimated_setup_time: int | None = Field(default=None, ge=0, le=10_000)
    """Minutes until one can begin."""
    tech_stack: Words = Field(default_factory=list[str])
    tags: Words = Field(default_factory=list[str])
    test_command: str | None = Field(default=None, min_length=1, max_length=10_000)
    """What tests the project that is made."""
    variables: list[TemplateVariable] = Field(
        default_factory=list[TemplateVariable], max_length=MAX_VARIABLES
    )
    files: TemplateFiles

    @field_validator("tech_stack", "tags")
    @classmethod
    def _without_twins(cls, words: list[str]) -> list[str]:
        return sorted(set(words))

    @field_validator("variables")
    @classmethod
    def _named_once(cls, variables: list[TemplateVariable]) -> list[TemplateVariable]:
        names = [variable.name for variable in variables]
        if twins := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{', '.join(twins)}: a variable has one definition")
        return variables

    @field_validator("files")
    @classmethod
    def _not_too_large(cls, files: dict[str, TemplateFile]) -> dict[str, TemplateFile]:
        if sum(len(file.content) for file in files.values()) > MAX_CHARACTERS:
            raise ValueError(f"all files together have at most {MAX_CHARACTERS} characters")
        return files


class TemplateCreateIn(TemplateDefinition):
    """A new template, of a project or (by an admin) for all of them."""

    project_id: uuid.UUID | None = None


class TemplateDocument(TemplateDefinition):
    """A template as a file: what ``template export`` writes and ``template import`` reads."""

    format: Literal[1]
    version: int = Field(default=1, ge=1)
    """Of its content, for people; an import counts by itself."""


class TemplateSummaryOut(Output):
    """A template without its files."""

    id: uuid.UUID
    name: str
    description: str | None
    category: TemplateCategory
    complexity: TemplateComplexity
    estimated_setup_time: int | None
    """Minutes until one can begin."""
    tech_stack: list[str]
    tags: list[str]
    test_command: str | None
    required_vars: list[str]
    optional_vars: list[str]
    source: TemplateSource
    project_id: uuid.UUID | None
    """Whose it is; None: for all."""
    version: int
    """Grows with every change; `If-Match` takes it."""
    created_at: datetime | None
    updated_at: datetime | None


class TemplateVariableOut(Output):
    """What one fills in."""

    name: str
    description: str
    default: str | None
    """None: a value must be given."""
    pattern: str | None


class TemplateFileOut(Output):
    """One file."""

    content: str
    encoding: TemplateEncoding
    executable: bool
    verbatim: bool


class TemplateOut(TemplateSummaryOut):
    """A template with all that is in it."""

    variables: list[TemplateVariableOut]
    files: dict[str, TemplateFileOut]


class RenderIn(Input):
    """What is filled in, by the names of the variables."""

    values: dict[str, str] = Field(default_factory=dict[str, str], max_length=MAX_VARIABLES)


class RenderedFileOut(Output):
    """A file of the new project."""

    path: str
    """Inside the project, with slashes."""
    content: str
    encoding: TemplateEncoding
    executable: bool


class RenderedOut(Output):
    """A new project, not yet written anywhere."""

    template: str
    version: int
    values: dict[str, str]
    """Of all variables, the defaults too."""
    test_command: str | None
    files: list[RenderedFileOut]
