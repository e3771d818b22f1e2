import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentvine.git.errors import CommitIdInvalid, RefNameInvalid, RepositoryUrlInvalid
from agentvine.git.names import (
    check_branch_name,
    check_commit_id,
    check_ref_name,
    parse_source,
    rescue_ref,
    without_credentials,
)
from tests.support.repositories import ENVIRONMENT


def git_allows(name: str) -> bool:
    argv = ["git", "check-ref-format", name]
    return subprocess.run(argv, env=ENVIRONMENT, check=False).returncode == 0


@pytest.mark.parametrize(
    "name", ["main", "agentvine/T-1", "feature/ünï", "a.b", "v1.0", "x@y", "release-2", "a/b/c"]
)
def test_usual_branch_names_are_allowed(name: str) -> None:
    assert check_branch_name(name) == name
    assert git_allows(f"refs/heads/{name}")


@pytest.mark.parametrize(
    "name",
    [
        *("", "-x", "--upload-pack=x", "a..b", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b"),
        *("/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "a.", "a@{1}", "HEAD", "a\nb"),
        *("a\0b", "a\x7f", "x" * 300, "\ud800"),
    ],
)
def test_names_that_git_refuses_or_takes_for_something_else_are_refused(name: str) -> None:
    with pytest.raises(RefNameInvalid):
        check_branch_name(name)


@pytest.mark.parametrize("name", ["HEAD", "main", "heads/main", "../refs/x", "-refs/x", "refs/"])
def test_a_reference_is_named_in_full(name: str) -> None:
    with pytest.raises(RefNameInvalid):
        check_ref_name(name)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text("ab/.@{~^:?*[\\ \x7f\n-é lock", min_size=1, max_size=12))
@example("@")
@example("a.lock")
@example("a/.")
@example("a/..")
@example("{")
def test_the_rules_are_those_of_git(name: str) -> None:
    full = f"refs/heads/{name}"
    try:
        check_ref_name(full)
        is_allowed = True
    except RefNameInvalid:
        is_allowed = False
    assert is_allowed == git_allows(full)


def test_a_rescue_ref_is_made_of_a_checked_id() -> None:
    assert rescue_ref("0192-ab") == "refs/agentvine/rescue/0192-ab"
    with pytest.raises(RefNameInvalid):
        rescue_ref("../heads/main")


@pytest.mark.parametrize("commit", ["a" * 40, "0" * 64])
def test_full_commit_ids_are_allowed(commit: str) -> None:
    assert check_commit_id(commit) == commit


@pytest.mark.parametrize("commit", ["", "HEAD", "a" * 39, "A" * 40, "--all", f"{'a' * 40}\n"])
def test_anything_but_a_full_commit_id_is_refused(commit: str) -> None:
    with pytest.raises(CommitIdInvalid):
        check_commit_id(commit)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/team/project.git",
        "https://user:secret@example.org:8443/p",
        "ssh://git@example.org:22/p.git",
        "ssh://git@[::1]:22/p.git",
        "git@example.org:team/project.git",
        "example.org:project",
    ],
)
def test_usual_addresses_are_taken_as_they_are(url: str) -> None:
    parsed = parse_source(url)
    assert (parsed.address, parsed.path) == (url, None)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/srv/git/p.git", "/srv/git/p.git"),
        ("file:///srv/a%20b", "/srv/a b"),
        ("file://localhost/srv/p", "/srv/p"),
        ("/srv/odd:name::x", "/srv/odd:name::x"),
    ],
)
def test_folders_are_recognised(text: str, path: str) -> None:
    assert parse_source(text).path == Path(path)
    assert parse_source(Path(path)).path == Path(path)


def test_a_relative_folder_is_made_absolute() -> None:
    assert parse_source("some/folder").path == Path.cwd() / "some/folder"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "-oProxyCommand=touch x",
        "--upload-pack=touch x",
        "ext::sh -c 'touch x'",
        "fd::17",
        "http://example.org/p.git",
        "git://example.org/p.git",
        "ftp://example.org/p.git",
        "ssh://-oProxyCommand=x/p",
        "ssh://-user@host/p",
        "ssh://git@-host/p",
        "host:-path",
        "git@-host:path",
        "git@host:a b",
        "https:///p.git",
        "https://example.org",
        "https://example.org/a b",
        "https://example.org:port/p",
        "https://[::1/p",
        "file://server/share",
        "a\nb",
        "a\0b",
    ],
)
def test_addresses_that_could_run_something_or_make_no_sense_are_refused(url: str) -> None:
    with pytest.raises(RepositoryUrlInvalid):
        parse_source(url)


def test_a_refusal_shows_no_password() -> None:
    with pytest.raises(RepositoryUrlInvalid) as refusal:
        parse_source("ftp://me:s3cret@example.org/p")
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("fatal: https://u:p@h/x: no", "fatal: https://***@h/x: no"),
        ("ssh://u:p@ss@h/x https://t@h", "ssh://***@h/x https://***@h"),
        ("https://h/x@y", "https://h/x@y"),
        ("git@h:p", "git@h:p"),
    ],
)
def test_credentials_are_taken_out_of_any_text(text: str, clean: str) -> None:
    assert without_credentials(text) == clean
