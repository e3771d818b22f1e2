"""A terminal for a reader, who leaves nothing running."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Sandbox
from tests.support.documents import Terminal


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in the repository's folder, with a home and a data directory of its own."""
    opened = Terminal(Sandbox(tmp_path / "reader"))
    yield opened
    opened.close()
    assert opened.sandbox.processes() == []
