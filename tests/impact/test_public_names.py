from textwrap import dedent

import pytest

from agentvine.impact.public_names import NameChanges, compare_public_names, public_names


def names(source: str) -> set[str]:
    found = public_names(dedent(source))
    assert found is not None
    return set(found)


def compare(before: str | None, after: str | None) -> NameChanges:
    return compare_public_names(before and dedent(before), after and dedent(after))


def test_functions_classes_their_members_and_constants_are_names():
    source = """
        LIMIT = 3
        first, (_second) = 1, 2
        _private = 1
        def run(): ...
        async def wait(): ...
        def _helper(): ...
        class Thing:
            size: int = 0
            def grow(self): ...
            def __len__(self): ...
            def _shrink(self): ...
            class Inner:
                def deep(self): ...
        class _Hidden:
            def grow(self): ...
    """
    assert names(source) == {
        "LIMIT",
        "first",
        "run",
        "wait",
        "Thing",
        "Thing.size",
        "Thing.grow",
        "Thing.__len__",
        "Thing.Inner",
        "Thing.Inner.deep",
    }


def test_names_made_under_a_condition_count():
    source = """
        try:
            import fast
            def go(): ...
        except ImportError:
            def go_slowly(): ...
        if True:
            class Late:
                def run(self): ...
                def _stop(self): ...
    """
    assert names(source) == {"go", "go_slowly", "Late", "Late.run"}


def test_a_list_of_public_names_is_believed():
    source = """
        from elsewhere import borrowed
        __all__ = ["run", "borrowed", "_odd"]
        __all__ += ["Thing"]
        def run(): ...
        def other(): ...
        def _odd(): ...
        class Thing:
            def grow(self): ...
            def _shrink(self): ...
    """
    assert names(source) == {"run", "borrowed", "_odd", "Thing", "Thing.grow"}


def test_an_empty_list_means_nothing_is_public():
    assert names("__all__ = []\ndef run(): ...") == set()


def test_a_body_may_change_but_a_signature_is_noticed():
    before = """
        RATE = 1
        SAME = [1, 2]
        def same(a, b=1): return a
        def changed(a): ...
        def gone(): ...
        @property
        def decorated(): ...
        class Base(object): ...
    """
    after = """
        RATE = 2
        SAME = [1,
                2]
        def same(a, b = 1):
            return b
        def changed(a, b): ...
        def new(): ...
        def decorated(): ...
        class Base(dict): ...
    """
    changes = compare(before, after)
    assert changes.added == ["new"]
    assert changes.removed == ["gone"]
    assert changes.changed == ["Base", "RATE", "changed", "decorated"]


def test_a_new_and_a_deleted_file_are_all_added_and_all_removed():
    source = "def run(): ..."
    assert compare(None, source) == NameChanges(added=["run"])
    assert compare(source, None) == NameChanges(removed=["run"])


@pytest.mark.parametrize("text", ["def broken(:", "print 'two'", "x = \0", "(" * 5000])
def test_text_that_is_no_python_says_nothing(text: str):
    assert compare_public_names("def run(): ...", text) == NameChanges()


def test_an_old_escape_is_none_of_our_warnings():
    assert public_names("pattern = '\\d'") == {"pattern": " = '\\\\d'"}
