"""The demonstration's tools rewrite code without changing what it does."""

import ast
import textwrap
from pathlib import Path

import pytest

from agentvine.cli.demo.tools import declare_exports, describe_api, main, merge_imports


def lines(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def test_imports_of_one_module_become_one_statement_in_order():
    source = '''
        """A module."""

        import sys
        from b import z
        import os as operating_system
        from b import a as c
        from . import near
        from __future__ import annotations
        from collections import abc

        X = 1
        '''

    assert merge_imports(lines(source)) == lines(
        '''
        """A module."""

        from __future__ import annotations

        import os as operating_system
        import sys
        from collections import abc

        from b import a as c, z

        from . import near

        X = 1
        '''
    )


def test_long_statements_are_broken():
    names = [f"a_rather_long_name_{number}" for number in range(8)]
    source = "".join(f"from package import {name}\n" for name in names)

    merged = merge_imports(source)

    assert merged.splitlines() == [
        "from package import (",
        *(f"    {name}," for name in names),
        ")",
    ]


def test_imports_with_a_comment_stay_as_they_are():
    source = "import sys\nimport os  # first, because of the locale\n"

    assert merge_imports(source) == source


def test_merging_twice_changes_nothing_more():
    source = "from a import b\nimport os\nfrom a import c\n"

    assert merge_imports(merge_imports(source)) == merge_imports(source)


def test_exports_are_declared_below_the_imports_once():
    source = "import os\n\n\nclass Fine: ...\n\n\ndef also(): ...\n\n\ndef _not_this(): ...\n"

    declared = declare_exports(source)

    assert declared.startswith('import os\n\n__all__ = [\n    "Fine",\n    "also",\n]\n')
    assert declare_exports(declared) == declared


@pytest.mark.parametrize("source", ["", "X = 1\n", "import os\n", "def f(): ...\n"])
def test_a_module_without_imports_or_names_gets_no_exports(source: str):
    assert declare_exports(source) == source


def test_the_reference_names_what_is_public(tmp_path: Path):
    package = tmp_path / "pack"
    package.mkdir()
    (package / "_private.py").write_text("def no(): ...\n")
    (package / "mod.py").write_text(
        'def yes(one, two):\n    """Do it.\n\n    More."""\n\n\nclass Thing: ...\n'
    )

    page = describe_api(package)

    assert "## `pack.mod`" in page
    assert "- `yes(one, two)`: Do it." in page
    assert "- class `Thing`" in page
    assert "_private" not in page


@pytest.mark.parametrize("tool", ["merge-imports", "declare-exports"])
def test_a_tool_says_what_it_changed(tool: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "a.py").write_text("from x import b\nfrom x import a\n\n\ndef f(): ...\n")
    (tmp_path / "b.py").write_text("X = 1\n")

    assert main([tool, str(tmp_path)]) == 0

    assert "1 files changed" in capsys.readouterr().out
    ast.parse((tmp_path / "a.py").read_text())
