from collections.abc import Mapping

from agentvine.impact.importers import find_importers, module_names


def search(files: Mapping[str, str], *wanted: str) -> dict[str, list[str]]:
    return find_importers(files, sorted(files), wanted).importers


def test_absolute_imports_of_a_package_below_src():
    files = {
        "src/shop/__init__.py": "",
        "src/shop/prices.py": "",
        "src/shop/cart.py": "import shop.prices",
        "tests/test_a.py": "from shop.prices import total",
        "tests/test_b.py": "from shop import prices as p",
        "tests/test_c.py": "import shop",
        "tests/test_d.py": "# prices are not imported here\nimport prices_of_others",
    }
    assert search(files, "src/shop/prices.py") == {
        "src/shop/prices.py": ["src/shop/cart.py", "tests/test_a.py", "tests/test_b.py"]
    }


def test_relative_imports():
    files = {
        "shop/__init__.py": "from .prices import total",
        "shop/prices.py": "from . import VERSION",
        "shop/sub/__init__.py": "from ..prices import total",
        "shop/sub/deep.py": "from .. import prices\nfrom ... import too_far",
        "other/prices.py": "",
        "other/user.py": "from .prices import x\nfrom . import prices",
    }
    found = search(files, "shop/prices.py", "shop/__init__.py", "other/prices.py")
    assert found["shop/prices.py"] == [
        "shop/__init__.py",
        "shop/sub/__init__.py",
        "shop/sub/deep.py",
    ]
    assert found["shop/__init__.py"] == ["shop/prices.py", "shop/sub/deep.py"]
    assert found["other/prices.py"] == ["other/user.py"]


def test_a_flat_layout_and_scripts():
    files = {"tool.py": "", "main.py": "import tool", "scripts/run.py": "import helper"}
    files["scripts/helper.py"] = ""
    found = search(files, "tool.py", "scripts/helper.py")
    assert found == {"tool.py": ["main.py"], "scripts/helper.py": ["scripts/run.py"]}


def test_a_package_without_init_files():
    files = {"src/space/inner/mod.py": "", "app.py": "from space.inner import mod"}
    assert search(files, "src/space/inner/mod.py") == {"src/space/inner/mod.py": ["app.py"]}


def test_who_imports_a_deleted_file_is_still_found():
    files = {"shop/__init__.py": "", "shop/cart.py": "from shop.gone import x"}
    assert search(files, "shop/gone.py") == {"shop/gone.py": ["shop/cart.py"]}


def test_a_search_that_was_cut_says_so():
    files = {"a.py": "import tool", "b.py": "import tool"}
    stopped = find_importers(files, [*files, "tool.py"], ["tool.py"], max_seconds=-1)
    assert stopped.importers == {"tool.py": []}
    assert "stopped after -1 s, 0 of 2 files" in stopped.notes[0]


def test_a_module_may_have_several_names():
    packages = {"src/shop"}
    assert module_names("src/shop/cart.py", packages) == {"shop.cart", "src.shop.cart"}
    assert module_names("src/shop/__init__.py", packages) == {"shop", "src.shop"}
    assert module_names("tool.py", packages) == {"tool"}
