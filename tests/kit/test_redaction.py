import base64
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.kit.redaction import KEY_MASK, Redactor, clean_value, mask_lines, mask_shapes

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


# Put together here, so that nobody who looks for secrets in this repository finds one.
BODY = "0123456789abcdefghij0123456789ABCDEFGHIJ0123"
TOKENS = [
    f"avw_abcdefgh_{BODY}",
    f"ave_abcdefgh_{BODY}",
    f"av_llm_abcdefghijkl_{BODY}",
    "sk-" + f"ant-api03-{BODY}",
    "sk-" + f"proj-{BODY}",
    "ghp" + f"_{BODY[:36]}",
    "github" + f"_pat_{BODY}",
    "glpat" + f"-{BODY[:20]}",
    "AKIA" + "0123456789ABCDEF",
    "AIza" + BODY[:35],
    "xoxb" + f"-{BODY}",
    "sk" + f"_live_{BODY}",
    "hf" + f"_{BODY}",
    "SG." + f"{BODY[:22]}.{BODY[:43]}",
    "123456789" + f":AA{BODY[:33]}",
    "eyJ" + f"hbGciOiJI.eyJ{BODY}.{BODY}",
]


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("around", ["{}", "key={} ", '"{}"', "a\\n{}", "({})", "x:{}, y"])
def test_what_looks_like_a_token_is_masked_whole(token: str, around: str):
    assert mask_shapes(around.format(token)) == around.format("[redacted]")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("git clone https://me:pa55-word@host/x.git", "git clone https://me:[redacted]@host/x.git"),
        ("postgresql://u:p@db/x and y@z", "postgresql://u:[redacted]@db/x and y@z"),
        ("> Authorization: Bearer abcdefgh12", "> Authorization: Bearer [redacted]"),
        ("authorization: Basic dXNlcjpwYXNz==", "authorization: Basic [redacted]"),
        ('{"Authorization": "token abcdefgh1"}', '{"Authorization": "token [redacted]"}'),
        ("x-api-key: 0123456789", "x-api-key: [redacted]"),
        ("SOME_API_KEY=0123456789 next", "SOME_API_KEY=[redacted] next"),
        ("export DB_PASSWORD='correct-horse battery'", "export DB_PASSWORD='[redacted] battery'"),
        (
            f"https://api.telegram.org/bot123456789:AA{BODY[:33]}/sendMessage",
            "https://api.telegram.org/bot[redacted]/sendMessage",
        ),
        (f"sent Bearer {BODY}", "sent Bearer [redacted]"),
    ],
)
def test_what_stands_around_a_secret_stays(text: str, masked: str):
    assert mask_shapes(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "avg_response_time_of_all_requests_in_the_last_minute is 3",
        "class sk-fading-circle-container and task-force-with-a-long-name-1",
        "see https://host:8420/a@b and ssh://git@host/x",
        "MAX_TOKENS=100000000, API_KEY=$SECRET_FROM_ELSEWHERE, TOKEN: ok",
        "the Authorization header is missing",
        "at 10:AA and 123456:AAA, 1234567:AA" + BODY,
        "commit 0123456789abcdef0123456789abcdef01234567",
        "eyJ.eyJ",
    ],
)
def test_ordinary_output_stays(text: str):
    assert mask_shapes(text) == text


KEY = [
    "-----BEGIN RSA " + "PRIVATE KEY-----",
    "Proc-Type: 4,ENCRYPTED",
    "",
    BODY + BODY[:20],
    "+" + BODY + BODY[:19],
    "AbC=",
    "-----END RSA " + "PRIVATE KEY-----",
]
MASKED_KEY = [KEY[0] + KEY_MASK, *[KEY_MASK] * 5, KEY_MASK + KEY[-1]]


@given(st.integers(0, len(KEY) + 2))
def test_a_private_key_is_masked_wherever_its_lines_are_parted(border: int):
    text = ["before", *KEY, "after"]
    first = mask_lines(text[:border], after=None)
    second = mask_lines(text[border:], after=first[-1] if first else None)
    assert [*first, *second] == ["before", *MASKED_KEY, "after"]
    assert mask_shapes("\n".join(text)).split("\n") == ["before", *MASKED_KEY, "after"]


def test_a_private_key_in_one_line_is_masked_and_what_follows_is_shown():
    assert mask_shapes("x=" + "\\n".join(KEY) + " y") == f"x={KEY[0]}{KEY_MASK}{KEY[-1]} y"


def test_after_a_private_key_that_was_cut_off_the_output_goes_on():
    cut = [*KEY[:4], "3 files were read", BODY]
    assert mask_lines(cut, after=None)[4:] == ["3 files were read", BODY]


def test_a_cleaned_value_keeps_its_form():
    value = {"a": [TOKENS[0], 1, None], "b": {"c": f"x {TOKENS[0]}"}}
    assert clean_value(value) == {"a": ["[redacted]", 1, None], "b": {"c": "x [redacted]"}}


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "eyJ-",
            "eyJaaaaaaaaa.",
            ".eyJ",
            "sk-",
            "sk-a",
            "://",
            "://a:",
            "://a:@",
            "KEY_",
            "_A_TOKEN",
        ),
        *("Authorization:", "Bearer ", "avw_", "avw_abcdefgh_", "ghp_", "SG.", "\\nSECRET", "AKIA"),
        KEY[0],
        KEY[-1],
        KEY[0] + "+n",
        KEY[0] + "\n+n\\",
        KEY[0] + "\n1 ",
    ],
)
def test_no_text_takes_much_longer_than_its_length(piece: str):
    """Ten times the length in less than a hundred times the time; a square would take that."""

    def seconds(length: int) -> float:
        text = ".eyJ@ KEY sk- " + piece * (length // len(piece)) + "~"
        best = 9.0
        for _ in range(3):
            began = time.thread_time()
            mask_shapes(text)
            best = min(best, time.thread_time() - began)
        return best

    assert seconds(40_000) < 40 * seconds(4_000) + 0.02
