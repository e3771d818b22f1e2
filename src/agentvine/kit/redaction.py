"""Keeps secrets out of what is kept and shown: those that one knows, and what looks like one.

Worker and server share it. The worker knows its own secrets; both know the shapes of tokens, keys,
passwords in addresses and private keys. Whatever a hostile program prints, the time it takes grows
with the length of the text and no faster.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

MASK = "[redacted]"
KEY_MASK = "[redacted private key]"
"""Stands for each line of a private key; whoever reads on after one is still inside it."""
_MIN_LENGTH = 8
"""Shorter values would blank out ordinary words."""

# At the beginning of a word, or after a line break that is written as \n.
_BEGIN = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
# The same where a failed search may be long: there is one in each stretch of such letters.
_BEGIN_ALL = r"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrt]))"
_SHAPES = {
    # What is kept of the text stands in the group; all the rest is masked.
    r"(?P<address>://[^\s/:@]{0,256}:)[^\s/@]{1,512}(?=@)": ("@",),
    r"""(?P<header>(?i:authorization|x-api-key|api-key|x-goog-api-key)["']?\s{0,3}[:=]\s{0,3}["']?"""
    r"(?:(?i:basic|bearer|digest|token|apikey)\s{1,3})?)(?![$<{\[])[^\s\"',]{8,}": (
        "uthorization",
        "UTHORIZATION",
        "api-key",
        "Api-Key",
        "API-KEY",
    ),
    _BEGIN + r"(?P<bearer>[Bb]earer\s{1,3})[A-Za-z0-9._~+/=-]{20,}": ("earer ",),
    _BEGIN_ALL
    + r"(?P<variable>[A-Z0-9_]{0,80}(?:API_?KEY|ACCESS_KEY|SECRET_KEY|TOKEN|SECRET|PASSWORD|"
    r"""PASSWD)["']?\s?[=:]\s?["']?)(?![$<{\[])[^\s"',;`]{8,}""": (
        "KEY",
        "TOKEN",
        "SECRET",
        "PASSW",
    ),
    # A capital or a digit tells it from a name like avg_response_time, a key from a style's name.
    _BEGIN + r"av[uwge]_[A-Za-z0-9]{8}_(?=[a-z_-]{0,40}[A-Z0-9])[A-Za-z0-9_-]{20,}": (
        "avu_",
        "avw_",
        "avg_",
        "ave_",
    ),
    # The key of a run, for language models.
    _BEGIN + r"av_[a-z]{3,8}_[A-Za-z0-9_-]{40,}": ("av_",),
    _BEGIN + r"sk-(?=[A-Za-z0-9_-]{0,40}[0-9])[A-Za-z0-9_-]{20,}": ("sk-",),
    _BEGIN + r"gh[pousr]_[A-Za-z0-9]{30,}": ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    _BEGIN + r"github_pat_[A-Za-z0-9_]{22,}": ("github_pat_",),
    _BEGIN + r"gl(?:pat|rt|dt)-[A-Za-z0-9_.-]{20,}": ("glpat-", "glrt-", "gldt-"),
    _BEGIN + r"(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])": ("AKIA", "ASIA"),
    _BEGIN + r"AIza[A-Za-z0-9_-]{35}": ("AIza",),
    _BEGIN + r"xox[abeprs]-[A-Za-z0-9-]{10,}": ("xox",),
    r"(?P<hook>hooks\.slack\.com/services/)[A-Za-z0-9/]{20,}": ("hooks.slack",),
    _BEGIN + r"[rs]k_(?:live|test)_[A-Za-z0-9]{16,}": ("k_live_", "k_test_"),
    _BEGIN + r"(?:hf|npm|gsk|r8)_[A-Za-z0-9]{30,}": ("hf_", "npm_", "gsk_", "r8_"),
    _BEGIN + r"(?:pypi|xai)-[A-Za-z0-9_-]{40,}": ("pypi-", "xai-"),
    _BEGIN + r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}": ("SG.",),
    # A Telegram bot's, which stands in the addresses that its library calls.
    r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt])|(?<=/bot))"
    r"[0-9]{6,12}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])": (":AA",),
    _BEGIN_ALL + r"eyJ[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}": (".eyJ",),
}
_Shapes = Sequence[tuple[tuple[str, ...], re.Pattern[str]]]
_COMPILED: _Shapes = [(hints, re.compile(shape)) for shape, hints in _SHAPES.items()]
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_HINT = "PRIVATE KEY"
_KEY_LINE = re.compile(
    r"[\s\"'+|>,\\]*+(?:\d{1,6}[\s:|]{1,3})?+"
    r"(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash): .*|[A-Za-z0-9+/]*+={0,2})[\s\"',;+\\nr]*+"
)


class Redactor:
    """Replaces known secrets, also in the common disguises (base64, hexadecimal, URL)."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Know these secrets."""
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= _MIN_LENGTH}
        # The longest first: one form may hold another.
        ordered = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def clean(self, text: str) -> str:
        """The text without the secrets, and without what looks like one."""
        return mask_shapes(self._without_known(text))

    def clean_line(self, text: str, *, after: str | None) -> str:
        """The same for what follows other lines of a stream; see ``mask_lines``."""
        return "\n".join(mask_lines(self._without_known(text).split("\n"), after=after))

    def _without_known(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text


def mask_shapes(text: str) -> str:
    """A text without what looks like a secret; it may have many lines."""
    return "\n".join(mask_lines(text.split("\n"), after=None))


def mask_lines(lines: Sequence[str], *, after: str | None) -> list[str]:
    """Lines without what looks like a secret.

    Args:
        lines: In their order.
        after: The masked line before the first: it tells whether they begin in a private key.
    """
    is_inside = after is not None and after.endswith(KEY_MASK)
    # Nearly all text holds none of the words that go with a secret: that is found out at once.
    whole = "\n".join(lines)
    shapes = [shape for shape in _COMPILED if any(hint in whole for hint in shape[0])]
    if not shapes and not is_inside and _KEY_HINT not in whole:
        return list(lines)
    masked: list[str] = []
    for line in lines:
        text = line
        if is_inside or _KEY_HINT in text:
            text, is_inside = _without_key(text, is_inside=is_inside)
        for hints, pattern in shapes:
            if any(hint in text for hint in hints):
                text = pattern.sub(_masked, text)
        masked.append(text)
    return masked


def clean_value(value: Any, clean: Callable[[str], str] = mask_shapes) -> Any:
    """A JSON value with each of its texts cleaned; names stay as they are."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {name: clean_value(item, clean) for name, item in items}
    if isinstance(value, list):
        return [clean_value(item, clean) for item in cast("list[Any]", value)]
    return value


def _masked(found: re.Match[str]) -> str:
    return (found[found.lastgroup] if found.lastgroup else "") + MASK


def _without_key(line: str, *, is_inside: bool) -> tuple[str, bool]:
    """A line without the parts of private keys in it, and whether it ends inside of one."""
    if is_inside and _KEY_HINT not in line:
        # Anything else means that the key was cut off, or only spoken of.
        return (KEY_MASK, True) if _KEY_LINE.fullmatch(line) else (line, False)
    parts: list[str] = []
    at = 0
    while True:
        if is_inside:
            end = _KEY_ENDS.search(line, at)
            parts.append(KEY_MASK)
            if end is None:
                return "".join(parts), True
            at = end.start()
        begin = _KEY_BEGINS.search(line, at)
        if begin is None:
            return "".join([*parts, line[at:]]), False
        parts.append(line[at : begin.end()])
        at, is_inside = begin.end(), True


def _forms(secret: str) -> set[str]:
    data = secret.encode()
    forms = {secret, quote(secret, safe=""), data.hex(), data.hex().upper()}
    for shift in range(3):
        # Base64 looks different at each of three offsets; the first and last characters depend on
        # the neighbours, so only the middle is recognisable.
        encoded = base64.b64encode(b"\0" * shift + data).decode()
        middle = encoded[(shift * 8 + 5) // 6 :].rstrip("=")
        if len(data) + shift > 3:
            middle = middle[:-1]
        forms |= {middle, middle.translate(str.maketrans("+/", "-_"))}
    return forms
