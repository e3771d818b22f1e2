"""Which file an import means: by names and places alone, as each language has it.

What cannot be told that way (an alias in a bundler's settings, a class used by its package alone)
is not found; nothing is ever run to find out.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from posixpath import basename, dirname, join, normpath, splitext

from agentvine.impact.facts import FileFacts, Import, language_of

_SOURCE_FOLDERS = ("src", "lib", "python")
_SCRIPT_ENDINGS = (".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".d.ts")
_WRITTEN_AS_JS = {".js": (".ts", ".tsx"), ".jsx": (".tsx",), ".mjs": (".mts",), ".cjs": (".cts",)}


class ModuleIndex:
    """The files of one commit, by the names under which each language imports them."""

    def __init__(self, facts: Mapping[str, FileFacts], also: Iterable[str] = ()) -> None:
        """Index files.

        Args:
            facts: By path.
            also: Files that are not there (any more), for who imports them all the same.
        """
        self._facts = facts
        self._files = {*facts, *(path for path in also if language_of(path) is not None)}
        python = [path for path in self._files if path.endswith((".py", ".pyi"))]
        self._packages = {dirname(path) or "." for path in python if _is_package(path)}
        self._python: dict[str, list[str]] = defaultdict(list)
        for path in python:
            for name in module_names(path, self._packages):
                self._python[name].append(path)
        self._classes: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._java_packages: dict[str, list[str]] = defaultdict(list)
        self._go_folders: dict[str, list[str]] = defaultdict(list)
        for path in self._files:
            self._add(path)
        self._go_modules = {
            found.package: dirname(path)
            for path, found in facts.items()
            if found.language == "go.mod" and found.package
        }

    def targets(self, path: str) -> set[str]:
        """The files that a file imports; itself never."""
        facts = self._facts[path]
        find: dict[str, Callable[[str, Import], Iterable[str]]] = {
            "python": self._of_python,
            "go": self._of_go,
            "rust": self._of_rust,
            "java": self._of_java,
        }
        resolve = find.get(facts.language, self._of_script)
        return {file for each in facts.imports for file in resolve(path, each)} - {path}

    def _add(self, path: str) -> None:
        if path.endswith(".java"):
            found = self._facts.get(path)
            # A file that is gone lies where its package is.
            package = found.package if found else dirname(path).replace("/", ".")
            self._classes[package, splitext(basename(path))[0]].append(path)
            self._java_packages[package].append(path)
        elif path.endswith(".go") and not path.endswith("_test.go"):
            self._go_folders[dirname(path)].append(path)

    def _of_python(self, path: str, given: Import) -> Iterator[str]:
        for base in self._python_bases(path, given):
            yield from self._python.get(base, ())
            # What is imported may be a module of the package, or a name in it.
            for name in given.names:
                yield from self._python.get(f"{base}.{name}", ())

    def _python_bases(self, path: str, given: Import) -> set[str]:
        if not given.level:
            return {given.module}
        bases: set[str] = set()
        up = given.level - 1 if _is_package(path) else given.level
        for name in module_names(path, self._packages):
            parts = name.split(".")
            if up <= len(parts):
                bases.add(".".join([*parts[: len(parts) - up], *given.module.split(".")]))
        return {base.strip(".") for base in bases} - {""}

    def _of_script(self, path: str, given: Import) -> Iterator[str]:
        if not given.module.startswith("."):
            return
        place = normpath(join(dirname(path), given.module.partition("?")[0]))
        stem, dot, ending = place.rpartition(".")
        written = _WRITTEN_AS_JS.get(f"{dot}{ending}", ())
        candidates = (
            place,
            *(stem + each for each in written),
            *(place + each for each in _SCRIPT_ENDINGS),
            *(f"{place}/index{each}" for each in _SCRIPT_ENDINGS),
        )
        found = next((each for each in candidates if each in self._files), None)
        if found is not None:
            yield found

    def _of_go(self, _: str, given: Import) -> Iterator[str]:
        for module, folder in self._go_modules.items():
            if given.module == module or given.module.startswith(f"{module}/"):
                below = given.module.removeprefix(module).strip("/")
                yield from self._go_folders.get(normpath(join(folder, below)).removeprefix("."), ())

    def _of_rust(self, path: str, given: Import) -> Iterator[str]:
        first, *parts = given.module.split("::")
        own = _rust_module(path)
        match first:
            case "crate":
                folder = _crate_folder(path, self._files)
            case "self":
                folder = own
            case "super":
                folder = dirname(own)
                while parts[:1] == ["super"]:
                    folder, parts = dirname(folder), parts[1:]
            case _:
                return
        # The longest part of the path that is a module; what is left is a name in it.
        for length in range(len(parts), 0, -1):
            place = join(folder, *parts[:length])
            for candidate in (f"{place}.rs", f"{place}/mod.rs"):
                if candidate in self._files:
                    yield candidate
                    return
        for candidate in (f"{folder}.rs", f"{folder}/mod.rs", f"{folder}/lib.rs"):
            if candidate in self._files:
                yield candidate
                return

    def _of_java(self, _: str, given: Import) -> Iterator[str]:
        package, _, name = given.module.rpartition(".")
        if name == "*":
            yield from self._java_packages.get(package, ())
            return
        while package:
            # An inner class is imported through the one it is in.
            if found := self._classes.get((package, name)):
                yield from found
                return
            package, _, name = package.rpartition(".")


def module_names(path: str, packages: set[str]) -> set[str]:
    """The names a Python file may be imported by.

    From the repository's top, from ``src``, or from wherever its outermost package lies.
    """
    # Each file is looked at: taking the text apart is several times quicker than a path's object.
    *folders, name = path.split("/")
    parts = folders if _is_package(path) else [*folders, splitext(name)[0]]
    names: set[str] = set()
    start = len(folders)
    while start and "/".join(folders[:start]) in packages:
        start -= 1
    names.add(".".join(parts[start:]))
    names.add(".".join(parts))
    if parts and parts[0] in _SOURCE_FOLDERS:
        names.add(".".join(parts[1:]))
    return names - {""}


def _is_package(path: str) -> bool:
    return splitext(basename(path))[0] == "__init__"


def _rust_module(path: str) -> str:
    """The folder that holds the modules below a Rust file's own."""
    pure = PurePosixPath(path)
    return str(pure.parent if pure.stem in {"mod", "lib", "main"} else pure.with_suffix(""))


def _crate_folder(path: str, files: set[str]) -> str:
    folder = dirname(path)
    while folder and not {f"{folder}/lib.rs", f"{folder}/main.rs"} & files:
        folder = dirname(folder)
    return folder or "src"
