"""What people type into a search box, and where it is found."""

import pytest

from agentvine.kit.words import any_word, parse_words, rough_tokens, snippet


def test_words_phrases_and_exclusions_are_told_apart():
    query = parse_words('Retry "lost lease" -draft src/app.py')

    assert query.phrases == (("retry",), ("lost", "lease"), ("src", "app", "py"))
    assert query.without == (("draft",),)
    assert not query.is_any


@pytest.mark.parametrize("text", ["", "   ", "the of and", "- * ( ) ^ :", '""', "-"])
def test_where_nothing_is_to_be_looked_for_the_query_is_empty(text: str):
    assert parse_words(text).is_empty
    assert any_word(text).is_empty


@pytest.mark.parametrize("text", ["a AND OR NOT) NEAR(", "x' OR 1=1 --", "ident:abc*", "é ü 漢字"])
def test_no_word_holds_a_mark_that_a_database_could_take_for_its_own(text: str):
    for phrase in (*parse_words(text).phrases, *any_word(text).phrases):
        assert all(word.isalnum() for word in phrase)


def test_common_words_are_kept_in_quotes_and_passed_over_elsewhere():
    assert parse_words('to be "not to be" here').phrases == (("not", "to", "be"),)


def test_related_texts_are_looked_for_by_their_first_different_words():
    query = any_word("Fix the fix of the parser, then the lexer", limit=2)

    assert (query.phrases, query.is_any) == ((("fix",), ("parser",)), True)


def test_a_snippet_shows_where_most_words_stand_whatever_their_form():
    text = "Nothing here about it. " * 40 + "Leases are renewed by beats. " + "And more. " * 40

    found = snippet(text, parse_words("renewing lease"), width=80)

    assert "**Leases** are **renewed** by beats" in found
    assert found.startswith("…")
    assert found.endswith("…")
    assert len(found) < 120


def test_of_a_very_long_text_the_snippet_is_taken_from_its_beginning():
    text = "filler " * 20_000 + "needle"

    assert snippet(text, parse_words("needle")).startswith("filler filler")


def test_a_snippet_of_a_text_without_the_words_is_its_beginning():
    assert snippet("One two three", parse_words("zebra")) == "One two three"


def test_a_token_is_about_four_bytes():
    assert rough_tokens("x" * 400) == 101
    assert rough_tokens("") == 1
