"""Programming languages of the `code` tagger: their grammars, the nodes that define and call, and the names that people write
in a column.

The nodes are those of "Not-Just-Scaling Laws" (arXiv 2503.03862); those of Rust are ours. Kotlin differs because its grammar
has changed: names are `identifier`, and were `simple_identifier` in 2023.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.requirements import how_to_install

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Nodes:
    """Types of syntax nodes. A name is a definition or a call when its own type is an inner one and its parent's type is
    an outer one: `function` and `call` for functions, `variable` for variables."""

    module: str
    function: tuple[str, ...]
    call: tuple[str, ...]
    variable: tuple[str, ...]
    name: tuple[str, ...] = ("identifier",)
    variable_name: tuple[str, ...] = ("identifier",)
    entry: str = "language"
    """The function of `module` that gives the grammar."""

    @property
    def distribution(self) -> str:
        return self.module.replace("_", "-")


_RUBY_NAMES = ("identifier", "instance_variable", "class_variable", "global_variable")

LANGUAGES: Mapping[str, Nodes] = {
    "c": Nodes(
        "tree_sitter_c", ("function_declarator",), ("call_expression",), ("init_declarator", "array_declarator")
    ),
    "c_sharp": Nodes(
        "tree_sitter_c_sharp",
        ("local_function_statement",),
        ("invocation_expression",),
        ("variable_declarator", "parameter"),
    ),
    "cpp": Nodes(
        "tree_sitter_cpp", ("function_declarator",), ("call_expression",), ("init_declarator", "array_declarator")
    ),
    "go": Nodes(
        "tree_sitter_go", ("function_declaration",), ("call_expression",), ("var_spec", "parameter_declaration")
    ),
    "java": Nodes(
        "tree_sitter_java",
        ("method_declaration",),
        ("method_invocation",),
        ("variable_declarator", "formal_parameter"),
    ),
    "javascript": Nodes(
        "tree_sitter_javascript",
        ("function_declaration",),
        ("call_expression",),
        ("variable_declarator", "formal_parameters", "assignment_expression"),
    ),
    "kotlin": Nodes(
        "tree_sitter_kotlin", ("function_declaration",), ("call_expression",), ("variable_declaration", "parameter")
    ),
    "php": Nodes(
        "tree_sitter_php",
        ("function_definition",),
        ("function_call_expression",),
        ("assignment_expression", "simple_parameter"),
        ("name",),
        ("variable_name",),
        "language_php",
    ),
    "python": Nodes("tree_sitter_python", ("function_definition",), ("call",), ("assignment", "parameters")),
    "ruby": Nodes(
        "tree_sitter_ruby", ("method",), ("call",), ("assignment", "method_parameters"), variable_name=_RUBY_NAMES
    ),
    "rust": Nodes("tree_sitter_rust", ("function_item",), ("call_expression",), ("let_declaration", "parameter")),
    "scala": Nodes(
        "tree_sitter_scala",
        ("function_definition",),
        ("call_expression",),
        ("var_definition", "val_definition", "parameter"),
    ),
    "typescript": Nodes(
        "tree_sitter_typescript",
        ("function_declaration",),
        ("call_expression",),
        ("variable_declarator", "required_parameter", "optional_parameter"),
        entry="language_typescript",
    ),
}

_NAMES = {
    "c": "c h ansi-c",
    "c_sharp": "c_sharp cs c# csharp csx c-sharp",
    "cpp": "cpp cc cxx c++ hpp hh hxx h++ ino cplusplus",
    "go": "go golang",
    "java": "java",
    "javascript": "javascript js mjs cjs jsx ecmascript node",
    "kotlin": "kotlin kt kts",
    "php": "php php3 php4 php5 php7 php8 phtml httpd-php",
    "python": "python py pyi pyw python2 python3 py3",
    "ruby": "ruby rb rake gemspec",
    "rust": "rust rs",
    "scala": "scala sc sbt",
    "typescript": "typescript ts mts cts",
}
_LANGUAGE_OF = {name: language for language, names in _NAMES.items() for name in names.split()}
# Bare MIME types say `text/x-csrc`, `text/x-c++src`.
_MIME_ENDINGS = ("src", "hdr")


def known_language(written: str) -> str | None:
    """The language that a column's text means: a name (`C++`), a file extension (`.py`), a path (`src/a.rs`) or a MIME
    type (`text/x-python`); None where it is none of LANGUAGES."""
    name = written.strip().lower()
    if "/" in name and name.partition("/")[0] in ("text", "application"):
        name = name.partition("/")[2].partition(";")[0].strip().removeprefix("x-").removeprefix("vnd.")
        for ending in _MIME_ENDINGS:
            name = name.removesuffix(ending)
        return _LANGUAGE_OF.get(name)
    spelled = name.replace(" ", "_")
    return _LANGUAGE_OF.get(spelled) or _LANGUAGE_OF.get(name.rpartition("/")[2].rpartition(".")[2])


def grammar_versions() -> dict[str, str]:
    """Versions of tree-sitter and of every installed grammar, which decide a tree besides the text."""
    versions: dict[str, str] = {}
    for distribution in ("tree-sitter", *(nodes.distribution for nodes in LANGUAGES.values())):
        try:
            versions[distribution] = version(distribution)
        except PackageNotFoundError:
            continue
    return versions


def check_installed() -> None:
    """ConfigError with the pip command where tree-sitter or a grammar is missing."""
    needed = {"tree-sitter", *(nodes.distribution for nodes in LANGUAGES.values())}
    if missing := sorted(needed - grammar_versions().keys()):
        n = len(missing) - 1
        more = f" and {n} more package{'s' * (n != 1)}" if n else ""
        raise ConfigError(f"the code tagger needs {missing[0]}{more}: {how_to_install('code')}")


@dataclass(frozen=True)
class Grammar:
    """A language ready to parse with. Node types as the parser numbers them.

    functions, calls, variables   (parent's number, own number) of a name that is that
    uses                          numbers of nodes that may name a variable
    """

    language: Any
    functions: frozenset[tuple[int, int]]
    calls: frozenset[tuple[int, int]]
    variables: frozenset[tuple[int, int]]
    uses: frozenset[int]


@functools.cache
def grammar(name: str) -> Grammar:
    """The grammar of one of LANGUAGES. Raises ConfigError where a package is missing, or its nodes have other names."""
    nodes = LANGUAGES[name]
    try:
        tree_sitter: Any = importlib.import_module("tree_sitter")
        pointer = getattr(importlib.import_module(nodes.module), nodes.entry)()
    except ImportError as error:
        raise ConfigError(f"the code tagger needs {nodes.distribution} ({error}): {how_to_install('code')}") from error
    language = tree_sitter.Language(pointer)
    numbers: dict[str, list[int]] = {}
    for number in range(language.node_kind_count):
        if language.node_kind_is_named(number) and (kind := language.node_kind_for_id(number)):
            numbers.setdefault(kind, []).append(number)

    def pairs(outer: tuple[str, ...], inner: tuple[str, ...]) -> frozenset[tuple[int, int]]:
        if strange := [kind for kind in (*outer, *inner) if kind not in numbers]:
            raise ConfigError(
                f"{nodes.distribution} {version(nodes.distribution)} has no nodes {', '.join(strange)}: {how_to_install('code')}"
            )
        return frozenset((a, b) for o in outer for i in inner for a in numbers[o] for b in numbers[i])

    return Grammar(
        language,
        pairs(nodes.function, nodes.name),
        pairs(nodes.call, nodes.name),
        pairs(nodes.variable, nodes.variable_name),
        frozenset(n for kind in nodes.variable_name for n in numbers[kind]),
    )
