"""The table of promises and the tests that are marked with them say the same."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "explanation" / "reliability.md"
ROW = re.compile(r"^\| (P\d+)\. [^|]+ \| ([^|]+?) \|", re.MULTILINE)
WANTED = {*(f"P{number}" for number in (*range(1, 19), *range(21, 27)))}


def promised_in_the_table() -> dict[str, str]:
    return dict(ROW.findall(TABLE.read_text()))


def marked_in_tests() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if path == Path(__file__):
            continue
        text = path.read_text()
        if "mark.promise" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.promise":
                for argument in node.args:
                    assert isinstance(argument, ast.Constant), f"{path}: promises are named"
                    found.setdefault(str(argument.value), []).append(path.name)
    return found


def test_every_promise_has_its_row():
    assert set(promised_in_the_table()) == WANTED


def test_a_row_says_open_exactly_where_no_test_is_marked():
    marked = marked_in_tests()
    for promise, proof in promised_in_the_table().items():
        assert (proof == "open") == (promise not in marked), f"{promise}: {marked.get(promise)}"


def test_no_test_is_marked_with_a_promise_that_nobody_made():
    assert set(marked_in_tests()) <= WANTED
