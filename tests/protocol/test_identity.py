import pytest
from pydantic import SecretStr, ValidationError

from agentvine.protocol.enums import UserRole
from agentvine.protocol.identity import (
    LoginIn,
    TokenCreateIn,
    UserCreateIn,
    UserEditIn,
    UserOut,
)


def test_user_is_another_word_for_developer():
    for role in ("user", "developer"):
        wanted = UserCreateIn.model_validate({"username": "a", "email": "a@b", "role": role})
        assert wanted.role is UserRole.DEVELOPER
        assert UserEditIn.model_validate({"role": role}).role is UserRole.DEVELOPER


def test_names_and_addresses_are_read_in_small_letters():
    wanted = UserCreateIn(username=" Anna.B ", email="ÄNNE@Example.ORG")
    assert (wanted.username, wanted.email) == ("anna.b", "änne@example.org")
    assert UserEditIn(email="A@B").email == "a@b"


def test_a_password_is_not_shown_by_whoever_prints_the_message():
    login = LoginIn(username="a", password=SecretStr("hunter2"))
    assert "hunter2" not in repr(login) + str(login) + login.model_dump_json()


def test_no_answer_about_a_user_has_room_for_a_secret():
    assert not {"password", "password_hash", "totp_secret"} & set(UserOut.model_fields)


def test_a_workers_token_has_no_scopes():
    with pytest.raises(ValidationError, match="may only do work"):
        TokenCreateIn(name="w", kind="worker", scopes=["tasks:read"])
