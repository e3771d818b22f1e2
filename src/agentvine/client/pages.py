"""Lists that come in pages."""

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from pydantic import BaseModel

from agentvine.client.transport import Params, Transport, get
from agentvine.protocol.base import PageOut

T = TypeVar("T", bound=BaseModel)


class Listing(Generic[T]):
    """A list on the server: iterate over all of it, or take one page.

    async for task in client.tasks.list(status=[TaskStatus.REVIEW]): ...
    newest = await client.tasks.list().page(limit=20)
    """

    def __init__(
        self, transport: Transport, path: str, params: Params, page: type[PageOut[T]]
    ) -> None:
        """Name the list; nothing is fetched yet."""
        self._transport = transport
        self._path = path
        self._params = params
        self._page = page

    async def page(self, *, limit: int | None = None, cursor: str | None = None) -> PageOut[T]:
        """One page; the next one starts at its ``next_cursor``."""
        params = {**self._params, "limit": limit, "cursor": cursor}
        return await self._transport.fetch(get(self._path, params), self._page)

    async def first(self, count: int) -> list[T]:
        """Up to ``count`` items from the start."""
        found: list[T] = []
        async for item in self:
            found.append(item)
            if len(found) >= count:
                break
        return found

    async def all(self) -> list[T]:
        """Every item of every page."""
        return [item async for item in self]

    async def __aiter__(self) -> AsyncIterator[T]:
        """Every item, page after page."""
        cursor: str | None = None
        while True:
            page = await self.page(cursor=cursor)
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return
