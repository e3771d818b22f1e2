"""A browser as far as pages need one: cookies, forms, and what a reader sees."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx2

from agentvine.domains.identity import sessions
from agentvine.domains.identity.models import User
from tests.support.api import Api

SITE = "http://pages.test"
_UNSEEN = {"head", "script", "style"}
_EMPTY = {"meta", "link", "input", "br", "!doctype"}


@dataclass
class Browser:
    """Somebody's browser; it sends forms as from a page of the same site."""

    http: httpx2.AsyncClient

    async def get(self, path: str) -> httpx2.Response:
        """Open an address."""
        return await self.http.get(path)

    async def send(self, path: str, form: Mapping[str, str | list[str]]) -> httpx2.Response:
        """Send a form; the answer is not followed."""
        return await self.http.post(path, data=form, headers={"Origin": SITE})


async def browser(api: Api, user: User | None = None, site: str = SITE) -> Browser:
    """A browser, signed in as somebody or as nobody."""
    http = await api.visitor(site)
    if user is not None:
        async with api.database.transaction() as tx:
            text = await sessions.open_session(tx, user, user_agent="test", address=None)
        http.cookies.set("agentvine_session", text)
    return Browser(http)


@dataclass
class Seen(HTMLParser):
    """What a page shows: its words, links, buttons, and the tags that it is made of."""

    words: str = ""
    links: list[str] = field(default_factory=list[str])
    fields: dict[str, list[dict[str, str | None]]] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list[str])
    unsafe: list[str] = field(default_factory=list[str])
    """Attributes and tags that would run something written in the page."""
    _open: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in _EMPTY:
            self._open.append(tag)
        if tag == "a" and (link := given.get("href")):
            self.links.append(link)
        if (name := given.get("name")) and tag in {"input", "button", "textarea"}:
            self.fields.setdefault(name, []).append(given)
        self.unsafe += [name for name in given if name.startswith("on") or name == "style"]
        if tag == "script" and "src" not in given:
            self.unsafe.append("script")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"{tag} ends in the wrong place"

    def handle_data(self, data: str) -> None:
        if not _UNSEEN & set(self._open):
            self.words += data


def seen(response: httpx2.Response) -> Seen:
    """What there is to see on a page."""
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = Seen()
    page.feed(response.text)
    page.close()
    page.words = " ".join(page.words.split())
    return page
