from collections.abc import Generator
from pathlib import Path

import pytest

from agentvine.git.runner import Git
from tests.support.repositories import Repo, make_repo


@pytest.fixture
def git() -> Git:
    return Git(timeout_seconds=30, network_timeout_seconds=30)


@pytest.fixture
def source(tmp_path: Path) -> Repo:
    """A repository as a user would register it."""
    return make_repo(tmp_path / "source")


@pytest.fixture
def canary(tmp_path: Path) -> Generator[Path]:
    """A program that leaves a trace when anybody runs it, checked after the test."""
    trace = tmp_path / "ran"
    program = tmp_path / "canary"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >> {trace}\ncat\nexit 0\n')
    program.chmod(0o755)
    yield program
    assert not trace.exists(), f"code of the repository ran: {trace.read_text()}"
