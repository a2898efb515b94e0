"""`run filter --top`, `--tokens`, `--draw`: against sorting everything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slurm_commands import invoke

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.filtering.best import Amount
from tagcorpus.pipelines.filtering.thresholds import Block, reaches, thresholds

DOCUMENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 6), st.integers(0, 2**64 - 1), st.integers(0, 9)), max_size=80
)


@given(DOCUMENTS, st.sampled_from(["1%", "10%", "50%", "100%", "1", "7", "1000"]), st.integers(1, 60), st.booleans())
def test_thresholds_are_those_of_a_sort(
    documents: list[tuple[int, int, int, int]], text: str, n_tokens: int, by_tokens: bool
) -> None:
    """In blocks, with room for a handful of keys, so that several passes are needed."""
    unique = {(group, value, lot): size for group, value, lot, size in documents}
    rows = [(*key, size if by_tokens else 1) for key, size in unique.items()]
    amount = Amount(tokens=n_tokens) if by_tokens else Amount.read(text, "--top")

    def blocks() -> Any:
        for i in range(0, len(rows), 7):
            group, value, lot, size = zip(*rows[i : i + 7], strict=True)
            yield Block(np.array(group), np.array(value, np.uint64), np.array(lot, np.uint64), np.array(size))

    keys = thresholds(blocks, amount.goal, sampled_keys=8)
    for group in {row[0] for row in rows}:
        own = sorted((row[1:] for row in rows if row[0] == group), reverse=True)
        goal = amount.goal(len(own), sum(size for *_, size in own))
        expected, total = [], 0
        for value, lot, size in own:
            if total >= goal:
                break
            expected.append((value, lot))
            total += size
        key = keys[group]
        kept = (
            []
            if key is None
            else [
                (v, lot)
                for v, lot, _ in own
                if reaches(np.array([v], np.uint64), np.array([lot], np.uint64), *map(np.uint64, key))[0]
            ]
        )
        # Documents of size 0 at the end change nothing.
        assert [k for k in kept if unique[group, *k] or k in expected] == expected or kept == expected


@pytest.mark.parametrize("text", ["0%", "101%", "-1", "ten", "", "10.5"])
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--top takes a share such as 10%"):
        Amount.read(text, "--top")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("best")
    for name, start in (("a", 0), ("b", 300)):
        rows = [{"id": f"{i}", "text": "word " * (i * 7919 % 101)} for i in range(start, start + 300)]
        path = folder / f"in/{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tagcorpus.run(
        "tag", input=folder / "in", output=folder / "out", taggers=["length", "tokens"], chunk_bytes=32768, workers=1
    )
    return folder


def kept(folder: Path) -> list[str]:
    files = sorted((folder / "out/filtered").glob("filtered_*.jsonl")) + sorted(
        (folder / "out/filtered").glob("*/filtered_*")
    )
    return [json.loads(line)["id"] for path in files for line in path.read_text().splitlines()]


def run(folder: Path, *options: str) -> dict[str, Any]:
    done = invoke(
        "run",
        "filter",
        "-i",
        str(folder / "in"),
        "--output",
        str(folder / "out"),
        *("--set", "chunk_bytes=32768", "--workers", "1"),
        *options,
    )
    assert done.code == 0, done.err
    manifest: dict[str, Any] = json.loads((folder / "out/summary/kept.json").read_text())
    return manifest


def lengths(folder: Path) -> dict[str, int]:
    table = tagcorpus.read(folder / "out", ["length"]).to_table()
    return dict(zip(table["id"].to_pylist(), table["char_len"].to_pylist(), strict=True))


def test_the_longest_tenth(corpus: Path) -> None:
    manifest = run(corpus, "--top", "10%", "--by", "length.char_len")
    by_length, ids = lengths(corpus), kept(corpus)
    assert len(ids) == 60 == manifest["groups"][""]["kept"]
    assert min(by_length[i] for i in ids) == manifest["groups"][""]["lowest_kept"]
    assert sorted((by_length[i] for i in ids), reverse=True) == sorted(by_length.values(), reverse=True)[:60]
    assert kept(corpus) == [i for i in by_length if i in set(ids)], "in the order of the input"


def test_ties_are_broken_the_same_way_and_by_the_seed(corpus: Path) -> None:
    first = (run(corpus, "--draw", "50"), kept(corpus))
    assert (run(corpus, "--draw", "50", "--workers", "2"), kept(corpus)) == first
    assert len(first[1]) == 50
    run(corpus, "--draw", "50", "--seed", "1")
    assert kept(corpus) != first[1]


def test_until_so_many_tokens(corpus: Path) -> None:
    manifest = run(corpus, "--tokens", "1000", "--by", "length.char_len")
    tokens = tagcorpus.read(corpus / "out", ["tokens"]).to_table()
    by_id = dict(zip(tokens["id"].to_pylist(), tokens["num_tokens"].to_pylist(), strict=True))
    total = sum(by_id[i] for i in kept(corpus))
    assert total == manifest["groups"][""]["tokens_kept"]
    assert 1000 <= total < 1000 + max(by_id.values())


def test_within_groups(corpus: Path) -> None:
    manifest = run(corpus, "--top", "2", "--by", "length.char_len", "--within", "tokens.unique_tokens")
    assert all(own["kept"] == min(2, own["documents"]) for own in manifest["groups"].values())


@pytest.mark.e2e
def test_a_weighted_draw_follows_the_weights(corpus: Path) -> None:
    heavy = 0
    for seed in range(8):
        run(corpus, "--draw", "60", "--weight", "length.char_len", "--seed", str(seed))
        by_length, ids = lengths(corpus), kept(corpus)
        assert len(ids) == 60
        assert all(by_length[i] for i in ids), "a weight of 0 is never drawn"
        heavy += sum(by_length[i] > 250 for i in ids)
    assert 0.70 < heavy / 480 < 0.80, "half of the documents have three quarters of the weight"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top", "10%"], "--top needs --by"),
        (["--by", "length.char_len"], "give one of --top, --draw and --tokens for how much is kept, got none of them"),
        (["--top", "10%", "--draw", "5", "--by", "length.char_len"], "got --top and --draw"),
        (["--top", "10%", "--by", "length.char_len", "--where", "char_len > 1"], "--top and --where are two rules"),
        (["--draw", "5", "--by", "length.char_len"], "--draw chooses at random"),
        (["--top", "ten", "--by", "length.char_len"], "--top takes a share such as 10%"),
        (["--top", "10%", "--by", "language.language"], "First tagcorpus run tag"),
        (["--where", "char_len > avg(char_len) OVER ()"], "For the best of all, use --top or --tokens"),
    ],
)
def test_refusals_are_one_sentence(corpus: Path, options: list[str], message: str) -> None:
    place = ["-i", str(corpus / "in"), "--output", str(corpus / "out"), "--set", "chunk_bytes=32768"]
    done = invoke("run", "filter", *place, *options)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") <= 2
