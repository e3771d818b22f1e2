import base64
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.worker.redact import Redactor

SECRET = "avw_9f+/secret token?=~"


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_masked_in_its_common_forms(form: str):
    cleaned = Redactor([SECRET]).clean(f"before {form} after")
    assert cleaned.startswith("before [redacted]")
    assert cleaned.endswith(" after")
    assert form not in cleaned


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_secret_inside_something_encoded_is_masked(before: bytes, after: bytes):
    encoded = base64.b64encode(before + SECRET.encode() + after).decode()
    assert "[redacted]" in Redactor([SECRET]).clean(encoded)


def test_short_or_missing_secrets_mask_nothing():
    assert Redactor([]).clean("text") == "text"
    assert Redactor(["", "ab"]).clean("ab text") == "ab text"
