"""Which files a request in words will probably change: by names, symbols and text, and imports.

Each word counts the more, the fewer files know it. A file's own name says most about it, then what
it defines, then what it mentions. Files that import a good find, or are imported by it, come in
behind it.
"""

import asyncio
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import splitext

from agentvine.git.runner import Git
from agentvine.git.sources import find_mentions
from agentvine.impact.reach import is_test, reach_of
from agentvine.impact.reading import CommitMap
from agentvine.kit.words import any_word, stem_of
from agentvine.protocol.impact import ForeseenImpact, LikelyFile

_MAX_WORDS = 16
_MAX_FILES = 12
_OF_PATH, _OF_SYMBOL, _OF_TEXT = 3.0, 2.0, 1.0
_NAMED = 50.0
"""For a file, or a name in it, that the request spells out."""
_NEIGHBOUR = 0.2
"""The part of its score that a file gives to those it imports, and that import it."""
_LEAST_SHARE = 0.3
"""Of the best file's score; what is below is noise."""
_LIKELY_SHARE = 0.5
"""Of the best file's score; what is below may well stay as it is."""
_LIGHT = 0.5
"""Tests and prose follow what they are about."""
_LONGER = 5
"""So many letters a word may go on after its stem."""
_PROSE = frozenset({".md", ".rst", ".txt", ".adoc"})
_PASSED_OVER = re.compile(
    r"(^|/)(node_modules|vendor|third_party|dist|build|\.git|__pycache__)/"
    r"|\.min\.(js|css)$|(^|/)[^/]*\.lock$|(^|/)(package-lock\.json|go\.sum|pnpm-lock\.yaml)$"
)
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_SPELT_OUT = re.compile(r"[\w./-]*[\w-]\.\w+|\w*[a-z]_\w+|[a-z]+[A-Z]\w*|[A-Z][a-z]+[A-Z]\w*")
"""A file's name or path, or an identifier that no prose would hold."""


@dataclass(slots=True)
class _Candidate:
    score: float = 0.0
    reasons: dict[str, None] = field(default_factory=dict[str, None])

    def add(self, score: float, reason: str) -> None:
        self.score += score
        self.reasons[reason] = None


async def foresee(git: Git, repository: Path, found: CommitMap, request: str) -> ForeseenImpact:
    """Tell which files a request will probably change, and how far that goes.

    Args:
        git: The git program.
        repository: Where the commit is.
        found: The commit's map.
        request: What somebody wants, in words.

    Raises:
        GitError: Git failed.
    """
    stems = list(dict.fromkeys(stem_of(word) for (word,) in any_word(request, _MAX_WORDS).phrases))
    mentions = await find_mentions(git, repository, found.commit, stems)
    files = await asyncio.to_thread(_likely_files, found, request, stems, mentions)
    notes = list(found.notes)
    if not files:
        notes.append("Nothing in the repository is called, or mentions, what the request does.")
    paths = [file.path for file in files]
    reach = await asyncio.to_thread(reach_of, found, paths)
    return ForeseenImpact(commit=found.commit, files=files, reach=reach, notes=notes)


def likeliest(foreseen: ForeseenImpact) -> list[str]:
    """The files that others had better leave alone while the request is carried out.

    Many of those that are shown as a place to begin stay as they are; these seldom do.
    """
    best = max((file.score for file in foreseen.files), default=0.0)
    return [file.path for file in foreseen.files if file.score >= _LIKELY_SHARE * best]


def _likely_files(
    found: CommitMap, request: str, stems: list[str], mentions: Mapping[str, set[str]]
) -> list[LikelyFile]:
    paths = [path for path in found.files if not _PASSED_OVER.search(path)]
    candidates: dict[str, _Candidate] = defaultdict(_Candidate)
    in_paths = _index((path, [path]) for path in paths)
    in_symbols = _index(
        (path, [symbol.name for symbol in found.facts[path].symbols])
        for path in paths
        if path in found.facts
    )
    for stem in stems:
        named, defining = _matching(in_paths, stem), _matching(in_symbols, stem)
        mentioning = {path for path in paths if stem in mentions.get(path, ())}
        known = named | defining | mentioning
        # A word that every file knows says nothing.
        weight = math.log((len(paths) + 1) / (len(known) + 0.5)) if known else 0.0
        for path in known:
            _score(candidates[path], stem, max(weight, 0.0), path in named, path in defining)
    for spelt in dict.fromkeys(_SPELT_OUT.findall(request)):
        _add_spelt_out(found, paths, candidates, spelt)
    for path, candidate in candidates.items():
        if is_test(path) or splitext(path)[1].lower() in _PROSE:
            candidate.score *= _LIGHT
    _add_neighbours(found, candidates)
    return _best(candidates)


def _score(
    candidate: _Candidate, stem: str, weight: float, is_named: bool, is_defining: bool
) -> None:  # each of the two says one thing about the same word
    if is_named:
        candidate.add(_OF_PATH * weight, f"its name holds '{stem}'")
    if is_defining:
        candidate.add(_OF_SYMBOL * weight, f"it defines '{stem}'")
    if not is_named and not is_defining:
        candidate.add(_OF_TEXT * weight, f"it mentions '{stem}'")


def _add_spelt_out(
    found: CommitMap, paths: list[str], candidates: dict[str, _Candidate], spelt: str
) -> None:
    for path in paths:
        if path == spelt or path.endswith(f"/{spelt}"):
            candidates[path].add(_NAMED, "the request names it")
        elif path in found.facts and any(
            spelt in (symbol.name, symbol.name.rpartition(".")[2])
            for symbol in found.facts[path].symbols
        ):
            candidates[path].add(_NAMED / 2, f"it defines {spelt}, which the request names")


def _add_neighbours(found: CommitMap, candidates: dict[str, _Candidate]) -> None:
    own = {path: candidate.score for path, candidate in candidates.items()}
    for path in sorted(own, key=lambda each: -own[each])[:_MAX_FILES]:
        for other in found.graph.imports.get(path, ()):
            if other in own:
                candidates[other].add(_NEIGHBOUR * own[path], f"{path} imports it")
        for other in found.graph.importers.get(path, ()):
            if other in own:
                candidates[other].add(_NEIGHBOUR * own[path], f"it imports {path}")


def _best(candidates: Mapping[str, _Candidate]) -> list[LikelyFile]:
    ranked = sorted(candidates.items(), key=lambda item: (-item[1].score, item[0]))[:_MAX_FILES]
    least = _LEAST_SHARE * ranked[0][1].score if ranked else 0.0
    return [
        LikelyFile(path=path, score=round(candidate.score, 2), reasons=list(candidate.reasons)[:6])
        for path, candidate in ranked
        if candidate.score > 0 and candidate.score >= least
    ]


def _index(named: Iterable[tuple[str, list[str]]]) -> dict[str, set[str]]:
    """Files by the parts of their names: ``RoundTotal`` and ``round_total`` are the same two."""
    index: dict[str, set[str]] = defaultdict(set)
    for path, names in named:
        for part in {part.lower() for name in names for part in _PART.findall(name)}:
            index[part].add(path)
    return index


def _matching(index: Mapping[str, set[str]], stem: str) -> set[str]:
    found: set[str] = set()
    for part, paths in index.items():
        if part.startswith(stem) and len(part) <= len(stem) + _LONGER:
            found |= paths
    return found
