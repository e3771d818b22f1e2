"""Markdown as HTML that is safe in any page, whoever wrote it.

Two walls: the parser knows no HTML, and what it makes is cleaned against a list of tags.
"""

import nh3
from markdown_it import MarkdownIt

_TAGS = {
    *("a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr"),
    *("li", "ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
_SCHEMES = {"http", "https", "mailto"}


def render_markdown(text: str) -> str:
    """The HTML of a text, without images: no reader's browser shall ask anybody for them."""
    return nh3.clean(
        _parser().render(text),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
    )


def words_of_markdown(text: str) -> str:
    """The text that is no code: what mentions are looked for in."""
    runs: list[str] = []
    for token in _parser().parse(text):
        runs.extend(child.content for child in token.children or () if child.type == "text")
    return "\n".join(runs)


def _parser() -> MarkdownIt:
    # One for each use: it keeps state while it parses, and texts are rendered in threads.
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
