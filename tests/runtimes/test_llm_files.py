"""The built-in agent's file tools stay in the work tree, whatever lies there."""

import os
from pathlib import Path

import pytest

from agentvine.runtimes.llm.files import ToolRefused, Tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("canary")
    root = tmp_path / "tree"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_text("one = 1\ntwo = 2\n")
    (root / "node_modules").mkdir()
    (root / "node_modules" / "b.py").write_text("one = 3\n")
    (root / "out").symlink_to(tmp_path)
    (root / "link").symlink_to(tmp_path / "secret")
    (root / ".git").write_text("gitdir: elsewhere")
    return root


OUTSIDE = ["../secret", "src/../../secret", "/etc/passwd", "out/secret", "link", "src/../link", ""]


@pytest.mark.parametrize("name", OUTSIDE)
def test_nothing_outside_is_read_or_written(root: Path, name: str):
    tree = Tree(root)

    with pytest.raises(ToolRefused):
        tree.read(name)
    with pytest.raises(ToolRefused):
        tree.write(name, "spoilt")
    assert (root.parent / "secret").read_text() == "canary"


def test_links_are_not_followed_by_lists_and_searches(root: Path):
    tree = Tree(root)

    assert tree.list_files(".", None) == [".git", "src/a.py"]
    assert tree.search("canary", ".", None) == []
    with pytest.raises(ToolRefused):
        tree.list_files("out", None)


def test_files_are_written_read_and_edited(root: Path):
    tree = Tree(root)
    tree.write("new/deep/b.txt", "a\r\nb a\n")

    assert (root / "new/deep/b.txt").read_bytes() == b"a\r\nb a\n"
    with pytest.raises(ToolRefused, match="2 times"):
        tree.replace("new/deep/b.txt", "a", "c", everywhere=False)
    assert tree.replace("new/deep/b.txt", "a", "c", everywhere=True) == 2
    assert tree.replace("new/deep/b.txt", "b c", "d", everywhere=False) == 1
    assert (root / "new/deep/b.txt").read_bytes() == b"c\r\nd\n"
    with pytest.raises(ToolRefused, match="does not hold"):
        tree.replace("new/deep/b.txt", "a", "c", everywhere=True)
    assert tree.read(str(root / "src/a.py")) == "one = 1\ntwo = 2\n"


def test_a_write_keeps_the_mode_and_shortens_the_file(root: Path):
    path = root / "run.sh"
    path.write_text("#!/bin/sh\n" * 100)
    path.chmod(0o755)

    Tree(root).write("run.sh", "#!/bin/sh\n")

    assert path.read_text() == "#!/bin/sh\n"
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", [".git", ".git/config", "./.git", "src/../.git"])
def test_gits_own_folder_is_not_written_to(root: Path, name: str):
    with pytest.raises(ToolRefused, match="commits are made for you"):
        Tree(root).write(name, "spoilt")


def test_what_is_no_text_file_is_refused_at_once(root: Path):
    (root / "binary").write_bytes(b"\xff\xfe\x00")
    os.mkfifo(root / "pipe")
    tree = Tree(root)

    for name, why in (
        ("binary", "no text"),
        ("pipe", "no file"),
        ("src", "Is a directory"),
        ("none", "no none"),
    ):
        with pytest.raises(ToolRefused, match=why):
            tree.read(name)
    with pytest.raises(ToolRefused):
        tree.write("pipe", "x")


def test_searches_find_lines_and_are_bounded(root: Path):
    (root / "many.txt").write_text("hit\n" * 1000)
    tree = Tree(root)

    assert tree.search(r"^t\w+ =", ".", "*.py") == ["src/a.py:2: two = 2"]
    assert len(tree.search("hit", ".", None)) == 201
    with pytest.raises(ToolRefused, match="no regular expression"):
        tree.search("(", ".", None)
