"""The part of Jinja that templates are written in: placeholders, conditions, loops, some filters.

Templates come from people whom the server need not trust. Jinja's sandbox keeps them from what is
inside of Python; it does not keep them from taking for ever, or all memory. So what could do that
is left out: no calls, no arithmetic, no joining of texts, no macros, no assignments. What is left
can grow only by loops and by filters, and both are counted.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer
from markupsafe import escape

from agentvine.domains.templates.errors import TemplateInvalid, TemplateTooLarge
from agentvine.protocol.templates import MAX_CHARACTERS

T = TypeVar("T")

_MAX_TOKENS = 20_000
"""Of all texts together, outside of plain text."""
_MAX_TAG_TOKENS = 100
_MAX_STEPS = 10_000
"""How often all loops together may go round."""
_MAX_FILTERED = 10_000
"""Characters of what a filter may be given or give."""

_ALLOWED: Final = frozenset(
    {
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const),
        *(nodes.If, nodes.For, nodes.CondExpr, nodes.Compare, nodes.Operand),
        *(nodes.And, nodes.Or, nodes.Not, nodes.List, nodes.Tuple, nodes.Filter),
    }
)
_LOOP_FACTS: Final = frozenset({"first", "last", "index", "index0", "length"})
_COMPARISONS: Final = frozenset({"eq", "ne", "in", "notin"})
_ARGUMENTS: Final = {"replace": {2}, "split": {0, 1}}
"""How many a filter takes, where it takes any."""
_COUNTED: Final = "counted loop"
"""The name of a filter that no template can write."""
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]|\d+")


class Language:
    """Checks and renders the texts of one template, which share what there is room for."""

    def __init__(self, names: Iterable[str]) -> None:
        """Let texts use these variables."""
        self._names = frozenset(names)
        self._tokens = _MAX_TOKENS
        self._steps = _MAX_STEPS
        self._characters = MAX_CHARACTERS
        self._environment: Any = ImmutableSandboxedEnvironment(  # its tables are not typed
            undefined=StrictUndefined,
            autoescape=False,  # files of code, not pages; the filter `e` is there for those
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            cache_size=0,
        )
        self._environment.globals.clear()
        self._environment.tests.clear()
        self._environment.filters.clear()
        self._environment.filters.update(_FILTERS | {_COUNTED: self._counted})

    def check(self, text: str, place: str) -> None:
        """See that a text can be rendered, whatever the values are.

        Args:
            text: What is written in the template.
            place: The file, for the error.

        Raises:
            TemplateInvalid: It is not written well, uses what there is not, or names a variable
                that there is not.
            TemplateTooLarge: There are too many tags.
        """
        self._compiled(text, place)

    def render(self, text: str, values: Mapping[str, str], place: str) -> str:
        """The text with everything filled in; ``values`` has all variables.

        Raises:
            TemplateInvalid: As for ``check``.
            TemplateTooLarge: It would take too much, by its loops or filters.
        """
        made: list[str] = []
        template = self._compiled(text, place)
        try:
            for piece in template.generate(values):
                self.take(len(piece), place)
                made.append(piece)
        except _NoRoom as error:
            raise TemplateTooLarge(f"{place}: {error}.", file=place) from None
        except (TypeError, UndefinedError) as error:
            raise TemplateInvalid(f"{place}: {error}.", file=place) from None
        return "".join(made)

    def take(self, characters: int, place: str) -> None:
        """Count characters of the result.

        Raises:
            TemplateTooLarge: There is no room for them.
        """
        self._characters -= characters
        if self._characters < 0:
            raise TemplateTooLarge(
                f"At {place} the files have more than {MAX_CHARACTERS} characters.", file=place
            )

    def _compiled(self, text: str, place: str) -> Any:
        # Jinja writes all line ends alike: those that the text has.
        self._environment.newline_sequence = "\r\n" if "\r\n" in text else "\n"
        try:
            self._count_tokens(text, place)
            tree = self._environment.parse(text, place)
            self._check_tree(tree, place)
            return self._environment.from_string(_Counting().visit(tree))
        except TemplateSyntaxError as error:
            raise _wrong(place, error.lineno, error.message or "wrong") from None
        except (SyntaxError, RecursionError, MemoryError):
            raise _wrong(place, 1, "its conditions or loops are nested too deeply") from None

    def _count_tokens(self, text: str, place: str) -> None:
        in_tag = 0
        for line, kind, _ in self._environment.lex(text, place):
            if kind == "data":
                continue
            self._tokens -= 1
            in_tag = 0 if kind.endswith("_begin") else in_tag + 1
            if in_tag > _MAX_TAG_TOKENS:
                raise _wrong(place, line, "a tag is too long")
            if self._tokens < 0:
                raise TemplateTooLarge(f"At {place} the template has too many tags.", file=place)

    def _check_tree(self, tree: nodes.Template, place: str) -> None:
        for node in (tree, *tree.find_all(nodes.Node)):
            if (why := _why_not(node)) is not None:
                raise _wrong(place, node.lineno, why)
        for name in _unknown(tree, self._names):
            known = ", ".join(sorted(self._names)) or "none"
            raise _wrong(
                place, name.lineno, f"there is no variable {name.name!r}; there are: {known}"
            )

    def _counted(self, values: Iterable[T]) -> Iterator[T]:
        for value in values:
            self._steps -= 1
            if self._steps < 0:
                raise _NoRoom(f"its loops go round more than {_MAX_STEPS} times")
            yield value


class _NoRoom(Exception):
    """What a text asks for is too much."""


class _Counting(NodeTransformer):
    """Counts the steps of every loop, also of one that gives nothing out."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802  # as Jinja calls it
        self.generic_visit(node)
        place = {"lineno": node.lineno, "environment": node.environment}
        node.iter = nodes.Filter(node.iter, _COUNTED, [], [], None, None, **place)
        return node


def _why_not(node: nodes.Node) -> str | None:
    """What a template may not use there."""
    why: str | None = None
    match node:
        case nodes.Getattr(node=nodes.Name(name="loop"), attr=attr) if attr in _LOOP_FACTS:
            pass
        case nodes.For():
            why = _why_no_loop(node)
        case nodes.Filter(name=name) if name not in _FILTERS:
            why = f"there is no filter {name!r}; there are: {', '.join(_FILTERS)}"
        case nodes.Filter(name=name, args=args) if len(args) not in _ARGUMENTS.get(name, {0}):
            why = f"the filter {name!r} does not take {len(args)} arguments"
        case nodes.Compare(ops=ops) if not _COMPARISONS.issuperset(each.op for each in ops):
            why = "compare by ==, !=, in or not in"
        case nodes.Call():
            why = "functions cannot be called in a template"
        case _ if type(node) not in _ALLOWED:
            why = f"{type(node).__name__} cannot be used in a template"
        case _:
            pass
    return why


def _why_no_loop(loop: nodes.For) -> str | None:
    match loop:
        case nodes.For(recursive=True):
            return "a loop cannot be recursive"
        case nodes.For(
            target=nodes.Name(), iter=nodes.Filter(name="split") | nodes.List() | nodes.Tuple()
        ):
            return None
        case _:
            return "a loop goes over a list: `{% for each in NAME | split %}`"


def _unknown(node: nodes.Node, known: frozenset[str]) -> Iterator[nodes.Name]:
    """The names that stand for nothing where they are."""
    # Jinja's own search for them takes very long for filters behind filters.
    if isinstance(node, nodes.Name) and node.name not in known:
        yield node
    inside = known
    if isinstance(node, nodes.For) and isinstance(node.target, nodes.Name):
        yield from _unknown(node.iter, known)
        inside = known | {"loop", node.target.name}
    for child in node.iter_child_nodes(exclude=("iter",)):
        yield from _unknown(child, inside)


def _wrong(place: str, line: int, why: str) -> TemplateInvalid:
    return TemplateInvalid(f"{place}, line {line}: {why.rstrip('.')}.", file=place, line=line)


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _snake(text: str) -> str:
    return "_".join(_words(text))


def _kebab(text: str) -> str:
    return "-".join(_words(text))


def _pascal(text: str) -> str:
    return "".join(word.capitalize() for word in _words(text))


def _replace(text: str, old: str, new: str) -> str:
    if text.count(old) * len(new) > _MAX_FILTERED:
        raise _NoRoom("`replace` makes too much of it")
    return text.replace(old, new)


def _split(text: str, separator: str = ",") -> list[str]:
    return [part.strip() for part in text.split(separator or ",") if part.strip()]


def _quote(text: str) -> str:
    """A text in double quotes, as TOML, JSON, YAML, Python and JavaScript read it."""
    return json.dumps(text, ensure_ascii=False)


def _escape(text: str) -> str:
    return str(escape(text))


def _bounded(work: Callable[..., Any]) -> Callable[..., Any]:
    def do(*texts: object) -> Any:
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("a filter takes texts alone")
        result = work(*texts)
        if len(result) + sum(len(str(text)) for text in texts) > _MAX_FILTERED:
            raise _NoRoom("a filter makes too much of it")
        return result

    return do


_WORKS: Final[dict[str, Callable[..., Any]]] = {
    "lower": str.lower,
    "upper": str.upper,
    "title": str.title,
    "capitalize": str.capitalize,
    "trim": str.strip,
    "snake": _snake,
    "kebab": _kebab,
    "pascal": _pascal,
    "replace": _replace,
    "split": _split,
    "quote": _quote,
    "e": _escape,
}
_FILTERS: Final = {name: _bounded(work) for name, work in _WORKS.items()}
