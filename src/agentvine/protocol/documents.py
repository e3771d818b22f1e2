"""Documents that people and agents share, on the wire: versions, search, and who is given them."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints, field_validator, model_validator

from agentvine.protocol.base import Edit, Input, Output, Verbatim
from agentvine.protocol.enums import DocumentType, TaskType

MAX_DOCUMENT_CHARACTERS = 300_000
MAX_TAGS = 50
MAX_IMPORTED = 50
MAX_FOUND = 100
DOCUMENT_TOKENS = 4000
"""What the documents of one rule may take in a brief, where it does not say."""
MAX_RULE_TOKENS = 100_000

Tag = Annotated[
    str, StringConstraints(min_length=1, max_length=50, to_lower=True, strip_whitespace=True)
]
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS)]


def _without_twins(tags: list[str]) -> list[str]:
    return sorted(set(tags))


class DocumentCreateIn(Input):
    """A new document, of a project or (by an admin) for all of them."""

    title: str = Field(min_length=1, max_length=255)
    document_type: DocumentType
    content: str = Field(max_length=MAX_DOCUMENT_CHARACTERS)
    """Markdown."""
    project_id: uuid.UUID | None = None
    repository_id: uuid.UUID | None = None
    """What it is about; one of the project's."""
    tags: Tags = Field(default_factory=list[str])

    _sorted_tags = field_validator("tags")(_without_twins)


class DocumentEditIn(Edit):
    """Fields left out stay as they are; what is given makes a new version."""

    title: str | None = Field(default=None, min_length=1, max_length=255)
    document_type: DocumentType | None = None
    content: str | None = Field(default=None, max_length=MAX_DOCUMENT_CHARACTERS)
    tags: Tags | None = None

    @field_validator("tags")
    @classmethod
    def _sorted_tags(cls, tags: list[str] | None) -> list[str] | None:
        return None if tags is None else _without_twins(tags)


class DocumentRestoreIn(Input):
    """Make an earlier version the newest again, as a version more."""

    version: int = Field(ge=1)


class DocumentSummaryOut(Output):
    """A document without its text."""

    id: uuid.UUID
    title: str
    document_type: DocumentType
    project_id: uuid.UUID | None
    repository_id: uuid.UUID | None
    repository_url: str | None
    tags: list[str]
    source_path: str | None
    """The file that it was imported from, in its folder."""
    version: int
    """Grows with every change; `If-Match` takes it."""
    created_at: datetime
    updated_at: datetime


class DocumentOut(DocumentSummaryOut):
    """A document as it is now."""

    content: str


class DocumentVersionOut(Output):
    """A document as it was, from one change to the next."""

    version: int
    title: str
    document_type: DocumentType
    tags: list[str]
    changed_by: str
    created_at: datetime


class DocumentVersionTextOut(DocumentVersionOut):
    """The same with its text."""

    content: str


class ComparisonOut(Output):
    """What differs between two versions."""

    old_version: int
    new_version: int
    diff: str
    """Of the texts, as `diff -u` shows it; empty where they are the same."""
    changed: dict[str, list[Any]]
    """What else differs: title, type or tags, each as it was and as it is."""


class FoundDocumentOut(Output):
    """A document in which the words occur, and where."""

    document: DocumentSummaryOut
    score: float
    """1 for the best one, less for the others."""
    snippet: str
    """The words are between ``**``."""


class ImportedFileIn(Verbatim):
    """One file of a folder of documents."""

    path: str = Field(min_length=1, max_length=500)
    """In the folder; a file that comes again is the same document."""
    title: str = Field(min_length=1, max_length=255)
    document_type: DocumentType
    content: str = Field(max_length=MAX_DOCUMENT_CHARACTERS)
    tags: Tags = Field(default_factory=list[str])

    _sorted_tags = field_validator("tags")(_without_twins)


class ImportIn(Input):
    """Files to be taken in; several requests make a folder."""

    project_id: uuid.UUID
    repository_id: uuid.UUID | None = None
    files: list[ImportedFileIn] = Field(min_length=1, max_length=MAX_IMPORTED)


class ImportOut(Output):
    """What has become of each file, by its path."""

    created: list[str] = Field(default_factory=list[str])
    changed: list[str] = Field(default_factory=list[str])
    unchanged: list[str] = Field(default_factory=list[str])


class DocumentRuleIn(Input):
    """Which documents are given to the runs of which tasks."""

    repository_id: uuid.UUID | None = None
    """For tasks of this repository; None: of all of the project's."""
    task_type: TaskType | None = None
    """For tasks of this type; None: of any."""
    document_id: uuid.UUID | None = None
    document_type: DocumentType | None = None
    tag: Tag | None = None
    max_tokens: int = Field(default=DOCUMENT_TOKENS, ge=1, le=MAX_RULE_TOKENS)
    """How much room its documents may take, about."""
    position: int = Field(default=100, ge=0, le=10_000)
    """Rules with small numbers come first."""

    @model_validator(mode="after")
    def _names_documents(self) -> "DocumentRuleIn":
        if self.document_id is None and self.document_type is None and self.tag is None:
            raise ValueError("name a document, or the tag or the type of those that are meant")
        if self.document_id is not None and (self.document_type or self.tag):
            raise ValueError("one document needs neither a tag nor a type")
        return self


class DocumentRuleOut(Output):
    """A rule of a project."""

    id: uuid.UUID
    project_id: uuid.UUID
    repository_id: uuid.UUID | None
    task_type: TaskType | None
    document_id: uuid.UUID | None
    document_type: DocumentType | None
    tag: str | None
    max_tokens: int
    position: int
    created_at: datetime
