from pathlib import Path

import pytest

from agentvine.git.diffs import ChangeKind, FileChange, changed_files, diff, read_file
from agentvine.git.errors import CommitIdInvalid, FileNotInCommit
from agentvine.git.runner import Git
from tests.support.repositories import Repo

ODD_NAMES = [
    "with space",
    "tab\there",
    "new\nline",
    'quo"te',
    "ünïcode",
    "-dash",
    ":(top)x",
    "a\\b",
]


def by_path(changes: list[FileChange]) -> dict[str, FileChange]:
    return {change.path: change for change in changes}


async def test_every_kind_of_change_is_told(git: Git, source: Repo) -> None:
    text = "".join(f"line {n}\n" for n in range(20))
    base = source.commit(
        {"moved": text, "copied": f"{text}more\n", "gone": "x\n", "typed": "x\n", "mode": "x\n"}
    )
    source.git("mv", "moved", "folder-moved")
    source.write({"folder-moved": f"{text}last\n", "gone": None, "typed": None, "new": "1\n2\n"})
    source.write({"copied": f"{text}less\n", "copy": f"{text}more\n", "bin": b"\0\1\2"})
    (source.path / "typed").symlink_to("new")
    (source.path / "mode").chmod(0o755)
    head = source.commit()
    changes = by_path(await changed_files(git, source.path, base, head))
    assert list(changes) == sorted(changes)
    assert changes["folder-moved"] == FileChange(
        path="folder-moved", kind=ChangeKind.RENAMED, old_path="moved", added_lines=1
    )
    assert (changes["copy"].kind, changes["copy"].old_path) == (ChangeKind.COPIED, "copied")
    assert changes["gone"] == FileChange(path="gone", kind=ChangeKind.DELETED, removed_lines=1)
    assert changes["typed"].kind is ChangeKind.TYPE_CHANGED
    assert changes["mode"] == FileChange(path="mode", kind=ChangeKind.MODIFIED)
    assert changes["new"] == FileChange(path="new", kind=ChangeKind.ADDED, added_lines=2)
    assert changes["bin"] == FileChange(path="bin", kind=ChangeKind.ADDED, is_binary=True)
    assert changes["copied"].added_lines == changes["copied"].removed_lines == 1


async def test_odd_file_names_come_through_unchanged(git: Git, source: Repo) -> None:
    base = source.head
    head = source.commit({f"d/{name}": f"{name}\n" for name in ODD_NAMES})
    changes = await changed_files(git, source.path, base, head)
    assert {change.path for change in changes} == {f"d/{name}" for name in ODD_NAMES}
    for name in ODD_NAMES:
        content = await read_file(git, source.path, head, f"d/{name}")
        assert content.decode() == f"{name}\n"


async def test_odd_names_come_through_in_renames_too(git: Git, source: Repo) -> None:
    base = source.commit({"new\nline a": "1\n2\n3\n", "z": "z\n"})
    source.git("mv", "new\nline a", "tab\tb")
    head = source.commit({"z": "y\n"})
    changes = by_path(await changed_files(git, source.path, base, head))
    assert changes["tab\tb"].old_path == "new\nline a"
    assert (changes["z"].added_lines, changes["z"].removed_lines) == (1, 1)


async def test_a_name_that_is_not_utf8_is_shown_and_can_be_stored(git: Git, source: Repo) -> None:
    base = source.head
    blob = source.git("hash-object", "-w", "--stdin", stdin=b"x\n")
    entries = source.git("ls-tree", "-z", "HEAD").encode() + f"100644 blob {blob}\t".encode()
    tree = source.git("mktree", "-z", stdin=entries + b"caf\xe9\0")
    head = source.git("commit-tree", tree, "-p", base, "-m", "Odd")
    (change,) = await changed_files(git, source.path, base, head)
    assert change.path == "caf\\xe9"


async def test_the_diff_is_unified_text(git: Git, source: Repo) -> None:
    base = source.head
    head = source.commit({"src/app.py": "x = 1\ny = 3\nz = 3\n", "bïn": b"\0\1"})
    result = await diff(git, source.path, base, head)
    assert (
        "--- a/src/app.py\n+++ b/src/app.py\n@@ -1,3 +1,3 @@\n x = 1\n-y = 2\n+y = 3" in result.text
    )
    assert "Binary files /dev/null and b/bïn differ" in result.text
    assert not result.is_truncated


async def test_the_diff_can_be_applied(git: Git, source: Repo, tmp_path: Path) -> None:
    base = source.head
    head = source.commit({"src/app.py": "x = 1\n", "new name": "1\n", "README.md": None})
    result = await diff(git, source.path, base, head)
    source.git("checkout", "-q", base)
    source.git("apply", "--index", stdin=result.text.encode())
    assert source.git("write-tree") == source.rev(f"{head}^{{tree}}")


async def test_a_diff_from_nothing_has_everything(git: Git, source: Repo) -> None:
    result = await diff(git, source.path, None, source.head)
    assert "+hello" in result.text
    changes = await changed_files(git, source.path, None, source.head)
    assert {change.kind for change in changes} == {ChangeKind.ADDED}


async def test_no_change_is_an_empty_diff(git: Git, source: Repo) -> None:
    assert (await diff(git, source.path, source.head, source.head)).text == ""
    assert await changed_files(git, source.path, source.head, source.head) == []


async def test_a_long_diff_is_cut_at_the_end_of_a_line(git: Git, source: Repo) -> None:
    base = source.head
    head = source.commit({"long": "".join(f"line {n} €\n" for n in range(5000))})
    result = await diff(git, source.path, base, head, max_bytes=1000)
    assert result.is_truncated
    assert 900 < len(result.text.encode()) <= 1000
    assert result.text.endswith("€\n")


async def test_a_diff_of_bytes_that_are_no_text_can_be_stored(git: Git, source: Repo) -> None:
    base = source.head
    # git looks for NUL in the first 8,000 bytes only: this is text to it
    head = source.commit({"a.x": b"text\n" * 2000 + b"caf\xe9\0\xed\xa0\x80\n"})
    result = await diff(git, source.path, base, head)
    assert "+caf\ufffd\ufffd" in result.text
    assert "\0" not in result.text
    result.text.encode()


async def test_the_users_taste_in_diffs_does_not_matter(
    git: Git, source: Repo, canary: Path
) -> None:
    base = source.head
    head = source.commit({"src/app.py": "x = 2\n", ".gitattributes": "*.py diff=evil\n"})
    plain = await diff(git, source.path, base, head)
    for key, value in {
        "diff.noprefix": "true",
        "diff.external": str(canary),
        "diff.evil.textconv": str(canary),
        "diff.evil.command": str(canary),
        "color.ui": "always",
        "core.attributesFile": str(source.path / ".gitattributes"),
    }.items():
        source.git("config", key, value)
    info = source.path / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "attributes").write_text("*.py diff=evil\n")
    assert await diff(git, source.path, base, head) == plain


async def test_a_file_is_read_at_a_commit(git: Git, source: Repo) -> None:
    first = source.head
    source.commit({"README.md": "changed\n"})
    assert await read_file(git, source.path, first, "README.md") == b"hello\n"
    assert await read_file(git, source.path, first, "README.md", max_bytes=3) == b"hel"


@pytest.mark.parametrize(
    "path",
    [
        *("missing", "src", "src/", "", ".", "..", "../README.md", "/etc/passwd", "./README.md"),
        *("*", ":(glob)*", "a\0b", ".git/config", "src/../README.md"),
    ],
)
async def test_what_is_no_file_of_the_commit_is_not_read(git: Git, source: Repo, path: str) -> None:
    with pytest.raises(FileNotInCommit):
        await read_file(git, source.path, source.head, path)


async def test_a_branch_or_option_is_not_taken_for_a_commit(git: Git, source: Repo) -> None:
    for name in ("main", "--output=x", "HEAD"):
        with pytest.raises(CommitIdInvalid):
            await diff(git, source.path, name, source.head)
        with pytest.raises(CommitIdInvalid):
            await read_file(git, source.path, name, "README.md")
