"""Markdown becomes HTML that does nothing in a reader's browser but be read."""

import re

import pytest

from agentvine.kit.markup import render_markdown, words_of_markdown

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](https://example.org/track.png)",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](vbscript:msgbox)",
    "<javascript:alert(1)>",
    '[x](https://example.org/"onmouseover="alert(1))',
    '[x](https://example.org "a\\" onclick=\\"alert(1)")',
    "<svg/onload=alert(1)>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href='x' style='position:fixed;inset:0'>x</a>",
    "```<script>\nalert(1)\n```",
    '```js" onmouseover="alert(1)\nx\n```',
    "`<img src=x onerror=alert(1)>`",
    "<!-- --><base href=https://example.org>",
    "| <b onclick=alert(1)> |\n| --- |\n| </td><script>alert(1)</script> |",
    "[x]: javascript:alert(1)\n\n[x]",
    "<form action=https://example.org><input name=password></form>",
    "\u202e<script>\x00alert(1)</script>",
]
TAG = re.compile(r"<\s*/?\s*([a-zA-Z][a-zA-Z0-9]*)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>")
ALLOWED = {
    *("a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li"),
    *("ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_runs_or_loads_comes_through(text: str):
    html = render_markdown(text)

    assert html.count("<") == len(TAG.findall(html)), html
    for name, attributes in TAG.findall(html):
        assert name.lower() in ALLOWED, html
        names = re.findall(r"([\w-]+)\s*=", re.sub(r"\"[^\"]*\"|'[^']*'", "", attributes))
        assert set(names) <= {"href", "title", "rel", "start"}, html
    for address in re.findall(r'href="([^"]*)"', html):
        assert re.match(r"(?:https?:|mailto:)", address), html


def test_what_people_write_is_shown_as_they_mean_it():
    html = render_markdown(
        "# Plan\n\n- **bold** ~~gone~~\n- [site](https://example.org)\n\n| a |\n| - |\n| `b` |\n"
    )

    for part in ("<h1>Plan</h1>", "<strong>bold</strong>", "<s>gone</s>", "<td><code>b</code>"):
        assert part in html
    assert 'href="https://example.org" rel="noopener noreferrer nofollow"' in html


def test_a_text_that_is_nested_without_end_is_rendered_all_the_same():
    for text in (">" * 20_000, "[" * 20_000, "*a" * 10_000, "- " * 10_000):
        assert len(render_markdown(text)) < 2_000_000


def test_words_are_those_outside_of_code():
    text = "ask @anna and `@bob`\n\n```\n@carl\n```\n\n> *@dora*\n"

    assert re.findall(r"@\w+", words_of_markdown(text)) == ["@anna", "@dora"]
