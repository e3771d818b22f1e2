"""Given changes as a commit: all or nothing, and only the files that they name."""

from pathlib import Path

import pytest

from agentvine.git.edits import FileEdit, commit_edits
from agentvine.git.errors import EditRefused
from agentvine.git.runner import Git
from tests.support.repositories import Repo

PATCH = b"--- a/src/app.py\n+++ b/src/app.py\n@@ -1,3 +1,3 @@\n x = 1\n-y = 2\n+y = 5\n z = 3\n"


async def commit(git: Git, source: Repo, *edits: FileEdit) -> str:
    return await commit_edits(git, source.path, source.head, edits, "Change it\n\nWhy: so")


async def test_files_are_made_changed_patched_and_removed_in_one_commit(git: Git, source: Repo):
    source.write({"run.sh": "#!/bin/sh\n", "old.txt": "old\n", "keep.txt": "keep\n"})
    (source.path / "run.sh").chmod(0o755)
    base = source.commit()

    made = await commit(
        git,
        source,
        FileEdit(path="new/deep/file.txt", content=b" kept to the letter \r\n", must_be_new=True),
        FileEdit(path="run.sh", content=b"#!/bin/sh\ntrue\n"),
        FileEdit(path="src/app.py", patch=PATCH),
        FileEdit(path="old.txt"),
    )

    assert (source.parents(made), source.head, source.status()) == ([base], base, "")
    assert sorted(source.files(made)) == [
        *("README.md", "keep.txt", "new/deep/file.txt", "run.sh", "src/app.py")
    ]
    assert source.git("cat-file", "blob", f"{made}:new/deep/file.txt") == " kept to the letter \r"
    assert source.show(made, "src/app.py") == "x = 1\ny = 5\nz = 3"
    assert source.git("ls-tree", made, "run.sh").startswith("100755")
    assert source.git("log", "-1", "--format=%B", made) == "Change it\n\nWhy: so"


async def test_a_repository_of_long_ids_is_changed_alike(git: Git, tmp_path: Path):
    source = Repo(tmp_path / "long")
    source.path.mkdir()
    source.git("init", "-q", "-b", "main", "--object-format=sha256")
    source.commit({"old.txt": "old\n", "kept.txt": "kept\n"})

    made = await commit(git, source, FileEdit(path="old.txt"))

    assert source.files(made) == ["kept.txt"]


def patch_of(path: str, *lines: str, old: str = "") -> bytes:
    head = f"--- a/{old or path}\n+++ b/{path}\n"
    return (head + "".join(f"{line}\n" for line in lines)).encode()


LINK = "link"
REFUSED = {
    "a file that is there": FileEdit(path="README.md", content=b"x", must_be_new=True),
    "a folder that is there": FileEdit(path="src", content=b"x", must_be_new=True),
    "a file that is not": FileEdit(path="none.txt", content=b"x"),
    "to remove none": FileEdit(path="none.txt"),
    "below a file": FileEdit(path="README.md/x", content=b"x", must_be_new=True),
    "through a link": FileEdit(path=f"{LINK}/x", content=b"x", must_be_new=True),
    "a link": FileEdit(path=LINK, content=b"x"),
    "to remove a link": FileEdit(path=LINK),
    "outside": FileEdit(path="../x", content=b"x", must_be_new=True),
    "absolute": FileEdit(path="/etc/x", content=b"x", must_be_new=True),
    "git's own": FileEdit(path="a/.Git/hooks/x", content=b"x", must_be_new=True),
    "below a file that is made": FileEdit(path="fits.txt/x", content=b"x", must_be_new=True),
    "nothing new": FileEdit(path="README.md", content=b"hello\n"),
    "a patch that does not fit": FileEdit(
        path="src/app.py", patch=PATCH.replace(b"-y = 2", b"-y = 3")
    ),
    "a patch of another file": FileEdit(
        path="src/app.py", patch=patch_of("README.md", "@@ -1 +1 @@", "-hello", "+bye")
    ),
    "a patch that makes another file": FileEdit(
        path="src/app.py",
        patch=PATCH + b"--- /dev/null\n+++ b/evil.txt\n@@ -0,0 +1 @@\n+evil\n",
    ),
    "a patch that reaches outside": FileEdit(
        path="src/app.py", patch=PATCH + b"--- /dev/null\n+++ b/../evil\n@@ -0,0 +1 @@\n+evil\n"
    ),
    "a patch that makes a link": FileEdit(
        path="src/app.py",
        patch=b"diff --git a/src/app.py b/src/app.py\ndeleted file mode 100644\n"
        b"--- a/src/app.py\n+++ /dev/null\n@@ -1,3 +0,0 @@\n-x = 1\n-y = 2\n-z = 3\n"
        b"diff --git a/src/app.py b/src/app.py\nnew file mode 120000\n"
        b"--- /dev/null\n+++ b/src/app.py\n@@ -0,0 +1 @@\n+/etc/passwd\n",
    ),
    "no patch at all": FileEdit(path="src/app.py", patch=b"what I would change\n"),
}


@pytest.mark.parametrize("edit", REFUSED.values(), ids=REFUSED.keys())
async def test_what_does_not_fit_or_reaches_further_is_refused_whole(
    git: Git, source: Repo, tmp_path: Path, edit: FileEdit
):
    (source.path / LINK).symlink_to(tmp_path)
    source.commit()
    fits = FileEdit(path="fits.txt", content=b"x", must_be_new=True)
    edits = [edit] if edit == REFUSED["nothing new"] else [fits, edit]

    with pytest.raises(EditRefused) as caught:
        await commit(git, source, *edits)

    assert caught.value.files
    assert source.status() == ""
    assert not (tmp_path / "x").exists()
    assert not (tmp_path / "evil").exists()
