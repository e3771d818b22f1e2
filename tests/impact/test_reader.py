"""What files say of themselves, read by a program that no file of a stranger's can harm."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from agentvine.git.runner import Git
from agentvine.impact.facts import FileFacts, facts_from_json, facts_to_json, language_of
from agentvine.impact.reader import read_facts
from agentvine.impact.reading import BlobKey, CommitReader
from tests.support.repositories import make_repo

SOURCES = {
    "python": (
        """
__all__ = ['one', 'K']
import a.b
def one():
    from ..c import d
def two(): ...
class K:
    def m(self): ...
    def _n(self): ...
""",
        {("a.b", 0, ()), ("c", 2, ("d",))},
        {"one", "K", "K.m"},
        {"__all__", "two", "K._n"},
    ),
    "javascript": (
        "import a from './a'; export class K { m() {} }\nfunction f() {}\nexport const q = 1",
        {("./a", 0, ())},
        {"K", "m", "q"},
        {"f"},
    ),
    "tsx": (
        """
import {X} from './x'; export interface I { a: string }
type T = number
export function App() { return <div/> }
""",
        {("./x", 0, ())},
        {"I", "App"},
        {"T"},
    ),
    "go": (
        'package p\nimport m "e.com/shop"\nfunc Total() {}\nfunc (s *S) do() {}\ntype S struct{}',
        {("e.com/shop", 0, ())},
        {"Total", "S"},
        {"do"},
    ),
    "rust": (
        "use crate::a::{b, c};\npub fn f() {}\nstruct S;\npub trait T {}",
        {("crate::a", 0, ())},
        {"f", "T"},
        {"S"},
    ),
    "java": (
        "package a;\nimport b.C;\npublic class K { public void m() {} int n() { return 1; } }",
        {("b.C", 0, ())},
        {"K", "m"},
        {"n"},
    ),
}


@pytest.mark.parametrize("language", SOURCES)
def test_imports_and_symbols_of_each_language(language: str):
    source, imports, public, private = SOURCES[language]
    facts = read_facts(language, source.encode())
    assert facts.is_readable
    assert set(facts.imports) == imports
    assert {symbol.name for symbol in facts.symbols if symbol.is_public} == public
    assert {symbol.name for symbol in facts.symbols if not symbol.is_public} == private
    assert facts_from_json(facts_to_json(facts)) == facts


def test_a_language_is_told_by_the_name():
    assert [language_of(path) for path in ("a/b.py", "x.TSX", "sub/go.mod", "README.md")] == [
        "python",
        "tsx",
        "go.mod",
        None,
    ]


class Remembered:
    """A cache that says what was asked and kept."""

    def __init__(self) -> None:
        self.known: dict[BlobKey, FileFacts] = {}
        self.stored: list[int] = []

    async def load(self, keys: Sequence[BlobKey]) -> Mapping[BlobKey, FileFacts]:
        return {key: self.known[key] for key in keys if key in self.known}

    async def store(self, facts: Mapping[BlobKey, FileFacts]) -> None:
        self.stored.append(len(facts))
        self.known.update(facts)


async def test_a_commit_is_read_whatever_is_in_it_and_only_what_is_new_the_next_time(
    tmp_path: Path,
):
    deep = "x = " + "(" * 5000 + ")" * 5000
    repo = make_repo(
        tmp_path / "repository",
        {
            "shop/prices.py": "def total(): ...\n",
            "shop/cart.py": "import shop.prices\n",
            "shop/same.py": "import shop.prices\n",
            "deep.py": deep,
            "broken.py": "def (",
            "binary.py": b"\0\xff\xfe",
            "odd näme\n.ts": "export const a = 1",
            "huge.py": "import shop.prices\n" + "#" * 300_000,
        },
    )
    cache = Remembered()
    reader = CommitReader(Git(), cache)
    found = await reader.read(repo.path, repo.head, also=["shop/gone.py"])

    assert found.graph.importers["shop/prices.py"] == {"shop/cart.py", "shop/same.py"}
    assert [symbol.name for symbol in found.facts["odd näme\n.ts"].symbols] == ["a"]
    assert [path for path, facts in found.facts.items() if not facts.is_readable] == [
        "binary.py",
        "broken.py",
        "deep.py",
    ]
    assert "huge.py" not in found.facts
    assert "huge.py" in found.files
    assert found.notes == ["3 files could not be read as what their names say they are."]

    head = repo.commit({"new.py": "from shop import cart\n"})
    again = await reader.read(repo.path, head)
    assert cache.stored == [7, 1]
    assert again.graph.importers["shop/cart.py"] == {"new.py"}
    assert again.facts["shop/prices.py"] == found.facts["shop/prices.py"]


async def test_reading_stops_when_its_time_is_up_and_says_so(tmp_path: Path):
    repo = make_repo(tmp_path / "repository")
    found = await CommitReader(Git(), max_seconds=-1).read(repo.path, repo.head)
    assert found.facts == {}
    assert "stopped after -1 s with 1 files to go" in found.notes[0]
