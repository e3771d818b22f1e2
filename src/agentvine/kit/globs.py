"""Whether two sets of path patterns may name the same file. Pure: texts in, texts out.

A pattern is a path: ``src/app.py`` names the file, ``src`` what is in the folder. ``?`` stands for
one character of a name, ``*`` for any within it, and ``**`` for any number of folders, or for all
that is below. All other characters mean themselves.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

ANYTHING = "**"
_WILD = frozenset("*?")


def is_wild(pattern: str) -> bool:
    """Whether a pattern may name more than one path and what is below it."""
    return not _WILD.isdisjoint(pattern)


def find_common(ours: Iterable[str], theirs: Iterable[str]) -> list[str]:
    """Where two sets of patterns meet, sorted: of each two that do, the narrower one."""
    our_plain, our_wild = _parted(ours)
    their_plain, their_wild = _parted(theirs)
    found = {path for path in our_plain if not their_plain.isdisjoint(_places_above(path))}
    found |= {path for path in their_plain if not our_plain.isdisjoint(_places_above(path))}
    found |= {path for path in their_plain for wild in our_wild if may_meet(path, wild)}
    found |= {path for path in our_plain for wild in their_wild if may_meet(path, wild)}
    for one in our_wild:
        found |= {max(one, other, key=len) for other in their_wild if may_meet(one, other)}
    return sorted(found)


def may_meet(one: str, other: str) -> bool:
    """Whether some path is named by both patterns."""
    if not is_wild(one):
        one, other = other, one
    if not is_wild(one):
        return one in _places_above(other) or other in _places_above(one)
    # A path without wildcards may be a folder: of all that the other one looks for below it.
    if not is_wild(other) and other in _places_above(_base_of(one)):
        return True
    return _fit_together(one.split("/"), other.split("/"))


def _base_of(pattern: str) -> str:
    """The folder in which all is that a pattern names; empty for the topmost."""
    names = pattern.split("/")
    return "/".join(itertools.takewhile(lambda name: not is_wild(name), names))


def _fit_together(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    seen: set[tuple[int, int]] = set()
    to_see = [(0, 0)]
    while to_see:
        step = to_see.pop()
        if step in seen:
            continue
        seen.add(step)
        mine, its = ours[step[0] :][:1], theirs[step[1] :][:1]
        if not mine and not its:
            return True
        # ``**`` stands for no folder, or for the other's next one.
        if [ANYTHING] in (mine, its):
            to_see += [(step[0] + 1, step[1])] if mine else []
            to_see += [(step[0], step[1] + 1)] if its else []
        elif mine and its and _names_may_meet(mine[0], its[0]):
            to_see.append((step[0] + 1, step[1] + 1))
    return False


@lru_cache(maxsize=4096)
def _names_may_meet(one: str, other: str) -> bool:
    if not (is_wild(one) or is_wild(other)):
        return one == other
    # Which positions of ``other`` may be reached with each further character of ``one``.
    reached = _past_stars(other, {0})
    for character in one:
        if character == "*":
            reached = set(range(min(reached), len(other) + 1)) if reached else reached
            continue
        moved = {
            at if other[at] == "*" else at + 1
            for at in reached
            if at < len(other) and (character == "?" or other[at] in {"*", "?", character})
        }
        reached = _past_stars(other, moved)
    return len(other) in reached


def _past_stars(pattern: str, reached: set[int]) -> set[int]:
    further = set(reached)
    for at in reached:
        place = at
        while place < len(pattern) and pattern[place] == "*":
            place += 1
            further.add(place)
    return further


def condense(paths: Iterable[str], *, count: int, length: int) -> list[str]:
    """Patterns for all of these paths: folders in place of their files, where they are too many.

    Args:
        paths: Paths of files.
        count: How many patterns there may be.
        length: How long each may be.
    """
    found = {_shortened(path, length) for path in paths}
    while len(found) > count:
        depth = max(path.count("/") for path in found)
        if depth == 0:
            return [ANYTHING]
        found = {path.rpartition("/")[0] if path.count("/") == depth else path for path in found}
    return sorted(found)


def _shortened(path: str, length: int) -> str:
    while len(path) > length:
        path = path.rpartition("/")[0]
    return path or ANYTHING


def _parted(patterns: Iterable[str]) -> tuple[set[str], Sequence[str]]:
    whole = set(patterns)
    wild = sorted(pattern for pattern in whole if is_wild(pattern))
    return whole.difference(wild), wild


def _places_above(path: str) -> Iterator[str]:
    """The path itself and each folder it lies in."""
    yield path
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
