"""The templates of the package: files as ``template export`` writes them, read once."""

import functools
import hashlib
import uuid
from collections.abc import Mapping
from importlib import resources
from typing import Any

import yaml

from agentvine.protocol.templates import TemplateDocument


@functools.cache
def built_in_templates() -> Mapping[uuid.UUID, TemplateDocument]:
    """All of them by id, in the order of their ids; reads files at the first call."""
    folder = resources.files("agentvine.domains.templates") / "library"
    found: dict[uuid.UUID, TemplateDocument] = {}
    for path in folder.iterdir():
        if path.name.endswith(".yaml"):
            content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
            template = TemplateDocument.model_validate(content)
            found[built_in_id(template.name)] = template
    return dict(sorted(found.items()))


def built_in_id(name: str) -> uuid.UUID:
    """The id of a template of the package, in every release: smaller than those of all rows."""
    digest = hashlib.sha256(name.encode()).digest()
    return uuid.UUID(bytes=bytes(6) + b"\x80\x00\x80" + digest[:7])


def is_built_in(name: str) -> bool:
    """Whether the package has a template of this name."""
    return built_in_id(name) in built_in_templates()
