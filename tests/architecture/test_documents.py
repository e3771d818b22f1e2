"""The documents point at what exists, and say what they must."""

import re
from pathlib import Path

import pytest

from tools.lint.engine import list_files

ROOT = Path(__file__).parents[2]
DOCUMENTS = [name for name in list_files(ROOT) if name.endswith(".md") and (ROOT / name).exists()]
RECORDS = sorted(path.name for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# A path in code style, from the repository's root or from src/agentvine.
NAMED_PATH = re.compile(r"`((?:src|docs|tools|tests|\.ci)/[\w./-]+)`")
NAMED_MODULE = re.compile(
    r"`((?:client|config|db|domains|git|http|kit|protocol|reactions|runtimes|server|worker)"
    r"/[\w/]+(?:\.py|/))`"
)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_leads_to_a_file_and_a_heading(document: str):
    for target in LINK.findall(without_code(ROOT / document)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (ROOT / document).parent / path if path else ROOT / document
        assert file.exists(), f"{document} links to {target}"
        if heading and file.suffix == ".md":
            assert heading in headings(file), f"{document} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_named_in_code_style_exists(document: str):
    if document == "CHANGELOG.md":
        return  # an entry speaks of its own day
    text = (ROOT / document).read_text()
    paths = NAMED_PATH.findall(text)
    paths += [f"src/agentvine/{module}" for module in NAMED_MODULE.findall(text)]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_decision_record_is_in_the_index_with_its_title():
    index = (ROOT / "docs" / "adr" / "README.md").read_text()

    for name in RECORDS:
        title = (ROOT / "docs" / "adr" / name).read_text().splitlines()[0]
        number, _, rest = title.removeprefix("# ").partition(". ")
        assert name.startswith(f"{number}-"), title
        assert f"[{number}]({name}) | {rest} |" in index, f"{name} is missing from the index"


@pytest.mark.parametrize("name", RECORDS)
def test_a_decision_record_has_its_five_parts(name: str):
    text = (ROOT / "docs" / "adr" / name).read_text()

    wanted = ["Context", "Decision", "Consequences", "Alternatives", "References"]
    assert [part for part in wanted if f"\n## {part}\n" not in text] == []


def test_the_numbers_of_decision_records_are_used_once():
    numbers = [name[:4] for name in RECORDS]

    assert len(numbers) == len(set(numbers))


def test_agents_md_stays_short_enough_to_be_read_every_time():
    assert len((ROOT / "AGENTS.md").read_text().splitlines()) < 150


def test_the_glossary_is_in_alphabetical_order():
    terms = re.findall(r"^\*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)

    assert len(terms) > 20
    assert terms == sorted(terms, key=str.casefold)


def test_the_changelog_begins_with_what_is_not_released_yet():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)

    assert versions[0] == "Unreleased"
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= {
        *("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
    }


def without_code(path: Path) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.DOTALL)


def headings(path: Path) -> set[str]:
    """The anchors that a Markdown viewer makes of a document's headings."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
