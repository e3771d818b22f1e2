"""Templates that new repositories are made of."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, edit, get, post
from agentvine.protocol.base import PageOut
from agentvine.protocol.template_enums import TemplateCategory, TemplateComplexity
from agentvine.protocol.templates import (
    RenderedOut,
    RenderIn,
    TemplateCreateIn,
    TemplateDefinition,
    TemplateOut,
    TemplateSummaryOut,
)


class TemplatesApi:
    """``templates/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(
        self,
        *,
        project_id: uuid.UUID | None = None,
        category: TemplateCategory | None = None,
        complexity: TemplateComplexity | None = None,
        stack: Sequence[str] = (),
        tags: Sequence[str] = (),
        words: Sequence[str] = (),
    ) -> Listing[TemplateSummaryOut]:
        """The templates one may see, built-in ones first; with all that is said of them."""
        given: dict[str, Any] = {
            "project_id": str(project_id) if project_id else None,
            "category": category,
            "complexity": complexity,
            "stack": list(stack) or None,
            "tag": list(tags) or None,
            "word": list(words) or None,
        }
        params = {name: value for name, value in given.items() if value is not None}
        return Listing(self._transport, "templates", params, PageOut[TemplateSummaryOut])

    async def get(self, template_id: uuid.UUID) -> TemplateOut:
        """One template with its variables and files."""
        return await self._transport.fetch(get(f"templates/{template_id}"), TemplateOut)

    async def create(self, body: TemplateCreateIn, *, key: str | None = None) -> TemplateOut:
        """A new template."""
        return await self._transport.fetch(post("templates", body).with_key(key), TemplateOut)

    async def replace(
        self, template_id: uuid.UUID, body: TemplateDefinition, *, version: int
    ) -> TemplateOut:
        """Write all of a template anew, unless somebody else was faster."""
        call = replace(edit(f"templates/{template_id}", body, version), method="PUT")
        return await self._transport.fetch(call, TemplateOut)

    async def delete(self, template_id: uuid.UUID) -> None:
        """Remove a template; what was made from it stays."""
        await self._transport.send(Call("DELETE", f"templates/{template_id}"))

    async def render(self, template_id: uuid.UUID, values: Mapping[str, str]) -> RenderedOut:
        """The files of a new project; nothing is written anywhere."""
        body = RenderIn(values=dict(values))
        call = post(f"templates/{template_id}/render", body, is_repeatable=True)
        return await self._transport.fetch(call, RenderedOut)
