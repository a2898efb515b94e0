"""Repetition tagger against the reference outputs and its naive twin; the word splitter against NLTK itself."""

from __future__ import annotations

import ast
import itertools
import pickle
import random
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import more, tries

import naive
from tagcorpus import taggers
from tagcorpus.errors import ConfigError
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._tokenizers.punkt import Punkt
from tagcorpus.taggers._tokenizers.words import WordNumbers
from tagcorpus.taggers.repetition import PRESETS, Repetition, duplicate_ngram_ratios, longest_run

# What the rules of NLTK look at: marks, quotes, brackets, clitics, contractions, abbreviations, numbers, every kind of
# whitespace, and characters that change or keep their case in unusual ways.
FRAGMENTS = [
    *[
        "?",
        "!",
        ".",
        ".",
        ".",
        "..",
        "...",
        "'",
        '"',
        "''",
        "``",
        "`",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "<",
        ">",
        "»",
        "«",
        "”",
        "“",
        "’",
        "‘",
        "„",
        ",",
        ":",
        ";",
        "-",
        "--",
        "—",
        "–",
        "…",
        "*",
        "&",
        "#",
        "@",
        "%",
        "$",
        "/",
        "\\",
        "^",
        "~",
        "|",
        "+",
        "=",
        "_",
    ],
    *[
        "a",
        "b",
        "i",
        "x",
        "s",
        "t",
        "d",
        "m",
        "k",
        "ll",
        "re",
        "ve",
        "n't",
        "'s",
        "'ll",
        "'S",
        "cannot",
        "gonna",
        "wanna",
        "gimme",
        "d'ye",
        "more'n",
        "'tis",
        "'twas",
        "lemme",
        "gotta",
    ],
    *[
        "dr",
        "mr.",
        "e.g",
        "u.s",
        "st",
        "jan",
        "etc",
        "inc",
        "corp",
        "p.m",
        "j.",
        "the",
        "but",
        "he",
        "in",
        "cos",
        "said",
        "1",
        "12",
        "3.5",
        ",000",
        "-1",
        ".5",
        "10.",
        "##number##",
        "٣",
        "²",
        "½",
    ],
    *[
        "K",
        "İ",
        "ı",
        "ſ",
        "𝐀",
        "𝐓𝐡𝐞",
        "ß",
        "ẞ",
        "é",
        "Σ",
        "ς",
        "中",
        "。",
        "😀",
        "́",
        "\xad",
        "\ufeff",
        "\x00",
        "\u200b",
    ],
    *(" ", "  ", "\n", "\n\n", "\n \n", "\t", "\r\n", "\x0b", "\x1c", "\x85", "\xa0", "\u2028", "\u3000"),
]


WORDS = WordNumbers()


def tag(texts: list[str], **parameters: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Repetition(**parameters).tag(DocumentBatch.from_texts(texts)).to_pylist()
    return rows


@pytest.fixture(scope="module")
def numbers() -> WordNumbers:
    return WordNumbers()


def same_words(numbers: WordNumbers, text: str) -> None:
    """Spelling and numbering of the words, first and repeated time, equal NLTK's."""
    expected = naive.nltk_word_tokenize()(text.lower())
    assert numbers.words(text) == expected
    for found in (numbers(text).tolist(), numbers(text).tolist()):
        assert len(found) == len(expected)
        assert len(set(zip(found, expected, strict=True))) == len(set(found)) == len(set(expected))


def repaired(document: dict[str, Any]) -> str:
    text: str = document["text"]
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@pytest.mark.parametrize(("preset", "key"), [("strict", "filter_main"), ("lenient", "filter_default")])
def test_equals_the_reference_outputs(golden_docs: list[dict[str, Any]], preset: str, key: str) -> None:
    rows = tag([repaired(d) for d in golden_docs], preset=preset)
    for row, document in zip(rows, golden_docs, strict=True):
        expected = document["repetition"]
        assert row["reason"] == document[key]["reason"], document["id"]
        assert row["is_kept"] == document[key]["passed"]
        assert row["duplicate_line_ratio"] == expected["line_dup"]
        assert row["duplicate_paragraph_ratio"] == expected["para_dup"]
        assert row["duplicate_2gram_ratio"] == expected["ngram2"], document["id"]
        assert row["duplicate_3gram_ratio"] == expected["ngram3"], document["id"]
        assert (row["longest_word_run"] > 50) == expected["pathological_50"]


def test_words_equal_the_reference_count(golden_docs: list[dict[str, Any]], numbers: WordNumbers) -> None:
    for document in golden_docs:
        assert len(numbers(repaired(document))) == document["repetition"]["n_words"], document["id"]


def test_words_equal_nltk_on_the_reference_documents(golden_docs: list[dict[str, Any]], numbers: WordNumbers) -> None:
    for document in golden_docs:
        same_words(numbers, repaired(document))


@pytest.mark.e2e
def test_words_equal_nltk_on_docstrings_of_the_standard_library(numbers: WordNumbers) -> None:
    """English with quotes, abbreviations, code and tables; about half a megabyte."""
    seen = 0
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        tree = ast.parse(path.read_bytes())
        nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
        text = "\n\n".join(doc for doc in map(ast.get_docstring, nodes) if doc)
        same_words(numbers, text)
        seen += len(text)
        if seen > 500_000:
            break
    assert seen > 400_000


def test_words_equal_nltk_on_awkward_fragments(numbers: WordNumbers) -> None:
    chance = random.Random(7)
    for _ in range(tries(5000)):
        few = chance.sample(FRAGMENTS, chance.randint(2, 14))
        text = "".join(chance.choices([*few, " ", " "], k=chance.randint(1, 40)))
        same_words(numbers, text)


@more(4)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_words_equal_nltk_on_any_text(text: str) -> None:
    same_words(WORDS, text)


@more(4)
@given(st.text(st.sampled_from(" \n.?!,:'\"`-)([ab1"), max_size=30))
def test_words_equal_nltk_on_marks(text: str) -> None:
    same_words(WORDS, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \n\t ", []),
        ("I can't.", ["i", "ca", "n't", "."]),
        ("it's\nso", ["it's", "so"]),
        ("it's so", ["it", "'s", "so"]),
        ('say\n"hi" and "ho"', ["say", "''", "hi", "''", "and", "``", "ho", "''"]),
        ("Dr. No met Mr. X. He left.", ["dr.", "no", "met", "mr.", "x.", "he", "left", "."]),
        ('He left. ) "', ["he", "left", ".", ")", "``"]),
        ("10,000, 3.5%: e.g. x", ["10,000", ",", "3.5", "%", ":", "e.g", ".", "x"]),
    ],
)
def test_words_by_example(numbers: WordNumbers, text: str, words: list[str]) -> None:
    assert naive.nltk_word_tokenize()(text.lower()) == words
    assert numbers.words(text) == words


def test_sentences_by_example() -> None:
    text = 'dr. no left. (he said "so.") mr. x saw 3. now! and'
    found = [text[start:end] for start, end in Punkt().sentence_spans(text)]
    assert found == ["dr. no left.", '(he said "so.")', "mr. x saw 3. now!", "and"]


def test_remembered_pieces_are_bounded_and_the_first_are_kept() -> None:
    fresh = WordNumbers()
    many = [f"w{i:07d}" for i in range(260_000)]
    assert len(set(fresh(" ".join(many)).tolist())) == 260_000
    assert fresh.remembered == 260_000
    text = " ".join(["new", *many[:10], "gonna", *many[-10:], *many[60_000:70_000], "new", "gonna"])
    same_words(fresh, text)
    assert 65_000 < fresh.remembered < 80_000


def test_words_of_megabytes_are_not_kept() -> None:
    fresh = WordNumbers()
    for letter in "abc":
        assert len(fresh(f"{letter * 9_000_000} and and so")) == 4
    same_words(fresh, "so and so")
    assert fresh.remembered < 10


def test_long_pieces_are_not_remembered() -> None:
    fresh = WordNumbers()
    assert len(fresh("x" * 1000 + " y")) == 2
    assert fresh.remembered == 1


def test_lone_surrogates_count_as_replacement_characters(numbers: WordNumbers) -> None:
    assert numbers.words("a \ud800b\udfff c") == ["a", "\ufffdb\ufffd", "c"]


@pytest.mark.parametrize("preset", ["strict", "lenient"])
def test_each_threshold_is_passed_at_it_and_not_beyond_it(preset: Any) -> None:
    limits = PRESETS[preset]
    filler = " ".join(f"w{i}" for i in range(80))

    def reason(text: str, **parameters: Any) -> str:
        row = tag([text], preset=preset, **parameters)[0]
        everything = {**limits, **parameters}
        assert row == naive.repetition(
            text,
            everything["line_threshold"],
            everything["paragraph_threshold"],
            everything["ngram_threshold"],
            everything["min_length"],
        )
        return str(row["reason"])

    length = int(limits["min_length"])
    assert reason(filler[: length - 1].rstrip().ljust(length - 1, "x")) == "too_short"
    assert reason(filler[:length].rstrip().ljust(length, "x")) == "passed"

    assert reason(filler + " No" * 25 + " no" * 25) == "passed"
    assert reason(filler + " No" * 25 + " no" * 26) == "pathological_repetition"

    lax = {"line_threshold": 1.0, "paragraph_threshold": 1.0, "ngram_threshold": 1.0}

    def lines(total: int, ratio: float, joint: str) -> str:
        distinct = total - round(total * ratio)
        return joint.join(f"line {i if i < distinct else 0} of {filler}" for i in range(total))

    for name, joint, other in (
        ("line", "\n", {"paragraph_threshold": 1.0, "ngram_threshold": 1.0}),
        ("paragraph", "\n \n", {"line_threshold": 1.0, "ngram_threshold": 1.0}),
    ):
        limit = limits[f"{name}_threshold"]
        assert reason(lines(10, limit, joint), **other) == "passed"
        assert reason(lines(10, limit + 0.1, joint), **other) == f"extreme_{name}_repetition"
        assert reason(lines(10, limit + 0.1, joint), **lax) == "passed"

    # 2-grams of a cycle of d words: total t, distinct d, so 1 - d / t.
    def cycle(distinct: int, total: int) -> str:
        return " ".join(f"word{i % distinct}" for i in range(total + 1))

    limit = limits["ngram_threshold"]
    distinct = round(100 * (1 - limit))
    assert reason(cycle(distinct, 100)) == "passed"
    assert reason(cycle(distinct - 1, 100)) == "degenerate_repetition"
    # 3-grams alone beyond the limit: 2-grams repeat at least as often, so only a limit of its own can tell; both count.
    assert tag([cycle(distinct - 1, 100)], preset=preset)[0]["duplicate_3gram_ratio"] > limit


def test_rules_apply_in_order_and_all_figures_are_there() -> None:
    text = "\n\n".join(["same " * 60] * 10)
    row = tag([text], min_length=10_000)[0]
    assert row["reason"] == "too_short"
    assert (row["longest_word_run"], row["duplicate_line_ratio"], row["duplicate_paragraph_ratio"]) == (600, 0.9, 0.9)
    assert min(row["duplicate_2gram_ratio"], row["duplicate_3gram_ratio"]) > 0.9
    assert tag([text])[0]["reason"] == "pathological_repetition"
    mixed = "\n\n".join(["same line of words"] * 20)
    assert tag([mixed])[0]["reason"] == "extreme_line_repetition"
    assert tag([mixed], line_threshold=1.0)[0]["reason"] == "extreme_paragraph_repetition"
    assert tag([mixed], line_threshold=1.0, paragraph_threshold=1.0)[0]["reason"] == "degenerate_repetition"


@pytest.mark.parametrize("text", ["", " ", "\n\n \n", "one", "one two"])
def test_documents_with_nothing_to_count(text: str) -> None:
    row = tag([text])[0]
    assert (row["reason"], row["is_kept"]) == ("too_short", False)
    assert row["duplicate_2gram_ratio"] == row["duplicate_3gram_ratio"] == row["duplicate_line_ratio"] == 0.0
    assert row["longest_word_run"] == (1 if text.strip() else 0)
    assert tag([text], min_length=0)[0]["reason"] == "passed"


@more(2)
@given(
    st.lists(st.text(st.sampled_from("aB é.\n\x85"), max_size=80), max_size=5),
    st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)
def test_equals_the_naive_twin(texts: list[str], ngram_threshold: float) -> None:
    expected = [naive.repetition(text, 0.6, 0.6, ngram_threshold, 5) for text in texts]
    assert tag(texts, ngram_threshold=ngram_threshold, min_length=5) == expected


@pytest.mark.e2e
def test_ngrams_of_more_words_than_fit_one_integer_together() -> None:
    distinct = np.arange((1 << 21) + 3)
    assert duplicate_ngram_ratios(distinct) == (0.0, 0.0)
    doubled = np.concatenate([distinct, distinct])
    n = len(distinct)
    assert duplicate_ngram_ratios(doubled) == ((n - 1) / (2 * n - 1), (n - 2) / (2 * n - 2))


def test_ngrams_of_large_numbers() -> None:
    """Few words: 12 21 12 21, 121 212 121."""
    assert duplicate_ngram_ratios(np.array([1, 2, 1, 2, 1]) << 40) == (0.5, 1 / 3)


@pytest.mark.parametrize(
    ("words", "expected"), [([], 0), (["a"], 1), (["a", "b"], 1), (["a", "b", "b", "b", "a", "a"], 3)]
)
def test_longest_run(words: list[str], expected: int) -> None:
    assert longest_run(words) == expected


def test_fingerprint_holds_the_thresholds_in_force() -> None:
    assert Repetition().fingerprint() == {
        "line_threshold": 0.6,
        "paragraph_threshold": 0.6,
        "ngram_threshold": 0.5,
        "min_length": 50,
    }
    same = Repetition(line_threshold=0.8, paragraph_threshold=0.7, ngram_threshold=0.6, min_length=200)
    assert same.fingerprint() == Repetition("lenient").fingerprint()
    assert Repetition(line_threshold=1).fingerprint() == Repetition(line_threshold=1.0).fingerprint()
    assert Repetition(min_length=0).fingerprint()["min_length"] == 0


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"preset": "harsh"}, "strict or lenient, got 'harsh'"),
        ({"line_threshold": 1.5}, "line_threshold must lie between 0 and 1 (a share of duplicates), got 1.5"),
        ({"ngram_threshold": float("nan")}, "ngram_threshold must lie between 0 and 1"),
        ({"min_length": -1}, "min_length must be 0 or more characters, got -1"),
    ],
)
def test_parameters_that_make_no_sense(parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Repetition(**parameters)
    assert sentence in str(raised.value)


def test_wrong_types_are_refused_by_load() -> None:
    with pytest.raises(ConfigError, match="preset"):
        taggers.load("repetition", {"preset": "harsh"})
    with pytest.raises(ConfigError, match="min_length"):
        taggers.load("repetition", {"min_length": 1.5})


def test_the_pickle_carries_parameters_only() -> None:
    used = Repetition(min_length=3)
    first = used.tag(DocumentBatch.from_texts(["a b a b", ""]))
    copy = pickle.loads(pickle.dumps(used))
    assert len(pickle.dumps(used)) < 500
    assert copy == used
    assert copy.tag(DocumentBatch.from_texts(["a b a b", ""])).equals(first)


def test_nltk_is_not_loaded() -> None:
    """Its release must not decide our figures, and its import costs half a second."""
    program = (
        "import sys; from tagcorpus.taggers._interface.batch import DocumentBatch; from tagcorpus.taggers.repetition import TAGGER;"
        "TAGGER().tag(DocumentBatch.from_texts(['A b. C d.'])); sys.exit('nltk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    "text",
    [
        "x" * 200_000,
        "no " * 60_000,
        "\n" * 200_000,
        "." * 200_000,
        "'" * 200_000,
        "-" * 200_000,
        '"' * 200_000,
        "a.a." * 50_000,
        ".' " * 60_000,
        ". " * 90_000,
        "!" * 200_000,
        "a.) " * 50_000,
        "e.g.)" * 40_000,
        "a." + " " * 200_000 + "b",
        "a.\n" * 60_000,
        "can't" * 40_000,
        ".\u3000a" * 60_000,
        ",:" * 90_000,
    ],
    ids=lambda text: f"{text[:6]!r}",
)
def test_monotonous_documents_end(text: str) -> None:
    """200 kB each, 40 kB by hand: anything quadratic would take hours or minutes; its figures must be right all the same."""
    text = text[: tries(len(text))]
    row = tag([text])[0]
    words = WORDS.words(text)
    pairs = list(itertools.pairwise(words))
    assert row["duplicate_2gram_ratio"] == ((len(pairs) - len(set(pairs))) / len(pairs) if pairs else 0.0)
    assert row["longest_word_run"] == max((len(list(same)) for _, same in itertools.groupby(text.split())), default=0)
