"""The code tagger against the reference's trees, a recursive twin, and figures counted by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tree_sitter
from code_snippets import LICENCE, NO_LANGUAGE_OF_OURS, PROSE, SNIPPETS
from hypothesis import given
from hypothesis import strategies as st

import naive
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.batches import TaggedBatch
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.execution.steps import Tag
from tagcorpus.taggers import DocumentBatch, load
from tagcorpus.taggers._code.detect import detect
from tagcorpus.taggers._code.languages import LANGUAGES, grammar, known_language
from tagcorpus.taggers._code.walk import ParseTimeout, measure
from tagcorpus.taggers._interface.memory import resident_bytes
from tagcorpus.taggers.code import Code, percentile

STEPS = 1_000_000

EXACT = [
    "pc000", "pc001", "pc002", "pc005", "pc006", "pc007", "pc008", "pc012", "pc013", "pc016", "pc023", "pc024", "pc025", "pc026", "pc027", "pc028", "pc029", "pc031", "pc032", "pc035", "pc036", "pc037", "pc038", "pc039", "pc040", "pc041", "pc043",
]  # fmt: skip
"""Snippets of which today's grammars give the very tree of 2023: depths, types and distances of every node."""

CHANGED = {
    "pc003": "c_sharp: no equals_value_clause around an initial value, no assignment_operator",
    "pc004": "c_sharp: no equals_value_clause around an initial value",
    "pc009": "go: a block holds a statement_list",
    "pc010": "go: statement_list, type_elem, type_constraint, content of string literals",
    "pc011": "go: a block holds a statement_list",
    "pc014": "java: condition is called parenthesized_expression; the tree is the same",
    "pc015": "javascript: no expression_statement around the condition of a for",
    "pc017": "javascript: another recovery from a syntax error",
    "pc018": "kotlin: another grammar, identifier for simple_identifier",
    "pc019": "kotlin: another grammar, identifier for simple_identifier",
    "pc020": "kotlin: another grammar, identifier for simple_identifier",
    "pc021": "php: a node for the closing tag",
    "pc022": "php: no union_type around a single type, no property_initializer, string_content",
    "pc030": "scala: infix operators group by precedence",
    "pc033": "typescript: no expression_statement around the condition of a for",
    "pc034": "typescript: object_type is called interface_body; the tree is the same",
}
# The reference crashed on one for its depth, and made nothing of a lone surrogate, which never reaches a tagger here.
WITHOUT_FEATURES = {"pc042", "pc044"}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def measured(text: str, language: str) -> Any:
    return measure(text.encode(), language, STEPS, lists=True)


def one(tagger: Code, text: str, language: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = tagger.tag(DocumentBatch.from_texts([text], columns={"lang": [language]})).to_pylist()[0]
    return found


@pytest.fixture
def golden_code(golden: Path) -> list[dict[str, Any]]:
    pairs = zip(lines(golden / "code" / "snippets.jsonl"), lines(golden / "code" / "features.jsonl"), strict=True)
    return [{**snippet, **features} for snippet, features in pairs]


def test_the_references_trees(golden_code: list[dict[str, Any]]) -> None:
    assert {g["id"] for g in golden_code} == {*EXACT, *CHANGED, *WITHOUT_FEATURES}
    tagger = Code(lists=True)
    for reference in golden_code:
        if reference["id"] in WITHOUT_FEATURES:
            continue
        row = one(tagger, reference["text"], reference["lang"])
        wanted = reference["features"]
        is_same = {
            "node_depth": row["node_depth"] == wanted["node_depth"],
            "tree_depth": row["tree_depth"] == wanted["tree_depth"],
            "dist_to_def": row["dist_to_def"] == wanted["dist_to_def"],
            "node_type": row["node_type"] == reference["node_type_names"],
        }
        assert all(is_same.values()) == (reference["id"] in EXACT), (reference["id"], is_same)
        assert row["code_language"] == reference["lang"]


def test_the_references_distances(golden_code: list[dict[str, Any]]) -> None:
    """Distances are counted in bytes of text: they stayed, even where the tree around the names did not."""
    for reference in golden_code:
        if reference["id"] not in WITHOUT_FEATURES:
            wanted = [d for d in reference["features"]["dist_to_def"] if d is not None]
            assert measured(reference["text"], reference["lang"]).use_distances == wanted, reference["id"]


def test_what_the_reference_could_not_recurse_into(golden_code: list[dict[str, Any]]) -> None:
    (reference,) = (g for g in golden_code if g["id"] == "pc044")
    row = one(Code(), reference["text"], reference["lang"])
    wanted = reference["recommended_summary"]
    assert (row["num_nodes"], row["tree_depth_max"]) == (wanted["num_nodes"], wanted["max_depth"])


# The walk


def twin(text: str, language: str) -> dict[str, list[Any]]:
    source = text.encode()
    tree = tree_sitter.Parser(grammar(language).language).parse(source)
    return naive.code_measures(tree, source, LANGUAGES[language])


def check_walk(text: str, language: str) -> None:
    found, wanted = measured(text, language), twin(text, language)
    assert list(found.depths) == wanted["depths"]
    assert found.types == wanted["types"]
    assert found.distances == wanted["distances"]
    assert [found.n_definitions] == wanted["n_definitions"]
    assert [found.n_calls] == wanted["n_calls"]
    assert (found.n_nodes, found.max_depth, found.sum_depth) == (
        len(found.depths),
        max(found.depths),
        sum(found.depths),
    )
    bare = measure(text.encode(), language, STEPS)
    assert (bare.n_nodes, bare.max_depth, bare.use_distances) == (
        found.n_nodes,
        found.max_depth,
        found.use_distances,
    )
    assert not bare.depths and not bare.types and not bare.distances  # noqa: PT018


@pytest.mark.parametrize(("language", "text"), SNIPPETS)
def test_the_walk_against_its_twin(language: str, text: str) -> None:
    check_walk(text, language)
    check_walk(f"ü {text} é(", language)


@given(st.text("ab =(){}[];:,.+\n\"'#é$@", max_size=60), st.sampled_from(sorted(LANGUAGES)))
def test_the_walk_on_anything(text: str, language: str) -> None:
    check_walk(text, language)


@pytest.mark.parametrize(
    ("language", "text", "definitions", "calls", "distances"),
    [
        ("python", "x = 1\ny = x\nx = y\nprint(x)\n", 5, 1, [11]),
        ("python", "f(1)\ndef f(a):\n    return é + a\n", 2, 1, [-10, 19]),
        ("c", "int f(int n) { return n; }\nint x = f(1);\n", 2, 1, [30]),
        ("rust", "fn f(n: i32) -> i32 { n }\nfn main() { let x = f(1); f(x); }\n", 4, 2, [16, 42, 48, 11]),
        ("kotlin", "fun f(n: Int): Int { return n }\nval x = f(1)\n", 3, 1, [21, 35]),
        ("php", "<?php $x = 1; echo $x;", 1, 0, [11]),
        ("ruby", "@x = 1\nputs @x\n", 1, 1, [10]),
    ],
)
def test_by_hand(language: str, text: str, definitions: int, calls: int, distances: list[int]) -> None:
    found = measured(text, language)
    assert (found.n_definitions, found.n_calls, found.use_distances) == (definitions, calls, distances)


def test_columns_of_a_document() -> None:
    row = one(Code(), "x = 1\ny = x\nx = y\nprint(x)\n", "python")
    depths = twin("x = 1\ny = x\nx = y\nprint(x)\n", "python")["depths"]
    assert row == {
        "code_language": "python",
        "num_nodes": len(depths),
        "tree_depth_max": max(depths),
        "node_depth_mean": pytest.approx(np.mean(depths)),
        "num_definitions": 5,
        "num_calls": 1,
        "dist_to_def_median": 11.0,
        "dist_to_def_90p": 11.0,
        "error_node_ratio": 0.0,
    }


def test_broken_code_has_a_tree_and_says_so() -> None:
    assert one(Code(), "def f(:\n  return ((\n", "python")["error_node_ratio"] > 0
    assert one(Code(), "int f() { return 1 }", "c")["error_node_ratio"] > 0  # a missing semicolon
    assert one(Code(), "int f() { return 1; }", "c")["error_node_ratio"] == 0


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=30), st.sampled_from([0, 50, 90, 100]))
def test_percentile_is_numpys(values: list[int], p: float) -> None:
    assert percentile(sorted(values), p) == pytest.approx(np.percentile(values, p))


def test_lists_of_a_document() -> None:
    row = one(Code(lists=True), "x = 1\nprint(x)\n", "python")
    n = row["num_nodes"]
    assert [len(row[c]) for c in ("node_depth", "tree_depth", "dist_to_def", "node_type")] == [n] * 4
    assert row["tree_depth"] == list(accumulate(row["node_depth"], max))
    assert [d for d in row["dist_to_def"] if d is not None] == [11]
    assert row["node_type"][0] == "module"


# Limits


@pytest.mark.parametrize("language", ["python", "c", "javascript"])
def test_three_thousand_brackets(language: str) -> None:
    depth = 3000
    text = "x = " + "(" * depth + "1" + ")" * depth + ";"
    assert one(Code(lists=True), text, language)["tree_depth_max"] >= depth


def test_two_megabytes() -> None:
    text = "x = [\n" + "".join(f"  ({i}, 'entry {i}'),\n" for i in range(90_000)) + "]\n"
    assert 2_000_000 < len(text) < 3_000_000
    row = one(Code(), text, "python")
    assert (row["num_nodes"], row["error_node_ratio"]) == (90_000 * 6 + 5, 0.0)


def test_a_parse_that_takes_too_long_costs_its_row() -> None:
    slow = "x = [" + "1, " * 20_000 + "]\n"
    tagger = Code(language="python", max_parse_steps=100)
    with pytest.raises(ParseTimeout, match=r"^not parsed within code\.max_parse_steps 100$"):
        tagger.tag(DocumentBatch.from_texts(["x = 1\n", slow]))
    item = TaggedBatch(DocumentBatch.from_texts(["x = 1\n", slow, "y = 2\n", "z = 3\n"]), frozenset(["code"]))
    list(Tag(Instance("code", "code", tagger)).run([item]))
    assert item.attributes["code"].to_pydict()["num_nodes"] == [5, None, 5, 5]
    (failure,) = item.failures["code"]
    assert (failure["row"], failure["reason"]) == (1, "tagger:code:ParseTimeout")


@pytest.mark.skipif(resident_bytes() is None, reason="the system does not tell how much memory a process has")
def test_a_parse_that_takes_too_much_memory_costs_its_row() -> None:
    """Nested blocks that Scala's grammar cannot make out take the square of their length, in few steps. In a process of its
    own: memory that others have freed would hide the growth."""
    code = (
        "from tagcorpus.taggers import DocumentBatch, load\n"
        "tagger, nested = load('code', {'max_parse_memory': 32 << 20}), 'if (x) {' * 6_000\n"
        "for _ in range(2):\n"
        "    try: tagger.tag(DocumentBatch.from_texts(['x', nested], columns={'lang': [None, 'scala']}))\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
        "print(tagger.tag(DocumentBatch.from_texts([nested], columns={'lang': ['java']})).column(0))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = "ParseTooLarge parsing takes more memory than code.max_parse_memory 33,554,432"
    assert done.stdout.splitlines()[:2] == [told, told]
    assert '"java"' in done.stdout


def test_a_document_too_long_costs_its_row() -> None:
    item = TaggedBatch(DocumentBatch.from_texts(["x = 1\n", "é = 1000\n" * 5]), frozenset(["code"]))
    list(Tag(Instance("code", "code", Code(language="python", max_bytes=49))).run([item]))
    assert item.failures["code"][0]["message"] == "50 bytes, more than code.max_bytes 49"
    assert item.attributes["code"].to_pydict()["num_nodes"] == [5, None]


# Languages


@pytest.mark.parametrize(
    ("written", "language"),
    [
        ("Python", "python"), (".py", "python"), ("py", "python"), ("src/tool/main.PY", "python"), ("text/x-python", "python"),
        ("C++", "cpp"), ("cc", "cpp"), ("text/x-c++src", "cpp"), ("C#", "c_sharp"), ("c_sharp", "c_sharp"), (".h", "c"),
        ("text/x-csrc", "c"), ("application/javascript", "javascript"), ("text/javascript; charset=utf-8", "javascript"),
        ("JSX", "javascript"), ("ts", "typescript"), ("golang", "go"), ("a/b.kt", "kotlin"), ("application/x-httpd-php", "php"),
        (" Rust ", "rust"), ("build.sbt", "scala"), ("text/x-ruby", "ruby"), ("Java", "java"), ("text/html", None),
        ("Haskell", None), ("", None), ("README", None),
    ],
)  # fmt: skip
def test_how_a_column_says_it(written: str, language: str | None) -> None:
    assert known_language(written) == language


def test_the_column_decides_before_the_text() -> None:
    text = "def f(x):\n    return x\n"
    assert one(Code(), text, "ruby")["code_language"] == "ruby"
    assert one(Code(), text, "  ")["code_language"] == "python"
    assert one(Code(), text)["code_language"] == "python"
    assert one(Code(language="js"), text, "python")["code_language"] == "javascript"
    assert one(Code(column=""), text, "ruby")["code_language"] == "python"
    assert (Code().needs, Code(column="meta.lang").needs, Code(language="c").needs) == (("lang",), ("meta.lang",), ())


def test_other_languages_have_nulls() -> None:
    row = one(Code(lists=True), 'main = putStrLn "hello"\n', "Haskell")
    assert row.pop("code_language") == "haskell"
    assert set(row.values()) == {None}
    row = one(Code(), PROSE[0])
    assert row.pop("code_language") == "unknown"
    assert set(row.values()) == {None}


@pytest.mark.parametrize(("language", "text"), [*SNIPPETS, *(("unknown", text) for text in PROSE)])
def test_detection(language: str, text: str) -> None:
    assert detect(text) == language


@pytest.mark.parametrize("what", NO_LANGUAGE_OF_OURS)
def test_other_texts_are_in_none_of_the_languages(what: str) -> None:
    assert detect(NO_LANGUAGE_OF_OURS[what]) == "unknown"


def test_a_licence_is_no_evidence() -> None:
    for language, text in SNIPPETS:
        if language in ("c", "cpp", "java", "javascript"):
            assert detect(LICENCE + text) == language
    assert detect(LICENCE) == "unknown"


@pytest.mark.parametrize(("language", "text"), SNIPPETS)
def test_where_the_beginning_ends(language: str, text: str) -> None:
    """In the midst of anything: a comment, a string, a block that is never closed."""
    if language == "php":
        return
    body = text + text.replace("walk", "run").replace("Stack", "Heap") * 1
    long = body + ("/* " + "no code, but words; " * 400 + "*/\n" if language not in ("python", "ruby") else "")
    long += 'x = """' + "no code, but words. " * 400 if language == "python" else ""
    assert len(long) > 5_000 or language == "ruby"
    assert detect(long) == language


def test_twins() -> None:
    """What is valid in both belongs to the plainer one; what only one can read, to that one."""
    assert detect("export function twice(n) {\n  const m = n * 2;\n  return m;\n}\n") == "javascript"
    assert detect("export function twice(n: number) {\n  const m = n * 2;\n  return m;\n}\n") == "typescript"
    guarded = "#ifndef TWICE_H\n#define TWICE_H\nstatic int twice(int n) { return n * 2; }\n#endif\n"
    assert detect(guarded) == "c"
    assert detect(guarded.replace("static int", "constexpr auto").replace("int n", "const Number& n")) == "cpp"


def test_markup_is_php_or_nothing() -> None:
    assert detect("<html><body>\n<p><?php echo $name; ?></p>\n</body></html>\n") == "php"
    assert detect("\ufeff<?php\necho 1;\n") == "php"
    assert detect("<p>class Stack: def __init__(self):</p>\n") == "unknown"


def test_a_shebang_decides() -> None:
    assert detect("#!/usr/bin/env python3\nx\n") == "python"
    assert detect("#!/usr/bin/node\nimport os\n") == "javascript"
    assert detect("#!/bin/sh\necho\n") == "unknown"


# What it is made with


def test_the_grammars_are_in_the_version() -> None:
    told = load("code").version
    assert told.startswith("2, tree-sitter 0.")
    for nodes in LANGUAGES.values():
        assert f"{nodes.distribution} " in told


def test_parameters_that_cannot_be() -> None:
    with pytest.raises(
        ConfigError, match=r"^unknown language 'pythn' \(code\.language\): did you mean 'python'\? Known: c,"
    ):
        load("code", {"language": "pythn"})
    with pytest.raises(ConfigError, match=r"^code\.max_bytes must be at least 1, got 0$"):
        load("code", {"max_bytes": 0})


def test_what_decides_the_output() -> None:
    assert Code(language="py").fingerprint() == Code(language="python", column="x").fingerprint()
    assert Code().fingerprint() != Code(column="x").fingerprint()


@pytest.mark.e2e
def test_without_the_extra() -> None:
    code = (
        "import importlib.metadata as m, sys\n"
        "real = m.version\n"
        "def version(name):\n"
        "    if name.startswith('tree-sitter'): raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
        "from tagcorpus.taggers import load\n"
        "print(load('code').version, len(load('code').columns))\n"
        "from tagcorpus.cli import main\n"
        "sys.argv = ['tagcorpus', 'run', 'tag', '-i', sys.argv[1], '--taggers', 'code', '--dry-run', '-o', sys.argv[1] + '.out']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, __file__[:-3] + ".jsonl"], capture_output=True, text=True, check=False
    )
    assert done.stdout.split()[:2] == ["2", "9"]
    done = subprocess.run(
        [sys.executable, "-c", code.partition("from tagcorpus.cli")[0] + "load('code').fingerprint()"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "the code tagger needs tree-sitter and 13 more packages: pip install " in done.stderr
    assert len(done.stderr.splitlines()[-1]) < 600
    assert "pip install tree-sitter==0" in done.stderr
