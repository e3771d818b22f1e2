"""A folder of Markdown as documents."""

from pathlib import Path

import pytest

from agentvine.cli.folders import in_batches, read_folder
from agentvine.protocol.documents import ImportedFileIn
from agentvine.protocol.enums import DocumentType


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with documents of every kind, and a link that leads out of it."""
    secret = tmp_path / "secret.md"
    secret.write_text("# Secret")
    place = tmp_path / "docs"
    files = {
        "plain.md": "No heading.",
        "guide.md": "Intro\n\n# The guide #\n\nText",
        "deep/er/spec.markdown": "---\ntitle: Spec\ntype: specification\ntags: [API, v2]\n---\nX",
        "one-tag.md": "---\ntags: solo\n---\n# One",
        "year.md": "---\ntitle: 2026\ntags: 26\n---\nText",
        "rule.md": "---\n\nnot front matter but a line\n\n---\n# Ruled",
        ".hidden/no.md": "# No",
        "broken.md": "---\n{: [\n---\n# Broken",
        "wrong.md": "---\ntype: novel\n---\n# Wrong",
        "notes.txt": "no",
        "binary.md": "",
    }
    for name, text in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (place / "binary.md").write_bytes(b"\xff\xfe\x00")
    (place / "linked.md").symlink_to(secret)
    (place / "out").symlink_to(tmp_path)
    return place


def test_files_say_their_titles_types_and_tags(folder: Path):
    files, left_out = read_folder(folder, None, ["all"])

    said = {each.path: (each.title, each.document_type.value, each.tags) for each in files}
    assert said == {
        "plain.md": ("plain", "guide", ["all"]),
        "guide.md": ("The guide", "guide", ["all"]),
        "deep/er/spec.markdown": ("Spec", "specification", ["all", "api", "v2"]),
        "one-tag.md": ("One", "guide", ["all", "solo"]),
        "year.md": ("2026", "guide", ["26", "all"]),
        "rule.md": ("Ruled", "guide", ["all"]),
    }
    assert next(each for each in files if each.title == "Spec").content == "X"
    assert set(left_out) == {"broken.md", "wrong.md", "binary.md"}


def test_a_type_that_is_named_is_for_files_that_say_none(folder: Path):
    files, _ = read_folder(folder, DocumentType.DESIGN, [])

    assert {each.title: each.document_type.value for each in files} == {
        "plain": "design",
        "The guide": "design",
        "Spec": "specification",
        "One": "design",
        "Ruled": "design",
        "2026": "design",
    }


def test_large_files_go_in_batches_of_their_own():
    def file(number: int, size: int) -> ImportedFileIn:
        return ImportedFileIn(
            path=f"{number}.md", title="T", document_type=DocumentType.GUIDE, content="é" * size
        )

    many = [file(number, 10) for number in range(120)]
    large = [file(number, 300_000) for number in range(14)]  # 600,000 bytes each

    assert [len(batch) for batch in in_batches(many)] == [50, 50, 20]
    assert [len(batch) for batch in in_batches(large)] == [6, 6, 2]
    assert [each for batch in in_batches(large) for each in batch] == large
    assert list(in_batches([])) == []
