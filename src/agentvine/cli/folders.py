"""The Markdown of a folder, as documents: titles, types and tags from each file itself.

A file may begin with front matter (``title``, ``type``, ``tags`` between two lines of ``---``).
Without it the title is the first heading, or the file's name. Links are not followed, so that a
folder gives nothing that lies outside of it; what begins with a dot is passed over.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from agentvine.protocol.documents import MAX_IMPORTED, ImportedFileIn
from agentvine.protocol.enums import DocumentType

MAX_FILES = 5000
_MAX_BYTES = 2 * 1024 * 1024
_MAX_BATCH_BYTES = 4 * 1024 * 1024
"""A server takes requests of 8 MiB, and JSON makes a text longer."""
_ENDINGS = (".md", ".markdown")
_HEADING = re.compile(r"^#\s+(.+?)\s*#*\s*$", re.MULTILINE)
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?\r?\n)?---\r?\n", re.DOTALL)


def read_folder(
    folder: Path, type_: DocumentType | None, tags: Sequence[str]
) -> tuple[list[ImportedFileIn], dict[str, str]]:
    """The files as documents, by path; and what is left out, with the reason.

    Args:
        folder: Where to look, in all folders below too.
        type_: What they are, where a file does not say; a guide where that is not said either.
        tags: What all of them are tagged with, besides their own tags.
    """
    files: list[ImportedFileIn] = []
    left_out: dict[str, str] = {}
    for path in _markdown_in(folder):
        name = path.relative_to(folder).as_posix()
        if len(files) >= MAX_FILES:
            left_out[name] = f"more than {MAX_FILES} files"
            continue
        try:
            files.append(_document(name, _text_of(path), type_, tags))
        except ValidationError as error:
            first = error.errors()[0]
            left_out[name] = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except (OSError, ValueError, yaml.YAMLError) as error:
            left_out[name] = " ".join(str(error).split())
    return files, left_out


def in_batches(files: Sequence[ImportedFileIn]) -> Iterator[list[ImportedFileIn]]:
    """The files in parts that a server takes at once."""
    batch: list[ImportedFileIn] = []
    room = _MAX_BATCH_BYTES
    for file in files:
        size = len(file.content.encode())
        if batch and (size > room or len(batch) == MAX_IMPORTED):
            yield batch
            batch, room = [], _MAX_BATCH_BYTES
        batch.append(file)
        room -= size
    if batch:
        yield batch


def _markdown_in(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            is_ours = name.lower().endswith(_ENDINGS) and not name.startswith(".")
            if is_ours and path.is_file() and not path.is_symlink():
                yield path


def _text_of(path: Path) -> str:
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError("it is too large")
    return path.read_text("utf-8")


def _document(
    name: str, text: str, type_: DocumentType | None, tags: Sequence[str]
) -> ImportedFileIn:
    said, content = _parts(text)
    heading = _HEADING.search(content)
    tagged: object = said.get("tags") or []
    own = cast("list[object]", tagged) if isinstance(tagged, list) else [tagged]
    return ImportedFileIn(
        path=name,
        title=str(said.get("title") or (heading[1] if heading else Path(name).stem))[:255],
        document_type=DocumentType(said.get("type") or type_ or DocumentType.GUIDE),
        content=content,
        tags=[*tags, *(str(each) for each in own)],
    )


def _parts(text: str) -> tuple[Mapping[str, Any], str]:
    """What the front matter says, and the rest."""
    found = _FRONT_MATTER.match(text)
    if found is None:
        return {}, text
    said = yaml.safe_load(found[1] or "")
    if said is not None and not isinstance(said, dict):
        return {}, text
    return cast("dict[str, Any]", said or {}), text[found.end() :]
