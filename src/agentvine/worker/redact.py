"""Keeps the worker's own secret out of everything a run says."""

import base64
import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "[redacted]"
_MIN_LENGTH = 8
"""Shorter values would blank out ordinary words."""


class Redactor:
    """Replaces known secrets, also in the common disguises (base64, hexadecimal, URL)."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Know these secrets."""
        forms = {form for secret in secrets for form in _forms(secret) if len(form) >= _MIN_LENGTH}
        # The longest first: one form may hold another.
        ordered = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def clean(self, text: str) -> str:
        """The text without the secrets."""
        return self._pattern.sub(MASK, text) if self._pattern else text


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
