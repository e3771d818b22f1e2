"""Every rule is held to its own samples, and the linter to its escapes."""

from pathlib import Path

import pytest

from tools.lint.engine import ESCAPE_CODE, Report, lint_file
from tools.lint.rule import Rule, Sample
from tools.lint.rules import RULES, explanation
from tools.lint.source import SourceFile

RULES_FOLDER = Path(__file__).parents[2] / "tools" / "lint" / "rules"


def cases(kind: str) -> list[object]:
    return [
        pytest.param(rule, sample, id=f"{rule.code}-{number}")
        for rule in RULES
        for number, sample in enumerate(getattr(rule, kind), start=1)
    ]


def lint(path: str, text: str, rules: tuple[Rule, ...] = RULES) -> list[Report]:
    return list(lint_file(SourceFile(path, text), rules))


@pytest.mark.parametrize(("rule", "sample"), cases("good"))
def test_a_rule_passes_its_good_samples(rule: Rule, sample: Sample):
    assert lint(sample.path, sample.text, (rule,)) == []


@pytest.mark.parametrize(("rule", "sample"), cases("bad"))
def test_a_rule_refuses_its_bad_samples(rule: Rule, sample: Sample):
    reports = lint(sample.path, sample.text, (rule,))

    assert {report.code for report in reports} == {rule.code}
    assert all(report.path == sample.path for report in reports)
    assert all(1 <= report.line <= max(1, sample.text.count("\n")) for report in reports)


def test_every_rule_file_is_listed_explained_and_sampled():
    files = {path.stem for path in RULES_FOLDER.glob("*.py")} - {"__init__"}

    assert {rule.check.__module__.rsplit(".", 1)[1] for rule in RULES} == files
    assert [rule.code for rule in RULES] == [
        f"AV{number:03}" for number in range(1, len(files) + 1)
    ]
    assert all(rule.good and rule.bad and len(explanation(rule)) > 100 for rule in RULES)


WORKER = "src/agentvine/worker/run.py"


@pytest.mark.parametrize(
    "text",
    [
        "import os\nx = os.environ  # lint: allow AV005 (the parent's own environment)\n",
        "import os\n# lint: allow AV005 (the parent's own environment)\nx = os.environ\n",
        "import os\n# lint: allow AV005 (the parent's own)\n# and more\nx = os.environ\n",
        "import os\nx = (\n    os.environ  # lint: allow AV005 (the parent's own environment)\n)\n",
    ],
    ids=["same line", "line above", "block above", "inside a statement"],
)
def test_an_escape_with_a_reason_lets_its_line_through(text: str):
    assert lint(WORKER, text) == []


def test_an_escape_counts_on_every_line_of_the_expression():
    text = "x = uuid.uuid4(  # lint: allow AV003 (random on purpose)\n)\n"

    assert lint(WORKER, "import uuid\n" + text) == []


def test_an_escape_lets_only_its_own_code_through():
    text = "import os, uuid\nx = os.environ, uuid.uuid4()  # lint: allow AV005 (parent's own)\n"

    assert [report.code for report in lint(WORKER, text)] == ["AV003"]


def test_one_escape_may_name_two_codes():
    text = "import os, uuid\nx = os.environ, uuid.uuid4()  # lint: allow AV005, AV003 (both here)\n"

    assert lint(WORKER, text) == []


def test_an_escape_without_a_reason_is_refused_and_lets_nothing_through():
    text = "import os\nx = os.environ  # lint: allow AV005\n"

    assert sorted(report.code for report in lint(WORKER, text)) == [ESCAPE_CODE, "AV005"]


def test_an_escape_that_lets_nothing_through_is_refused():
    reports = lint(WORKER, "x = 1  # lint: allow AV005 (no longer needed here)\n")

    assert [(report.line, report.code) for report in reports] == [(1, ESCAPE_CODE)]


def test_an_escape_inside_a_string_is_no_escape():
    text = 'import os\nx = os.environ, "# lint: allow AV005 (only a string)"\n'

    assert [report.code for report in lint(WORKER, text)] == ["AV005"]


def test_a_file_that_is_not_python_is_escaped_on_the_line():
    text = "cd /" + "root/code  <!-- lint: allow AV016 (an example of what not to do) -->\n"

    assert lint("docs/a.md", text) == []


def test_a_document_may_speak_of_escapes():
    assert (
        lint("docs/a.md", "Write `# lint: allow AV007 (the reason)` or `# lint: allow AV007`.")
        == []
    )


def test_a_file_that_does_not_parse_is_a_finding():
    reports = lint(WORKER, "x = 1\ndef broken(:\n")

    assert [(report.line, report.code) for report in reports] == [(2, ESCAPE_CODE)]


def test_a_name_is_followed_through_its_import_but_a_local_one_is_not():
    assert lint(WORKER, "import datetime as d\nx = d.datetime.now\n")[0].code == "AV002"
    assert lint(WORKER, "time = Clock()\nx = time.time()\n") == []
