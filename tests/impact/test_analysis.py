from pathlib import Path

from agentvine.git.runner import Git
from agentvine.impact.analysis import look_at_change
from agentvine.impact.reading import CommitReader
from agentvine.protocol.enums import ChangeKind
from tests.support.repositories import make_repo


async def test_the_impact_names_what_users_of_the_changed_code_will_notice(tmp_path: Path):
    text = "def total(a): return a\n\n\ndef tax(): ...\n" + "# kept\n" * 9
    repo = make_repo(
        tmp_path / "repository",
        {
            "src/shop/__init__.py": "",
            "src/shop/prices.py": text,
            "src/shop/cart.py": "from . import prices\n",
            "tests/test_prices.py": "from shop.prices import total\n",
            "tests/huge.py": "import shop.prices\n" + "#" * 300_000,
            "logo.png": b"\x89PNG\0\1",
        },
    )
    (repo.path / "link.py").symlink_to("src/shop/cart.py")
    repo.git("add", "link.py")
    repo.git("commit", "-q", "-m", "Link")
    base = repo.head
    repo.git("mv", "src/shop/prices.py", "src/shop/money.py")
    changed = text.replace("total(a)", "total(a, b)").replace("def tax", "def fee")
    head = repo.commit({"src/shop/money.py": changed, "logo.png": None})

    found = await look_at_change(CommitReader(Git()), repo.path, target=base, head=head)
    assert (found.base_commit, found.notes) == (base, [])
    logo, moved = found.files
    assert (logo.kind, logo.is_binary) == (ChangeKind.DELETED, True)
    assert (moved.path, moved.old_path) == ("src/shop/money.py", "src/shop/prices.py")
    assert moved.kind is ChangeKind.RENAMED
    assert (moved.added_lines, moved.removed_lines) == (2, 2)
    assert moved.public_names_added == ["fee"]
    assert moved.public_names_removed == ["tax"]
    assert moved.public_names_changed == ["total"]
    assert moved.imported_by == ["src/shop/cart.py", "tests/test_prices.py"]
    assert found.reach is not None
    # Nobody imports it by its new name yet.
    assert (found.reach.dependants, found.reach.interfaces) == ([], [])
    assert found.reach.risk.reasons == ["No test reaches src/shop/money.py."]


async def test_without_a_common_commit_every_file_counts(tmp_path: Path):
    repo = make_repo(tmp_path / "repository", {"a.txt": "a\n"})
    repo.git("branch", "kept")
    target = repo.head
    repo.git("switch", "-q", "--orphan", "other")
    head = repo.commit({"b.txt": "b\n"})
    found = await look_at_change(CommitReader(Git()), repo.path, target=target, head=head)
    assert found.base_commit is None
    assert [file.path for file in found.files] == ["b.txt"]
    assert "no commit in common" in found.notes[0]
