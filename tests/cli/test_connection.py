"""Which server is asked, and with which token."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from agentvine.cli.connection import (
    Credentials,
    Login,
    NoServer,
    find_connection,
    read_credentials,
    write_credentials,
)
from agentvine.cli.options import GlobalOptions
from agentvine.config.local_server import announce_local_server, find_local_server
from agentvine.config.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "AGENTVINE_SERVER_URL", "AGENTVINE_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def settings(tmp_path: Path, **more: Any) -> Settings:
    return load_settings(data_dir=tmp_path / "data", **more)


def sign_in(url: str, token: str) -> None:
    write_credentials(Credentials(current=url, servers={url: Login(token=token, username="ada")}))


def test_without_any_server_it_says_how_to_start_one(tmp_path: Path):
    with pytest.raises(NoServer, match="agentvine up"):
        find_connection(settings(tmp_path), GlobalOptions())


def test_what_is_said_wins_over_the_environment_and_that_over_the_rest(tmp_path: Path):
    announce_local_server(tmp_path / "data", url="http://local:1", token="t-local")
    assert find_connection(settings(tmp_path), GlobalOptions()).url == "http://local:1"

    sign_in("http://login:1", "t-login")
    found = find_connection(settings(tmp_path), GlobalOptions())
    assert (found.url, found.token, found.origin) == ("http://login:1", "t-login", "login")

    given = settings(tmp_path, server_url="http://env:1", token="t-env")
    found = find_connection(given, GlobalOptions())
    assert (found.url, found.token, found.origin) == ("http://env:1", "t-env", "environment")

    found = find_connection(given, GlobalOptions(server="http://said:1/", token="t-said"))
    assert (found.url, found.token, found.origin) == ("http://said:1", "t-said", "option")


def test_a_server_named_without_a_token_gets_the_one_known_for_it(tmp_path: Path):
    announce_local_server(tmp_path / "data", url="http://local:1", token="t-local")
    sign_in("http://login:1", "t-login")
    options = GlobalOptions(server="http://local:1")

    assert find_connection(settings(tmp_path), options).token == "t-local"
    assert find_connection(settings(tmp_path), GlobalOptions(server="http://x:1")).token == ""


def test_the_server_of_a_dead_process_is_no_server(tmp_path: Path):
    announce_local_server(tmp_path / "data", url="http://local:1", token="t-local")
    path = tmp_path / "data" / "server.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "started": "another"}))

    assert find_local_server(tmp_path / "data") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 1}'])
def test_a_damaged_file_is_no_server_and_no_sign_in(tmp_path: Path, text: str):
    sign_in("http://login:1", "t-login")
    for path in (tmp_path / "data" / "server.json", *tmp_path.rglob("credentials.json")):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    assert find_local_server(tmp_path / "data") is None
    assert read_credentials() == Credentials()


def test_only_its_owner_can_read_what_holds_a_token(tmp_path: Path):
    old = os.umask(0)
    try:
        sign_in("http://login:1", "t-login")
        announce_local_server(tmp_path / "data", url="http://local:1", token="t-local")
    finally:
        os.umask(old)

    held = [*tmp_path.rglob("credentials.json"), tmp_path / "data" / "server.json"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in held] == [0o600, 0o600]
