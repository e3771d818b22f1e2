"""Which file an import means, in each language; and who depends on whom."""

from collections.abc import Mapping

from agentvine.impact.facts import language_of
from agentvine.impact.graph import ImportGraph, build_graph
from agentvine.impact.modules import module_names
from agentvine.impact.reader import read_facts


def graph_of(files: Mapping[str, str], *also: str) -> ImportGraph:
    facts = {
        path: read_facts(language, text.encode())
        for path, text in files.items()
        if (language := language_of(path))
    }
    return build_graph(facts, also)


def search(files: Mapping[str, str], *wanted: str) -> dict[str, list[str]]:
    importers = graph_of(files, *wanted).importers
    return {path: sorted(importers.get(path, ())) for path in wanted}


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


def test_dependants_are_named_once_at_their_least_depth():
    files = {
        "a.py": "",
        "b.py": "import a",
        "c.py": "import b",
        "d.py": "import c, a",
        "e.py": "import d\nimport e",
    }
    graph = graph_of(files)
    assert graph.dependants(["a.py"], 9) == [["b.py", "d.py"], ["c.py", "e.py"]]
    assert graph.dependants(["a.py"], 1) == [["b.py", "d.py"]]
    assert graph.dependants(["e.py"], 9) == []


def test_scripts_import_by_place():
    files = {
        "src/app.ts": "import {a} from './a.js'; import b from '../lib'; import 'react'",
        "src/a.ts": "export {x} from './view'",
        "src/view.tsx": "const c = require('./a')",
        "lib/index.mjs": "import('../src/app')",
    }
    imports = graph_of(files).imports
    assert imports["src/app.ts"] == {"src/a.ts", "lib/index.mjs"}
    assert imports["src/a.ts"] == {"src/view.tsx"}
    assert imports["src/view.tsx"] == {"src/a.ts"}
    assert imports["lib/index.mjs"] == {"src/app.ts"}


def test_go_imports_packages_of_its_own_module():
    files = {
        "go.mod": "module example.com/shop\n",
        "root.go": "package shop",
        "prices/prices.go": 'package prices\nimport "fmt"',
        "prices/prices_test.go": "package prices",
        "cmd/main.go": 'package main\nimport (\n"example.com/shop"\np "example.com/shop/prices"\n)',
    }
    assert graph_of(files).imports["cmd/main.go"] == {"root.go", "prices/prices.go"}


def test_rust_imports_by_the_tree_of_modules():
    files = {
        "src/lib.rs": "mod shop; mod util;",
        "src/util.rs": "pub fn f() {}",
        "src/shop/mod.rs": "mod cart; use crate::util::f;",
        "src/shop/cart.rs": "use super::Price; use crate::util::{f, g}; use std::fmt;",
    }
    imports = graph_of(files).imports
    assert imports["src/lib.rs"] == {"src/shop/mod.rs", "src/util.rs"}
    assert imports["src/shop/mod.rs"] == {"src/shop/cart.rs", "src/util.rs"}
    assert imports["src/shop/cart.rs"] == {"src/shop/mod.rs", "src/util.rs"}


def test_java_imports_classes_packages_and_what_is_in_classes():
    files = {
        "app/src/a/Shop.java": "package a;\nimport b.Price;\nimport static b.Tax.rate;",
        "app/src/b/Price.java": "package b;\nimport a.*;",
        "lib/b/Tax.java": "package b;\nimport b.Price.Inner;",
    }
    imports = graph_of(files).imports
    assert imports["app/src/a/Shop.java"] == {"app/src/b/Price.java", "lib/b/Tax.java"}
    assert imports["app/src/b/Price.java"] == {"app/src/a/Shop.java"}
    assert imports["lib/b/Tax.java"] == {"app/src/b/Price.java"}


def test_a_module_may_have_several_names():
    packages = {"src/shop"}
    assert module_names("src/shop/cart.py", packages) == {"shop.cart", "src.shop.cart"}
    assert module_names("src/shop/__init__.py", packages) == {"shop", "src.shop"}
    assert module_names("tool.py", packages) == {"tool"}
