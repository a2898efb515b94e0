"""run entropy: exact against the reference and a naive twin, whatever the pieces, and unharmed by damage."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from slurm_commands import invoke

import tagcorpus
from tagcorpus.cli import main
from tagcorpus.errors import ConfigError, DamagedError, OutputError
from tagcorpus.pipelines.counting.corpus import check_disk
from tagcorpus.pipelines.counting.phases import count, merge, until_sound
from tagcorpus.pipelines.dispatch.conduct import begin
from tagcorpus.pipelines.dispatch.planning import plan_of
from tagcorpus.pipelines.entropy import _corpus, _packed
from tagcorpus.pipelines.options.commands.entropy import EntropyOptions
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.taggers._tokenizers.loading import load

pytestmark = pytest.mark.usefixtures("undrawn")

TEXTS = [
    "The committee met on Tuesday, and the committee met again on Friday.",
    "",
    "x",
    "the the the the the the",
    "日本語の文章です。これは短い例です。これは短い例です。",
    "A cat sat on the mat; a dog sat on the log; a cat sat on the dog.",
    "1 2 3 1 2 3 1 2 4 1 2 3",
]


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"id": f"d{i}", "text": t}) + "\n" for i, t in enumerate(texts)))
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty documents in one file."""
    texts = [f"{t} {i % 3}" if t else t for i in range(6) for t in TEXTS]
    return write(tmp_path_factory.mktemp("corpus") / "docs.jsonl", texts)


def texts_of(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


Context = tuple[int, ...]


def naive(texts: list[str], n: int) -> tuple[dict[Context, Counter[int]], list[list[Context]]]:
    """Next tokens of every context, and the contexts of every document."""
    tokenizer = load("p50k_base", engine="tiktoken")
    following: dict[Context, Counter[int]] = defaultdict(Counter)
    contexts = []
    for text in texts:
        ids = tokenizer.encode_batch([text]).ids.tolist()
        own = [tuple(ids[i : i + n]) for i in range(len(ids) - n)]
        contexts.append(own)
        for context, after in zip(own, ids[n:], strict=True):
            following[context][after] += 1
    return following, contexts


def entropy(counts: Counter[int]) -> float:
    total = sum(counts.values())
    return -sum(c / total * math.log2(c / total) for c in counts.values()) + 0.0


def run(path: Path, output: Path, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = tagcorpus.run(
        "entropy", input=str(path), output=str(output), **{"workers": 1, **options}
    ).summary
    return found


def parts(output: Path) -> dict[str, bytes]:
    """Everything that is published, the runs' own notes left out."""
    folders = ("attributes", "summary", "quarantine", "contexts")
    files = [p for f in folders for p in sorted((output / f).rglob("*")) if p.is_file()]
    return {str(p.relative_to(output)): p.read_bytes() for p in files}


@pytest.mark.parametrize("n", [1, 2, 3])
def test_equals_the_reference(golden: Path, tmp_path: Path, n: int) -> None:
    reference = json.loads((golden / "entropy.json").read_text())["corpora"]["all"]
    docs = {d["id"]: d["text"] for d in map(json.loads, (golden / "docs.jsonl").read_text().splitlines())}
    path = write(tmp_path / "docs.jsonl", [docs[i] for i in reference["doc_ids"]])
    whole = run(path, tmp_path / "whole", ngram=n)
    spilled = run(path, tmp_path / "cut", ngram=n, chunk_bytes=50_000, chunk_positions=3000, interval_entries=2000)
    wanted = reference["by_n"][str(n)]["token_ids"]
    for found in (whole, spilled):
        assert found["num_unique_contexts"] == wanted["num_unique_contexts"]
        assert found["total_contexts"] == wanted["total_contexts"]
        assert found["num_zero_entropy_contexts"] == wanted["num_zero_entropy_contexts"]
        for key in ("mean_corpus_entropy", "median_corpus_entropy", "weighted_mean_entropy", "max_entropy"):
            assert found[key] == pytest.approx(wanted[key], abs=1e-9), key
        assert found["distribution_percentiles"] == pytest.approx(wanted["distribution_percentiles"], abs=1e-9)
    pieces = {"corpus"}  # the identity of chunks, which are cut otherwise
    assert {k: v for k, v in whole.items() if k not in {*pieces, "counts", "instances"}} == {
        k: v for k, v in spilled.items() if k not in {*pieces, "counts", "instances"}
    }


@pytest.mark.parametrize("n", [1, 2, 5])
def test_documents_equal_the_twin(corpus: Path, tmp_path: Path, n: int) -> None:
    run(corpus, tmp_path / "out", ngram=n, chunk_bytes=1024, chunk_positions=40, interval_entries=50, contexts=True)
    following, contexts = naive(texts_of(corpus), n)
    entropies = {c: entropy(f) for c, f in following.items()}
    name = f"entropy-{n}gram"
    rows = tagcorpus.read(str(tmp_path / "out"), [name]).to_table().to_pylist()
    assert [r["id"] for r in rows] == [f"d{i}" for i in range(len(contexts))]
    for row, own in zip(rows, contexts, strict=True):
        values = [entropies[c] for c in own]
        assert row["entropy_positions"] == len(values)
        wanted = (np.mean(values), np.std(values), min(values), max(values)) if values else (None,) * 4
        found = tuple(row[f"entropy_{k}"] for k in ("mean", "std", "min", "max"))
        assert found == (wanted if not values else pytest.approx(wanted, abs=1e-9))
    table = pq.read_table(tmp_path / "out" / "contexts" / f"{name}.parquet").to_pylist()
    assert [tuple(r["ids"]) for r in table] == sorted(following)
    for r in table:
        counts = following[tuple(r["ids"])]
        assert (r["count"], r["distinct_next"]) == (sum(counts.values()), len(counts))
        assert r["entropy_bits"] == pytest.approx(entropy(counts), abs=1e-9)


def test_pieces_change_no_figure(corpus: Path, tmp_path: Path) -> None:
    wanted = run(corpus, tmp_path / "whole", ngram=2, token_budget=100, replicates=2)
    table = tagcorpus.read(str(tmp_path / "whole"), ["entropy-2gram"]).to_table()
    apart = ("corpus", "instances", "counts")  # what is said of pieces there is said of these pieces
    for i, pieces in enumerate([{"chunk_bytes": 1024, "chunk_positions": 300}, {"chunk_positions": 7}]):
        found = run(corpus, tmp_path / str(i), ngram=2, token_budget=100, replicates=2, **pieces)
        assert {k: v for k, v in found.items() if k not in apart} == {k: v for k, v in wanted.items() if k not in apart}
        assert tagcorpus.read(str(tmp_path / str(i)), ["entropy-2gram"]).to_table().equals(table)


def test_several_runs_a_range_change_no_figure(tmp_path: Path) -> None:
    """A run holds whole batches of documents, and a batch 1,024 of them."""
    path = write(tmp_path / "many.jsonl", [f"{TEXTS[i % len(TEXTS)]} {i}" for i in range(2500)])
    apart = ("corpus", "instances", "counts")
    found = []
    for name, chunk in (("one", 10**6), ("three", 7)):
        summary = run(path, tmp_path / name, ngram=2, chunk_positions=chunk, interval_entries=40)
        table = tagcorpus.read(str(tmp_path / name), ["entropy-2gram"]).to_table()
        found.append(({k: v for k, v in summary.items() if k not in apart}, table.to_pylist()))
    assert found[0] == found[1]


def test_workers_and_cache_change_no_byte(corpus: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"chunk_bytes": 1024, "ngram": 2, "interval_entries": 60, "contexts": True}
    run(corpus, tmp_path / "one", workers=1, **options)
    run(corpus, tmp_path / "two", workers=2, token_cache=False, **options)
    assert parts(tmp_path / "one") == parts(tmp_path / "two")
    assert not (tmp_path / "two" / "tokens").exists()
    assert not (tmp_path / "one" / "spill").exists()


def test_nothing_is_done_twice(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(corpus, out, ngram=1)
    before = {p: p.stat().st_mtime_ns for p in (out / "attributes").rglob("*.parquet")}
    run(corpus, out, ngram=1)
    assert before == {p: p.stat().st_mtime_ns for p in (out / "attributes").rglob("*.parquet")}
    ledgers = sorted((out / "runs").glob("*/ledger.json"), key=lambda p: p.stat().st_mtime_ns)
    assert all(r["is_resumed"] for r in json.loads(ledgers[-1].read_text())["ranges"])


def test_a_longer_corpus_changes_every_document(tmp_path: Path) -> None:
    path = write(tmp_path / "grows.jsonl", TEXTS)
    run(path, tmp_path / "out", ngram=1)
    write(path, [*TEXTS, "The committee met on Monday."])
    again = run(path, tmp_path / "out", ngram=1)
    fresh = run(path, tmp_path / "fresh", ngram=1)
    assert again == fresh
    assert parts(tmp_path / "out") == parts(tmp_path / "fresh")


def test_a_token_budget(corpus: Path, tmp_path: Path) -> None:
    found = run(corpus, tmp_path / "out", ngram=1, token_budget=200, replicates=4, chunk_bytes=1024)["token_budget"]
    assert len(found["samples"]) == 4
    for sample in found["samples"]:
        assert 200 - 40 <= sample["tokens"] <= 200  # the longest document has fewer than 40
    assert found["weighted_mean_entropy"]["low"] < found["weighted_mean_entropy"]["mean"]
    other = run(corpus, tmp_path / "other", ngram=1, token_budget=200, replicates=4, seed=1)["token_budget"]
    assert other["samples"] != found["samples"]


def test_intervals_of_an_earlier_version_are_computed_anew_once_with_a_message(corpus: Path, tmp_path: Path) -> None:
    message = "token budget: stored samples are kept, and their confidence intervals are computed anew"

    def result() -> tuple[dict[str, Any], bool]:
        settings: dict[str, Any] = {"ngram": 1, "token_budget": 200, "replicates": 4, "workers": 1}
        done = tagcorpus.run("entropy", input=str(corpus), output=str(tmp_path / "out"), **settings)
        return done.summary["token_budget"], message in done.messages

    first, is_said = result()
    assert not is_said
    (path,) = (tmp_path / "out/summary").glob("entropy*.json")
    summary = json.loads(path.read_text())
    del summary["token_budget"]["widened_by"], summary["checksum"]
    path.write_text(json.dumps(summary))
    assert result() == (first, True)
    assert result() == (first, False)


def test_the_whole_corpus_as_budget_is_the_corpus(corpus: Path, tmp_path: Path) -> None:
    total = run(corpus, tmp_path / "out", ngram=2)["num_tokens"]
    found = run(corpus, tmp_path / "out", ngram=2, token_budget=total, replicates=1)
    (sample,) = found["token_budget"]["samples"]
    for key in ("num_unique_contexts", "total_contexts", "mean_corpus_entropy", "weighted_mean_entropy"):
        assert sample[key] == found[key]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ngram": 0}, "^ngram must be at least 1"),
        ({"memory": "1MB"}, "a worker needs at least"),
        ({"memory": "much"}, "^memory takes a size"),
        ({"ngram": 9}, "^ngram=9"),
        ({"method": "guess"}, "unknown method 'guess'"),
        ({"token_budget": 10**6}, "the corpus has"),
        ({"token_budget": 0}, "must be at least 1"),
        ({"token_budget": 100, "token_cache": False}, "token_cache=False"),
        ({"tokenizer": "p50k_bass"}, "did you mean 'p50k_base'"),
    ],
)
def test_what_cannot_be(corpus: Path, tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        run(corpus, tmp_path / "out", **options)


@pytest.mark.parametrize("texts", [[], ["", "", ""], ["x", "y"]])
def test_a_corpus_without_contexts(tmp_path: Path, texts: list[str]) -> None:
    result = tagcorpus.run(
        "entropy",
        input=str(write(tmp_path / "docs.jsonl", texts)),
        output=str(tmp_path / "out"),
        ngram=2,
        allow_empty=True,
    )
    assert result.exit_code == 0
    assert result.summary["mean_corpus_entropy"] is None
    assert result.summary["total_contexts"] == 0
    assert "has more than 2 tokens" in result.messages[0]
    table = tagcorpus.read(str(tmp_path / "out"), ["entropy-2gram"]).to_table()
    assert table["entropy_mean"].null_count == len(texts)


def test_a_corpus_that_does_not_fit_on_the_disk(tmp_path: Path) -> None:
    output = Folder(str(tmp_path / "not" / "there" / "yet"))
    assert 10**6 < check_disk(output, 10**6, 1, is_cached=True) < 2 * 10**6
    with pytest.raises(
        OutputError, match=r"needs about .* GB while the run lasts, and .* GB are free.*--no-token-cache"
    ):
        check_disk(output, 10**18, 1, is_cached=True)


def test_the_published_options_work(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(
        "run", "entropy", "--input", str(corpus), "--text_column", "text", "--num_docs", "20", "--output", "x.json"
    )
    assert done.code == 0, done.err
    assert "bigram entropy" in done.out
    found = json.loads((tmp_path / "x.json").read_text())
    assert found["num_documents"] == 20
    assert found["mean_corpus_entropy"] == pytest.approx(
        np.mean([entropy(c) for c in naive(texts_of(corpus)[:20], 1)[0].values()]), abs=1e-9
    )
    assert invoke("run", "entropy", "--input", str(corpus), "--ngram", "0").code == 2


IN_PIECES: dict[str, Any] = {"chunk_bytes": 1024, "ngram": 2, "interval_entries": 60}


def begun(path: Path, output: Path, merged: bool) -> None:
    """A run that was stopped after its first pass, or its second."""
    given = {"input": [str(path)], "output": str(output), "workers": 1, **IN_PIECES}
    options = load_options("entropy", None, (), given)
    assert isinstance(options, EntropyOptions)
    stack = ExitStack()
    run, inputs, engine = begin("entropy", options, Display(quiet=True), (), stack)
    tokenizer = load("p50k_base")
    corpus, _ = _corpus(run, inputs, plan_of(run, inputs, engine), _packed(options, tokenizer), tokenizer)
    count(engine, corpus)
    if merged:
        merge(engine, corpus)
    stack.close()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0x10
    path.write_bytes(bytes(data))


def remove(path: Path) -> None:
    path.unlink()


@pytest.fixture(scope="module")
def stopped(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Outputs of runs that were stopped after the first pass, and after the second; each test copies one."""
    folder = tmp_path_factory.mktemp("stopped")
    for merged in (False, True):
        begun(corpus, folder / str(merged), merged)
    return {merged: folder / str(merged) for merged in (False, True)}


@pytest.fixture(scope="module")
def sound(undrawn: None, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:  # noqa: ARG001
    output = tmp_path_factory.mktemp("sound")
    run(corpus, output, **IN_PIECES)
    return parts(output)


@pytest.mark.parametrize("damage", [cut_short, flip, remove])
@pytest.mark.parametrize("pattern", ["spill/**/*.runs", "spill/**/*.values", "tokens/**/*.arrow"])
def test_damaged_working_files_are_made_anew(
    corpus: Path,
    stopped: dict[bool, Path],
    sound: dict[str, bytes],
    tmp_path: Path,
    damage: Callable[[Path], None],
    pattern: str,
) -> None:
    shutil.copytree(stopped["values" in pattern], tmp_path / "damaged")
    files = sorted((tmp_path / "damaged").glob(pattern))
    assert len(files) >= 3
    for file in files:
        damage(file)
    run(corpus, tmp_path / "damaged", **IN_PIECES)
    assert parts(tmp_path / "damaged") == sound


def test_a_file_that_is_damaged_again_and_again_ends_the_run() -> None:
    """As on a disk that fails. Other files may be damaged in between."""
    names = ["a", "b", "a", "c", "a", "d"]
    said: list[str] = []
    display = SimpleNamespace(say=said.append)

    def body() -> str:
        if not names:
            return "result"
        raise DamagedError(f"{names.pop(0)} is damaged")

    run: Any = SimpleNamespace(display=display)
    with pytest.raises(DamagedError, match=r"^a is damaged, 3 times: check the disk, then run the same command again$"):
        until_sound(run, body)
    assert names == ["d"]
    assert said == [f"{name} is damaged; it is made anew" for name in "abac"]
    assert until_sound(run, body) == "result"


def test_a_corpus_without_contexts_says_so_on_the_terminal(tmp_path: Path) -> None:
    write(tmp_path / "short.jsonl", ["a", "b"])
    args = [
        "run",
        "entropy",
        "--input",
        str(tmp_path / "short.jsonl"),
        "--output",
        str(tmp_path / "out"),
        "--ngram",
        "3",
    ]
    done = CliRunner().invoke(main, args)
    assert done.exit_code == 0
    assert done.stderr.count("no entropy: not one of 2 documents has more than 3 tokens") == 1
