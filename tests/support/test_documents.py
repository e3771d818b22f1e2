"""Following a document notices what is wrong with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Sandbox
from tests.support.documents import Block, Step, Terminal, blocks_of


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(Sandbox(tmp_path / "reader"), directory=tmp_path)
    yield opened
    opened.close()


def document(folder: Path, *blocks: str) -> Path:
    path = folder / "page.md"
    path.write_text("".join(f"Text.\n\n```sh\n{block}\n```\n" for block in blocks))
    return path


def test_blocks_are_found_with_their_line_and_without_other_languages(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(
        "One\n\n```sh\na\n```\n\n- two\n\n  ```sh\n  b \\\n    c\n  ```\n```ini\nd\n```\n"
    )

    assert blocks_of(page, "sh") == [Block("a\n", 4), Block("b \\\n  c\n", 10)]


def test_folder_and_variables_pass_from_block_to_block(terminal: Terminal, tmp_path: Path):
    page = document(tmp_path, "mkdir a && cd a\nexport NAME='x \"y\"'", 'echo "$NAME" > file')

    terminal.follow(page, {})

    assert (tmp_path / "a" / "file").read_text() == 'x "y"\n'


def test_what_fails_is_told_with_its_place(terminal: Terminal, tmp_path: Path):
    with pytest.raises(AssertionError, match=r"page\.md:4: false"):
        terminal.follow(document(tmp_path, "false\necho never"), {})


def test_success_where_failure_is_promised_is_told_too(terminal: Terminal, tmp_path: Path):
    with pytest.raises(AssertionError, match="true"):
        terminal.follow(document(tmp_path, "true"), {"true": Step(exit_code=1)})


def test_a_step_that_the_document_has_no_more_is_told(terminal: Terminal, tmp_path: Path):
    with pytest.raises(AssertionError, match="other steps"):
        terminal.follow(document(tmp_path, "true"), {"no such command": Step()})


def test_a_word_to_fill_in_must_be_there(terminal: Terminal, tmp_path: Path):
    with pytest.raises(AssertionError, match="has no PATH"):
        terminal.follow(document(tmp_path, "echo FOLDER"), {"echo": Step(fill={"PATH": "/"})})


def test_a_program_that_ends_before_it_is_ready_is_told(terminal: Terminal, tmp_path: Path):
    with pytest.raises(AssertionError, match="has ended"):
        terminal.follow(document(tmp_path, "echo bye"), {"echo": Step(starts="never")})
