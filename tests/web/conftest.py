"""One database and one server per file, for tests that make their own rows."""

from tests.support.per_file import (
    crew_database,
    pytest_generate_tests,
    shared_api,
    shared_database,
    shared_settings,
)

__all__ = [
    "crew_database",
    "pytest_generate_tests",
    "shared_api",
    "shared_database",
    "shared_settings",
]
