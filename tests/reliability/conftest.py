"""Fixtures of the simulated world."""

from pathlib import Path

import pytest

from tests.reliability.simulator.ground import Prepared, prepare


@pytest.fixture(scope="session")
def prepared(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The database that every simulated world begins with."""
    return prepare(sqlite_template, tmp_path_factory.mktemp("simulation") / "prepared.db")
