"""What people type into a search box, as words to look for, and the place where they are found.

Both databases are asked for the same: single words in whatever form (``test`` finds ``testing``),
phrases in quotes, and words that must not occur (``-draft``). A word with marks inside, like a path
or ``uv-lock``, is a phrase of its parts, since that is how it is stored.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

Phrase = tuple[str, ...]
"""Words that follow each other; most often only one."""

MAX_PHRASES = 32
_LOOKED_AT = 100_000
"""So many characters of a text are looked at for its snippet."""
_WORD = re.compile(r"[^\W_]+")
_ITEM = re.compile(r'(-?)(?:"([^"]*)"|(\S+))')
_ENDINGS = ("ingly", "edly", "ing", "ies", "ied", "ers", "ed", "es", "er", "ly", "s", "e", "y")
_SHORTEST_STEM = 3
# The words that PostgreSQL's English dictionary passes over.
_COMMON = """
i me my myself we our ours ourselves you your yours yourself yourselves he him his himself
she her hers herself it its itself they them their theirs themselves what which who whom
this that these those am is are was were be been being have has had having do does did
doing a an the and but if or because as until while of at by for with about against
between into through during before after above below to from up down in out on off over
under again further then once here there when where why how all any both each few more
most other some such no nor not only own same so than too very s t can will just don
should now
"""
_PASSED_OVER = frozenset(re.findall(r"\w+", _COMMON))


@dataclass(frozen=True, slots=True)
class WordQuery:
    """What is looked for: all of these or any of them, and none of those."""

    phrases: tuple[Phrase, ...]
    without: tuple[Phrase, ...] = ()
    is_any: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to look for: no word, or only such as stand everywhere."""
        return not self.phrases


def parse_words(text: str) -> WordQuery:
    """All words and phrases of a search box must occur, and those after a minus must not."""
    wanted: dict[Phrase, None] = {}
    unwanted: dict[Phrase, None] = {}
    for minus, quoted, plain in _ITEM.findall(text):
        phrase = tuple(_words_of(quoted or plain))
        if phrase and (quoted or not _is_passed_over(phrase)):
            (unwanted if minus else wanted)[phrase] = None
    return WordQuery(tuple(wanted)[:MAX_PHRASES], tuple(unwanted)[:MAX_PHRASES])


def any_word(text: str, limit: int = MAX_PHRASES) -> WordQuery:
    """Any of the first words of a text: for what is related to it."""
    words = (word for word in _words_of(text) if len(word) > 1)
    kept = dict.fromkeys((word,) for word in words if not _is_passed_over((word,)))
    return WordQuery(tuple(kept)[:limit], is_any=True)


def snippet(text: str, query: WordQuery, *, width: int = 200) -> str:
    """The part of a text in which most of the words stand, each of them between ``**``."""
    pattern = _pattern(query)
    flat = " ".join(text[:_LOOKED_AT].split())
    if pattern is None:
        return _cut(flat, 0, width)
    starts = [match.start() for match in pattern.finditer(flat)]
    best, most = 0, 0
    for number, start in enumerate(starts):
        inside = sum(1 for other in starts[number : number + MAX_PHRASES] if other < start + width)
        if inside > most:
            best, most = start, inside
    return pattern.sub(r"**\g<0>**", _cut(flat, max(0, best - width // 4), width))


def stem_of(word: str) -> str:
    """The part that a word in small letters has in common with its other forms, roughly."""
    ending = next((each for each in _ENDINGS if word.endswith(each)), "")
    stem = word.removesuffix(ending)
    return stem if len(stem) >= _SHORTEST_STEM else word


def _cut(text: str, start: int, width: int) -> str:
    """So many characters from somewhere, at the borders of words."""
    if start:
        start = text.find(" ", start) + 1 or start
    end = start + width
    if end < len(text):
        end = max(text.rfind(" ", start, end), start + width // 2)
    before, after = ("…" if start else ""), ("…" if end < len(text) else "")
    return f"{before}{text[start:end].strip()}{after}"


def _pattern(query: WordQuery) -> re.Pattern[str] | None:
    """Finds the words in other forms, too; a little generous, as it only marks."""
    stems = sorted(set(_stems(query.phrases)), key=len, reverse=True)
    if not stems:
        return None
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(stems)})[^\W_]{{0,5}}(?![^\W_])", re.IGNORECASE)


def _stems(phrases: Iterable[Phrase]) -> Iterable[str]:
    return (stem_of(word) for phrase in phrases for word in phrase)


def _words_of(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _is_passed_over(phrase: Phrase) -> bool:
    return all(word in _PASSED_OVER for word in phrase)


def rough_tokens(text: str) -> int:
    """About as many tokens as a model reads in a text, whichever model it is."""
    return len(text.encode()) // 4 + 1
