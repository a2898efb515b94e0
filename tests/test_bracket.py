"""Entropy from above: Kneser-Ney against a plain twin, on held-out documents, whatever the pieces; and sources of known entropy."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from known_sources import sources

import tagcorpus
from tagcorpus.cli import main
from tagcorpus.errors import ConfigError
from tagcorpus.kernels import kneser_ney
from tagcorpus.kernels.ngrams import count_ngrams, unpack
from tagcorpus.kernels.packing import packing
from tagcorpus.pipelines.counting import bracket
from tagcorpus.pipelines.counting.bracket import HELD_OUT, mean_over_documents
from tagcorpus.pipelines.counting.token_budget import places
from tagcorpus.taggers._tokenizers.loading import load

pytestmark = pytest.mark.usefixtures("undrawn")

Documents = Sequence[Sequence[int]]


def naive(train: Documents, n: int, n_vocab: int) -> Any:
    """p(next | context) by dictionaries, straight from the definition."""
    counts: list[dict[tuple[int, ...], Counter[int]]] = [defaultdict(Counter) for _ in range(n + 1)]
    for document in train:
        for i in range(n, len(document)):
            counts[n][tuple(document[i - n : i])][document[i]] += 1
    for k in range(n):
        grams = {tuple(d[i : i + k + 2]) for d in train for i in range(len(d) - k - 1)}
        for gram in grams:
            counts[k][gram[1:-1]][gram[-1]] += 1
    discounts = []
    for of_order in counts:
        values = [c for follow in of_order.values() for c in follow.values()]
        once, twice = values.count(1), values.count(2)
        discounts.append(once / (once + 2 * twice) if once else 0.5)

    def p(context: tuple[int, ...], following: int, k: int) -> float:
        if k < 0:
            return 1 / n_vocab
        shorter = p(context[1:], following, k - 1)
        follow = counts[k].get(context)
        if not follow:
            return shorter
        total, d = sum(follow.values()), discounts[k]
        return max(follow[following] - d, 0) / total + d * len(follow) / total * shorter

    return lambda context, following: p(tuple(context), following, n)


# ---- the kernel


@given(st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=6), st.integers(1, 3))
def test_naive_probabilities_add_up_to_1(train: list[list[int]], n: int) -> None:
    p = naive(train, n, 10)
    for context in [train[0][:n], [0] * n, [3, 1, 2][:n]]:
        if len(context) == n:
            assert math.fsum(p(context, w) for w in range(10)) == pytest.approx(1)


@given(st.lists(st.integers(0, 2**17 - 1), min_size=3, max_size=40), st.integers(1, 6))
def test_rotating_twice_round_is_the_same(ids: list[int], n: int) -> None:
    packed = packing(n, 2**17)
    keys, _ = count_ngrams(np.array(ids, np.uint32), np.array([0, len(ids)]), packed)
    turned = keys
    for _ in range(n + 1):
        turned = kneser_ney.rotated(turned, n + 1, packed.bits)
    assert turned.tolist() == keys.tolist()
    once = unpack(kneser_ney.rotated(keys, n + 1, packed.bits), n + 1, packed.bits).tolist()
    assert once == sorted([*row[1:], row[0]] for row in unpack(keys, n + 1, packed.bits).tolist())
    assert kneser_ney.pack(unpack(keys, n + 1, packed.bits), packed.bits, packed.words).tolist() == keys.tolist()


@pytest.mark.parametrize("words", [1, 2])
def test_places_are_found_or_told_missing(words: int) -> None:
    random = np.random.default_rng(0)
    keys = np.unique(random.integers(0, 50, (60, words)).astype(np.uint64), axis=0)
    wanted = random.integers(0, 50, (200, words)).astype(np.uint64)
    listed = keys.tolist()
    assert kneser_ney.places(keys, wanted).tolist() == [listed.index(w) if w in listed else -1 for w in wanted.tolist()]
    assert kneser_ney.places(keys[:0], wanted).tolist() == [-1] * 200


@given(st.lists(st.integers(0, 4), min_size=5, max_size=60))
def test_unigrams_are_a_distribution(before: list[int]) -> None:
    p = kneser_ney.unigrams(np.array(before), len(before))
    assert p.sum() == pytest.approx(1)
    assert (p > 0).all()


# ---- the pipeline


def text(random: np.random.Generator, words: int) -> str:
    """A Markov chain over few words, so that contexts come again."""
    names = ["the", "cat", "sat", "on", "a", "mat", "and", "dog", "ran", "far"]
    at, out = 0, []
    for _ in range(words):
        at = int((at * 3 + random.integers(0, 3)) % len(names))
        out.append(names[at])
    return " ".join(out)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(4)
    path = tmp_path_factory.mktemp("corpus") / "c.jsonl"
    lines = [json.dumps({"id": str(i), "text": text(random, int(random.integers(0, 40)))}) for i in range(120)]
    path.write_text("\n".join(lines) + "\n")
    return path


def run(corpus: Path, output: Path, **options: Any) -> dict[str, Any]:
    result = tagcorpus.run("entropy", input=[str(corpus)], output=str(output), **{"workers": 1, **options})
    assert isinstance(result.summary, dict)
    return result.summary


def expected(corpus: Path, n: int, share: float, seed: int) -> dict[str, Any]:
    """By the twin, with the same documents held out."""
    tokenizer = load("p50k_base", engine="tiktoken")
    texts = [json.loads(line)["text"] for line in corpus.read_text().splitlines()]
    ids = [tokenizer.encode_batch([t]).ids.tolist() for t in texts]
    rows = np.arange(len(ids))
    place = places("c.jsonl", rows, np.zeros(len(ids), np.int32), seed, HELD_OUT)
    is_held = place < np.uint64(int(share * (1 << 64)))
    p = naive([d for d, h in zip(ids, is_held, strict=True) if not h], n, tokenizer.n_vocab)
    documents = []
    for document, held in zip(ids, is_held, strict=True):
        if held and len(document) > n:
            bits = [-math.log2(p(document[i - n : i], document[i])) for i in range(n, len(document))]
            documents.append((math.fsum(bits), len(bits)))
    return mean_over_documents(documents)


@pytest.mark.parametrize(
    ("n", "pieces"),
    [(1, {}), (2, {"chunk_positions": 60, "interval_entries": 25, "chunk_bytes": 2048}), (4, {"interval_entries": 40})],
)
def test_the_pipeline_is_the_twin_whatever_the_pieces(
    corpus: Path, tmp_path: Path, n: int, pieces: dict[str, int]
) -> None:
    found = run(corpus, tmp_path / "out", ngram=n, bracket=0.3, seed=1, **pieces)["bracket"]
    want = expected(corpus, n, 0.3, 1)
    assert (found["documents"], found["positions"]) == (want["documents"], want["positions"])
    assert found["cross_entropy"] == pytest.approx(want["cross_entropy"], rel=1e-12)
    assert found["standard_error"] == pytest.approx(want["standard_error"], rel=1e-9)
    assert len(found["discounts"]) == n + 1
    assert not (tmp_path / "out" / "spill").exists()


def test_pieces_change_no_bit_and_a_second_run_reads(corpus: Path, tmp_path: Path) -> None:
    whole = run(corpus, tmp_path / "a", ngram=2, bracket=0.25)
    cut = run(
        corpus,
        tmp_path / "b",
        ngram=2,
        bracket=0.25,
        chunk_positions=40,
        interval_entries=15,
        chunk_bytes=1024,
        workers=2,
    )
    assert cut["bracket"] == whole["bracket"]
    again = run(corpus, tmp_path / "a", ngram=2, bracket=0.25)
    assert again["bracket"] == whole["bracket"]
    other = run(corpus, tmp_path / "a", ngram=2, bracket=0.25, seed=3)
    assert other["bracket"]["cross_entropy"] != whole["bracket"]["cross_entropy"]
    page = CliRunner().invoke(main, ["report", str(tmp_path / "a")])
    assert page.exit_code == 0, page.output
    assert "Kneser-Ney on held-out documents (an upper bound" in (tmp_path / "a/report.html").read_text()
    plain = run(corpus, tmp_path / "c", ngram=2)
    assert "bracket" not in plain
    assert {k: v for k, v in whole.items() if k != "bracket"} == plain


def test_a_share_that_holds_nothing_out_says_so(corpus: Path, tmp_path: Path) -> None:
    found = run(corpus, tmp_path / "out", ngram=1, bracket=1e-12)["bracket"]
    assert (found["documents"], found["cross_entropy"], found["standard_error"]) == (0, None, None)


@pytest.mark.parametrize(
    "options",
    [{"bracket": 0.0}, {"bracket": 1.0}, {"bracket": 0.1, "token_cache": False}, {"bracket": 0.1, "method": "lm"}],
)
def test_what_does_not_go(corpus: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="bracket"):
        run(corpus, tmp_path / "out", ngram=1, **options)


def test_the_standard_error_is_that_of_a_ratio_over_documents() -> None:
    random = np.random.default_rng(0)
    means, errors = [], []
    for _ in range(400):
        sizes = random.integers(5, 50, 40)
        bits = [float(m * (2 + random.normal())) for m in sizes]
        told = mean_over_documents(list(zip(bits, sizes.tolist(), strict=True)))
        means.append(told["cross_entropy"])
        errors.append(told["standard_error"])
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.1)
    assert mean_over_documents([(6.0, 3)])["standard_error"] is None


# ---- sources of known entropy; benchmarks/entropy_bracket.py has more and larger ones


@pytest.mark.parametrize(("number", "n"), [(1, 1), (2, 1), (3, 2), (4, 2)])
def test_the_truth_lies_in_the_bracket(tmp_path: Path, number: int, n: int) -> None:
    source = sources()[number]
    path = source.write(tmp_path / "c.jsonl", 8_000, seed=5)
    found = run(path, tmp_path / "out", ngram=n, bracket=0.2)
    assert found["num_tokens"] == pytest.approx(8_000, rel=0.15)  # a word is a token
    truth, upper = source.entropy[n], found["bracket"]
    assert upper["plug_in"] == found["estimates"]["plug_in"]
    assert found["estimates"]["plug_in"] < truth < upper["cross_entropy"] + 2 * upper["standard_error"]
    assert found["estimates"]["chao_wang_jost"] < truth + 0.1
    assert upper["cross_entropy"] - found["estimates"]["chao_wang_jost"] < 0.25 * source.entropy[1] + 1.0


def test_working_files_that_are_damaged_are_made_anew(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merged file that is cut short before it is read again is found out, and the run goes on to the same figures."""
    whole = run(corpus, tmp_path / "a", ngram=2, bracket=0.25)
    look_up, damaged = bracket.LookUp.run, list[Path]()

    def then_damage(self: bracket.LookUp, data: Any = None, rank: int = 0, world_size: int = 1) -> Any:
        yield from look_up(self, data, rank, world_size)
        held = self.level.held
        if held is not None and not damaged:
            path = tmp_path / "b" / held.merged_name(rank)
            path.write_bytes(path.read_bytes()[:-20])
            damaged.append(path)

    monkeypatch.setattr(bracket.LookUp, "run", then_damage)
    assert run(corpus, tmp_path / "b", ngram=2, bracket=0.25)["bracket"] == whole["bracket"]
    assert damaged


def test_the_lower_sides_standard_error_is_that_of_plug_in_values() -> None:
    """Documents of one topic each; unigrams, so that a plug-in value is a line of numpy."""
    random = np.random.default_rng(0)
    topics = random.dirichlet(np.full(30, 0.3), 5)
    values, errors = [], []
    for _ in range(150):
        documents = [random.choice(30, 50, p=topics[random.integers(5)]) for _ in range(200)]
        shares = np.bincount(np.concatenate(documents), minlength=30) / 10_000
        cost = -np.log2(np.maximum(shares, 1e-9))
        values.append(float((shares * cost).sum()))
        upper = mean_over_documents([(float(cost[d].sum()), 50) for d in documents[:60]])
        errors.append(bracket.with_lower(upper, values[-1], 10_000)["plug_in_standard_error"])
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)
