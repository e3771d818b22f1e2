"""What a request in words is foreseen to change, how far that goes, and how risky it is."""

from pathlib import Path

import pytest

from agentvine.git.runner import Git
from agentvine.impact.foresight import foresee, likeliest
from agentvine.impact.reach import is_migration, is_test
from agentvine.impact.reading import CommitReader
from agentvine.protocol.impact import ForeseenImpact, RiskLevel
from tests.support.repositories import make_repo

SHOP = {
    "src/shop/__init__.py": "",
    "src/shop/invoices.py": (
        "from shop.money import round_half_up\n\n\ndef invoice_total(lines):\n"
        "    return round_half_up(sum(lines))\n\n\ndef _hidden(): ...\n"
    ),
    "src/shop/money.py": "def round_half_up(amount):\n    return amount\n",
    "src/shop/mailing.py": "from shop import invoices\n\n\ndef send(): ...\n",
    "src/shop/api.py": "from shop.mailing import send\n",
    "src/shop/weather.py": "def sunny(): ...\n",
    "src/shop/auth/login.py": "def sign_in(): ...\n",
    "tests/test_invoices.py": "from shop.invoices import invoice_total\n",
    "migrations/0001_invoices.sql": "CREATE TABLE invoice (id int);\n",
    "docs/invoices.md": "How invoices are rounded.\n",
    "web/node_modules/invoice/index.js": "module.exports = 1\n",
}


async def foreseen(tmp_path: Path, request: str) -> ForeseenImpact:
    repo = make_repo(tmp_path / "repository", SHOP)
    git = Git()
    found = await CommitReader(git).read(repo.path, repo.head)
    return await foresee(git, repo.path, found, request)


async def test_the_files_that_a_request_is_about_come_first_with_their_reasons(tmp_path: Path):
    found = await foreseen(tmp_path, "Round the totals of invoices half up")
    paths = [file.path for file in found.files]
    assert paths[0] == "src/shop/invoices.py"
    assert "its name holds 'invoic'" in found.files[0].reasons
    assert "it defines 'total'" in found.files[0].reasons
    assert "src/shop/money.py" in paths
    assert not {"src/shop/weather.py", "web/node_modules/invoice/index.js"} & set(paths)

    reach = found.reach
    assert "tests/test_invoices.py" in reach.tests
    assert "src/shop/mailing.py" in reach.dependants[0].files
    assert reach.dependants[1].files == ["src/shop/api.py"]
    assert "src/shop/invoices.py: invoice_total" in reach.interfaces
    assert not any("_hidden" in name for name in reach.interfaces)


async def test_only_the_likeliest_files_are_kept_from_others(tmp_path: Path):
    found = await foreseen(tmp_path, "Round the totals of invoices half up")
    held = likeliest(found)
    assert held[0] == "src/shop/invoices.py"
    assert 0 < len(held) < len(found.files)
    assert likeliest(await foreseen(tmp_path / "again", "Zyzzyva quux")) == []


async def test_a_migration_is_a_high_risk(tmp_path: Path):
    reach = (await foreseen(tmp_path, "Add an amount to 0001_invoices.sql")).reach
    assert reach.migrations == ["migrations/0001_invoices.sql"]
    assert reach.risk.level is RiskLevel.HIGH
    assert reach.risk.reasons[0] == "It touches migrations: migrations/0001_invoices.sql."


@pytest.mark.parametrize(
    "request_", ["Mend weather.py", "Make sunny_ and round_half_up quicker", "src/shop/money.py"]
)
async def test_a_file_or_an_identifier_that_is_spelt_out_wins(tmp_path: Path, request_: str):
    found = await foreseen(tmp_path, request_)
    wanted = "src/shop/weather.py" if "weather" in request_ else "src/shop/money.py"
    assert found.files[0].path == wanted
    assert any("names" in reason for reason in found.files[0].reasons)


async def test_a_request_that_matches_nothing_says_so_and_is_no_low_risk(tmp_path: Path):
    found = await foreseen(tmp_path, "Zyzzyva quux")
    assert found.files == []
    assert "Nothing in the repository" in found.notes[-1]
    assert found.reach.risk.level is RiskLevel.MEDIUM


async def test_what_guards_access_is_a_high_risk_and_what_is_tested_and_small_is_a_low_one(
    tmp_path: Path,
):
    guarded = await foreseen(tmp_path, "Let login remember people")
    assert guarded.files[0].path == "src/shop/auth/login.py"
    assert guarded.reach.risk.level is RiskLevel.HIGH
    tested = await foreseen(tmp_path / "again", "tests/test_invoices.py")
    assert tested.reach.risk.level is RiskLevel.LOW
    assert tested.reach.risk.reasons == []


def test_tests_and_migrations_are_told_by_their_places_and_names():
    tests = ("tests/a.py", "src/a_test.go", "src/a.spec.ts", "pkg/test_a.py", "x/ATest.java")
    assert all(map(is_test, tests))
    assert not any(map(is_test, ("src/latest.py", "src/contest.ts", "attest_a.py", "Testing.md")))
    assert is_migration("app/db/migrations/0001.py")
    assert not is_migration("src/migrations.py")
