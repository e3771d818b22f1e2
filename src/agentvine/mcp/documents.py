"""Texts in the words of tools: what documents were found, and long ones part by part."""

from collections.abc import Sequence

from agentvine.domains.knowledge.models import ContextDocument, DocumentVersion
from agentvine.domains.knowledge.queries import Found

_PART = 15_000


def found_lines(found: Sequence[Found]) -> str:
    """What a search found, with the ids that read_document takes."""
    lines = [
        f"{each.document.title} [{each.document.document_type.value}] (id {each.document.id})\n"
        f"  {each.snippet}"
        for each in found
    ]
    return "\n".join(lines) or "No document has all these words; try fewer."


def document_line(document: ContextDocument) -> str:
    """A document in one line."""
    tags = f"; {', '.join(document.tags)}" if document.tags else ""
    kind = document.document_type.value
    return f"{document.title} [{kind}{tags}] version {document.version} (id {document.id})"


def document_part(document: ContextDocument | DocumentVersion, start: int) -> str:
    """A part of a document, and how to get the next one."""
    head = f"# {document.title} (version {document.version})\n\n" if not start else ""
    return head + text_part(document.content, start)


def text_part(text: str, start: int) -> str:
    """A part of a long text, and how to get the next one."""
    end = start + _PART
    more = f"\n\n[It goes on: read it again with start {end}.]" if end < len(text) else ""
    return f"{text[start:end]}{more}"
