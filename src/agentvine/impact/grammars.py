"""The facts of files in other languages, by tree-sitter's grammars.

A grammar reads what it can of a broken file. What is captured is written down as a query; its
capture names are the kinds of symbols, besides ``import`` and ``package``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import tree_sitter_go
import tree_sitter_java
import tree_sitter_javascript
import tree_sitter_rust
import tree_sitter_typescript
from tree_sitter import Language, Node, Parser, Query, QueryCursor

from agentvine.impact.facts import MAX_LISTED, FileFacts, Import, Symbol

_JAVASCRIPT = """
(import_statement source: (string (string_fragment) @import))
(export_statement source: (string (string_fragment) @import))
(call_expression function: (import) arguments: (arguments (string (string_fragment) @import)))
(call_expression function: (identifier) @_called
  arguments: (arguments (string (string_fragment) @import)) (#eq? @_called "require"))
(function_declaration name: (identifier) @function)
(generator_function_declaration name: (identifier) @function)
(method_definition name: (property_identifier) @method)
(program (lexical_declaration (variable_declarator name: (identifier) @variable)))
(export_statement (lexical_declaration (variable_declarator name: (identifier) @variable)))
"""
_QUERIES = {
    "javascript": f"{_JAVASCRIPT}(class_declaration name: (identifier) @class)",
    "typescript": f"""{_JAVASCRIPT}
(class_declaration name: (type_identifier) @class)
(abstract_class_declaration name: (type_identifier) @class)
(interface_declaration name: (type_identifier) @interface)
(type_alias_declaration name: (type_identifier) @type)
(enum_declaration name: (identifier) @enum)
""",
    "go": """
(import_spec path: (interpreted_string_literal) @import)
(function_declaration name: (identifier) @function)
(method_declaration name: (field_identifier) @method)
(type_spec name: (type_identifier) @type)
(source_file (const_declaration (const_spec name: (identifier) @constant)))
(source_file (var_declaration (var_spec name: (identifier) @variable)))
""",
    "rust": """
(use_declaration argument: (_) @import)
(mod_item name: (identifier) @module !body)
(function_item name: (identifier) @function)
(struct_item name: (type_identifier) @struct)
(enum_item name: (type_identifier) @enum)
(trait_item name: (type_identifier) @trait)
(type_item name: (type_identifier) @type)
(const_item name: (identifier) @constant)
(static_item name: (identifier) @variable)
(macro_definition name: (identifier) @macro)
""",
    "java": """
(package_declaration (_) @package)
(import_declaration) @import
(class_declaration name: (identifier) @class)
(interface_declaration name: (identifier) @interface)
(enum_declaration name: (identifier) @enum)
(record_declaration name: (identifier) @record)
(annotation_type_declaration name: (identifier) @annotation)
(method_declaration name: (identifier) @method)
""",
}
_QUERIES["tsx"] = _QUERIES["typescript"]
_GRAMMARS: dict[str, Callable[[], object]] = {
    "javascript": tree_sitter_javascript.language,
    "typescript": tree_sitter_typescript.language_typescript,
    "tsx": tree_sitter_typescript.language_tsx,
    "go": tree_sitter_go.language,
    "rust": tree_sitter_rust.language,
    "java": tree_sitter_java.language,
}


@dataclass(frozen=True, slots=True)
class _Reader:
    parser: Parser
    query: Query


def grammar_facts(language: str, source: bytes) -> FileFacts:
    """What a file imports and defines, in one of the languages that there are grammars for."""
    reader = _reader(language)
    root = reader.parser.parse(source).root_node
    captures = QueryCursor(reader.query).captures(root)
    imports = [_import(language, node) for node in captures.pop("import", [])]
    packages = captures.pop("package", [])
    # ``mod x;`` is what brings a file in, besides being a name.
    imports += [Import(f"self::{_text(node)}") for node in captures.get("module", [])]
    captures.pop("_called", None)
    symbols = sorted(_symbols(language, captures), key=lambda symbol: symbol.line)
    return FileFacts(
        language,
        tuple(imports[:MAX_LISTED]),
        tuple(symbols[:MAX_LISTED]),
        _text(packages[0]) if packages else "",
        is_readable=not root.has_error or bool(symbols),
    )


@cache
def _reader(language: str) -> _Reader:
    grammar = Language(_GRAMMARS[language]())
    return _Reader(Parser(grammar), Query(grammar, _QUERIES[language]))


def _symbols(language: str, captures: dict[str, list[Node]]) -> Iterator[Symbol]:
    for kind, nodes in captures.items():
        for node in nodes:
            line = node.start_point.row + 1
            yield Symbol(_text(node), kind, line, _is_public(language, node))


def _import(language: str, node: Node) -> Import:
    text = _text(node)
    match language:
        case "go":
            return Import(text.strip('"'))
        case "java":
            words = text.removeprefix("import").strip().rstrip(";").split()
            # ``import static a.b.C.name``: the class is what is imported.
            name = "".join(words[1:]).rpartition(".")[0] if words[:1] == ["static"] else words[0]
            return Import(name if words[:1] == ["static"] else "".join(words))
        case "rust":
            # Of ``a::b::{c, d}`` the common part says enough.
            return Import("".join(text.split()).partition("{")[0].rstrip(":").partition(" as ")[0])
        case _:
            return Import(text)


def _is_public(language: str, node: Node) -> bool:
    declared = node.parent
    match language:
        case "go":
            return _text(node)[:1].isupper()
        case "rust":
            return _has_word(declared, "visibility_modifier", "pub")
        case "java":
            return _has_word(declared, "modifiers", "public")
        case _:
            while declared is not None and declared.type != "export_statement":
                declared = declared.parent
            return declared is not None


def _has_word(node: Node | None, kind: str, word: str) -> bool:
    children = node.children if node is not None else []
    return any(child.type == kind and word in _text(child) for child in children)


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")[:500]
