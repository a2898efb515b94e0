"""`run tokenize`: token files against other writers and readers, sides, sizes, conservation, resume, and refusals."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datatrove.pipeline.tokens.megatron_tokenizer import MegatronTokenizedFile
from hypothesis import given
from hypothesis import strategies as st
from plugins import SCRIPT, Corpus, Ended, empty_corpus, ended, known_here, tree
from slurm_commands import invoke, pretend

import tagcorpus
from tagcorpus.errors import ConfigError, folded
from tagcorpus.pipelines.token_files import overlap
from tagcorpus.taggers._tokenizers import gigatoken_ids
from tagcorpus.taggers._tokenizers.end_of_text import end_of_text
from tagcorpus.taggers._tokenizers.loading import load

__all__ = ["empty_corpus", "known_here"]  # fixtures
WORDS = [
    "the",
    "committee",
    "met",
    "again",
    "on",
    "Tuesday",
    "and",
    "discussed",
    "what",
    "naïve",
    "other",
    "proposals",
    "say",
    "of",
    "rain",
    "in",
    "hills",
]
SMALL: dict[str, Any] = {"chunk_bytes": 3000, "workers": 1}
EOS = 50256


def documents() -> list[dict[str, Any]]:
    rng = random.Random(5)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(0, 50))) for _ in range(120)]
    return [
        {"id": f"d{i}", "source": ["wiki", "web", None][i % 3], "cluster": i // 4, "text": text}
        for i, text in enumerate(texts)
    ]


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenize") / "a.jsonl"
    lines = [json.dumps(d) for d in documents()]
    path.write_text("\n".join([*lines[:60], '{"text": 5}', *lines[60:]]) + "\n")
    return path


def run(path: Path, output: Path, **options: Any) -> dict[str, Any]:
    result = tagcorpus.run("tokenize", input=path, output=output, **{**SMALL, **options})
    assert result.exit_code == 0
    manifest: dict[str, Any] = json.loads((output / "token_files.json").read_text())
    return manifest


def stored(output: Path, manifest: dict[str, Any]) -> dict[tuple[str, str], list[list[int]]]:
    """By group and side, the ids of every document, cut at the lengths in the .idx."""
    ids: dict[tuple[str, str], list[list[int]]] = {}
    for group, sides in manifest["groups"].items():
        for side, value in sides.items():
            for file in value["files"]:
                index = (output / f"{file['prefix']}.idx").read_bytes()
                n = int.from_bytes(index[18:26], "little")
                lengths = np.frombuffer(index, "<i4", n, 34)
                flat = np.fromfile(output / f"{file['prefix']}.bin", "<u2")
                assert len(flat) == lengths.sum() == file["tokens"]
                cut = np.split(flat, np.cumsum(lengths)[:-1])
                ids.setdefault((group, side), []).extend(c.tolist() for c in cut)
    return ids


def expected(text: str) -> list[int]:
    return [*load("p50k_base", engine="tiktoken").encode_batch([text]).ids.tolist(), EOS]


@pytest.fixture(scope="module")
def grouped(corpus_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    output = tmp_path_factory.mktemp("grouped")
    options: dict[str, Any] = {"group_by": "source", "held_out": 0.2, "file_bytes": 900, "held_out_texts": True}
    return output, run(corpus_file, output, **options)


def test_every_document_is_in_exactly_one_file_in_order(grouped: tuple[Path, dict[str, Any]]) -> None:
    output, manifest = grouped
    ids = stored(output, manifest)
    assert {group for group, _ in ids} == {"wiki", "web", "(none)"}
    places = tagcorpus.read(output, "token_files").to_table().to_pylist()
    by_place: dict[tuple[str, str], list[list[int]]] = {}
    for document, place in zip(documents(), places, strict=True):
        assert place["id"] == document["id"]
        assert place["group"] == (document["source"] or "(none)")
        assert place["num_tokens"] == len(expected(document["text"]))
        by_place.setdefault((place["group"], place["side"]), []).append(expected(document["text"]))
    assert ids == by_place
    assert manifest["documents"] == {"in_files": 120, "left_out": 0}
    assert sum(t["tokens"] for t in manifest["totals"].values()) == sum(len(expected(d["text"])) for d in documents())


def test_files_have_a_bounded_size_and_are_as_full_as_they_can_be(grouped: tuple[Path, dict[str, Any]]) -> None:
    _, manifest = grouped
    for sides in manifest["groups"].values():
        for side in sides.values():
            sizes = [f["bin"]["bytes"] for f in side["files"]]
            assert all(size <= 900 for size in sizes)
            assert all(size > 900 - 2 * 110 for size in sizes[:-1])  # no document has 110 tokens
    assert len(manifest["groups"]["web"]["train"]["files"]) == 2


def test_the_index_is_that_of_datatrove(grouped: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    output, manifest = grouped
    for (group, side), ids in stored(output, manifest).items():
        at = 0
        for file in manifest["groups"][group][side]["files"]:
            other = MegatronTokenizedFile(str(tmp_path), "other", token_size=2)
            for document in ids[at : at + file["documents"]]:
                other.write(document)
            other.close()
            at += file["documents"]
            for suffix in (".bin", ".idx"):
                assert (output / (file["prefix"] + suffix)).read_bytes() == (tmp_path / f"other{suffix}").read_bytes()


@pytest.mark.e2e
def test_megatron_core_reads_the_files(grouped: tuple[Path, dict[str, Any]]) -> None:
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    output, manifest = grouped
    file = manifest["groups"]["web"]["train"]["files"][0]
    dataset = indexed.IndexedDataset(str(output / file["prefix"]))
    ids = stored(output, manifest)["web", "train"]
    assert len(dataset) == file["documents"]
    assert [dataset[i].tolist() for i in range(len(dataset))] == ids[: len(dataset)]


def test_held_out_texts_are_the_documents_of_that_side(grouped: tuple[Path, dict[str, Any]]) -> None:
    output, manifest = grouped
    for group, sides in manifest["groups"].items():
        texts = [json.loads(line)["text"] for line in (output / sides["held_out"]["texts"]["name"]).open()]
        assert [expected(text) for text in texts] == stored(output, manifest)[group, "held_out"]


def test_no_result_depends_on_chunks(grouped: tuple[Path, dict[str, Any]], corpus_file: Path, tmp_path: Path) -> None:
    output, manifest = grouped
    options: dict[str, Any] = {"group_by": "source", "held_out": 0.2, "file_bytes": 900, "held_out_texts": True}
    other = run(corpus_file, tmp_path, **options, chunk_bytes=1 << 20)
    assert other["groups"] == manifest["groups"]
    assert other["overlap"] == manifest["overlap"]
    assert tree(tmp_path, "token_files") == tree(output, "token_files")


def test_duplicates_fall_on_one_side(tmp_path: Path) -> None:
    texts = [f"Document  number {i} of the corpus" for i in range(40)]
    variants = [t for text in texts for t in (text, text.upper(), f" {text.replace('  ', ' ')}\n")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in variants))
    run(tmp_path / "a.jsonl", tmp_path / "out", held_out=0.4)
    sides = tagcorpus.read(tmp_path / "out", "token_files").to_table()["side"].to_pylist()
    assert all(len(set(sides[i : i + 3])) == 1 for i in range(0, 120, 3))
    assert set(sides) == {"train", "held_out"}


def test_clusters_fall_on_one_side(corpus_file: Path, tmp_path: Path) -> None:
    run(corpus_file, tmp_path, held_out=0.5, held_out_by="cluster")
    sides = tagcorpus.read(tmp_path, "token_files").to_table()["side"].to_pylist()
    assert all(len(set(sides[i : i + 4])) == 1 for i in range(0, 120, 4))
    assert 20 < Counter(sides)["held_out"] < 100


def test_a_condition_and_a_group_over_attributes(corpus_file: Path, tmp_path: Path) -> None:
    tagcorpus.run("tag", input=corpus_file, output=tmp_path, taggers=["length"], **SMALL)
    manifest = run(corpus_file, tmp_path, where="char_len > 100", group_by="length.char_len")
    lengths = [len(d["text"]) for d in documents()]
    kept = Counter(str(n) for n in lengths if n > 100)
    assert {g: sides["train"]["documents"] for g, sides in manifest["groups"].items()} == dict(kept)
    assert manifest["documents"] == {"in_files": kept.total(), "left_out": 120 - kept.total()}
    places = tagcorpus.read(tmp_path, "token_files").to_table()["group"].to_pylist()
    assert [p is None for p in places] == [n <= 100 for n in lengths]


def test_a_second_run_writes_nothing_and_a_damaged_file_is_written_again(corpus_file: Path, tmp_path: Path) -> None:
    manifest = run(corpus_file, tmp_path)
    path = tmp_path / "token_files/all/train-00000.bin"
    whole, when = path.read_bytes(), path.stat().st_mtime_ns
    run(corpus_file, tmp_path)
    assert path.stat().st_mtime_ns == when
    path.write_bytes(whole[:-2] + b"\0\0")
    assert run(corpus_file, tmp_path) == manifest
    assert path.read_bytes() == whole
    assert not (tmp_path / "spill").exists() or not list((tmp_path / "spill").rglob("*.tokens"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_by": "sourc"}, "did you mean 'source'"),
        ({"group_by": "language"}, "First tagcorpus run tag"),
        ({"held_out": 0.5, "held_out_by": "clusters"}, "--held-out-by clusters: no.* did you mean 'cluster'"),
        ({"held_out_by": "cluster"}, "held_out_by needs|--held-out-by needs"),
        ({"eos": "</s>"}, "'</s>' .* is not in the vocabulary"),
        ({"where": "char_len > 3"}, "no attributes in"),
    ],
)
def test_refusals(corpus_file: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    code = invoke("run", "tokenize", "-i", str(corpus_file), "-o", str(tmp_path), *flags(options))
    assert code.code == 2
    assert re.search(message, code.err), code.err
    assert not (tmp_path / "token_files").exists()


def flags(options: dict[str, Any]) -> list[str]:
    return [word for key, value in options.items() for word in ("--set", f"{key}={value}")]


def test_other_settings_on_the_same_output_are_refused(corpus_file: Path, tmp_path: Path) -> None:
    run(corpus_file, tmp_path)
    before = tree(tmp_path, "token_files")
    with pytest.raises(ConfigError, match=r"already has token files with .*tokenizer.* p50k_base.* gpt2"):
        run(corpus_file, tmp_path, tokenizer="gpt2")
    with pytest.raises(ConfigError, match=r"held_out \(none\), .* held_out=0.1"):
        run(corpus_file, tmp_path, held_out=0.1)
    assert tree(tmp_path, "token_files") == before
    assert run(corpus_file, tmp_path, held_out=0.1, overwrite=True)["held_out"] == 0.1


def test_a_condition_that_is_never_true(corpus_file: Path, tmp_path: Path) -> None:
    tagcorpus.run("tag", input=corpus_file, output=tmp_path, taggers=["length"], **SMALL)
    with pytest.raises(ConfigError, match="it is true for none of 120 documents"):
        run(corpus_file, tmp_path, where="char_len < 0")


# Overlap of both sides

token_lists = st.lists(st.lists(st.integers(0, 2), max_size=40), max_size=8)


def grams(texts: list[list[int]]) -> set[tuple[int, ...]]:
    return {tuple(t[i : i + 13]) for t in texts for i in range(len(t) - 12)}


def hashed(texts: list[list[int]]) -> np.ndarray[Any, np.dtype[np.uint64]]:
    ids = np.array([i for t in texts for i in [*t, 7]], np.uint16)
    lengths = np.array([len(t) + 1 for t in texts], np.int32)
    return np.concatenate([np.zeros(0, np.uint64), *overlap.in_blocks(ids, lengths)])


@given(token_lists, token_lists)
def test_overlap_is_that_of_sets(held_out: list[list[int]], train: list[list[int]]) -> None:
    smallest = overlap.Smallest(10_000)
    smallest.add(hashed(held_out))
    look_up = overlap.LookUp(smallest.kept)
    look_up.add(hashed(train))
    assert len(smallest.kept) == len(grams(held_out))
    assert look_up.seen.sum() == len(grams(held_out) & grams(train))
    assert len(hashed(train)) == sum(max(len(t) - 12, 0) for t in train)


def test_a_sample_is_the_smallest_of_all() -> None:
    rng = np.random.default_rng(1)
    every = rng.integers(0, 2**64, 5000, np.uint64)
    smallest = overlap.Smallest(300)
    for part in np.array_split(np.concatenate([every, every[:900]]), 7):
        one = overlap.Smallest(300)
        one.add(part)
        smallest.add(one.kept, is_all=one.is_all)
    assert smallest.kept.tolist() == np.unique(every)[:300].tolist()
    figures = overlap.report(smallest, 150)
    assert not figures["is_exact"]
    assert figures["share"] == 0.5
    assert figures["standard_error"] == pytest.approx((0.25 / 300) ** 0.5)
    assert abs(figures["held_out_distinct"] - 5000) < 5000 * 0.2


@given(st.text(max_size=10))
def test_folded_is_stable(text: str) -> None:
    assert folded(folded(text)) == folded(text)
    assert folded(f"  {text}\t") == folded(text)


# End of text


def a_tokenizer(folder: Path, special: list[str]) -> Path:
    added = [{"id": 3 + i, "content": t, "special": True} for i, t in enumerate(special)]
    value = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": []}, "added_tokens": added}
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(value))
    return path


def test_end_of_text_is_what_a_file_says(tmp_path: Path) -> None:
    path = str(a_tokenizer(tmp_path, ["<s>", "</s>", "<eos>"]))
    with pytest.raises(ConfigError, match=r"'</s>', '<eos>'\): name it with --eos TOKEN"):
        end_of_text(path)
    assert end_of_text(path, "ab")[:2] == ("ab", 2)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": {"content": "<eos>"}}))
    assert end_of_text(path)[:2] == ("<eos>", 5)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<end>"}))
    with pytest.raises(ConfigError, match=r"'<end>' .* is not in the vocabulary"):
        end_of_text(path)


def test_end_of_text_by_the_special_tokens(tmp_path: Path) -> None:
    assert end_of_text(str(a_tokenizer(tmp_path, ["<s>", "</s>"])))[:2] == ("</s>", 4)
    with pytest.raises(ConfigError, match="special tokens: none"):
        end_of_text(str(a_tokenizer(tmp_path, [])))
    assert end_of_text("gpt2")[:2] == ("<|endoftext|>", EOS)


# gigatoken for a tokenizer.json


@pytest.mark.e2e
def test_gigatoken_gives_the_ids_of_a_tokenizer_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    pytest.importorskip("gigatoken")
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    model.train_from_iterator([d["text"] for d in documents()], trainer)
    model.save(str(tmp_path / "tokenizer.json"))
    monkeypatch.setattr(gigatoken_ids, "SWITCH_AFTER_CHARS", 10)
    texts = [*gigatoken_ids.probes(), "\ua7da\ua7db of Unicode 16", "<|endoftext|>", *(d["text"] for d in documents())]
    tokenizer = load(str(tmp_path / "tokenizer.json"))
    ids = tokenizer.encode_batch(texts)
    assert isinstance(vars(tokenizer)["_chosen"], gigatoken_ids.GigatokenJson)
    for i, text in enumerate(texts):
        exact = vars(tokenizer)["_exact"].encode_batch([text]).ids
        assert ids.ids[ids.offsets[i] : ids.offsets[i + 1]].tolist() == exact.tolist(), text


def test_settled_characters() -> None:
    assert all(map(gigatoken_ids.is_settled, "aé日ع🙂“\u0301\u200d"))
    assert not any(map(gigatoken_ids.is_settled, "\ua7da\u0378ẞ"))  # of Unicode 16; of none; of 5.1


# Killed


def command(corpus: Corpus, output: Path) -> list[str]:
    options = {"chunk_bytes": 1500, "file_bytes": 700, "max_quarantined": 100, "workers": 2}
    words = ["run", "tokenize", "-i", str(corpus.root / "data"), "-o", str(output), "--held-out", "0.3"]
    return [*words, "--held-out-texts", *flags(options)]


def killed(corpus: Corpus, output: Path, only: str, at: int) -> Ended:
    env = {
        "PLUGIN_ROOT": str(corpus.root),
        "PLUGIN_EVENTS": str(corpus.root / f"events-{at}-{only.replace('/', '_')}"),
        "PLUGIN_ONLY": only,
        "PLUGIN_KILL": "group",
        "PLUGIN_KILL_AT": str(at),
    }
    process = subprocess.Popen(
        [SCRIPT, *command(corpus, output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=corpus.root,
        env=corpus.environment(env),
        start_new_session=True,
    )
    return ended(process)


@pytest.mark.e2e
def test_killed_at_each_publish_point(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [*(d["text"] for d in documents()), b'{"text": "\xff"}'])
    corpus.environment()
    watch = "import os\nif 'PLUGIN_EVENTS' in os.environ:\n    import plugin_taggers\n"
    (corpus.root / "plugins" / "sitecustomize.py").write_text(watch)
    undisturbed = corpus.root / "undisturbed"
    assert invoke(*command(corpus, undisturbed)).code == 0
    rooms = ("attributes", "quarantine", "summary", "token_files", "token_files.json")
    output = corpus.root / "killed"
    points = [
        "/tokens/",
        "/attributes/token_files/",
        "/spill/token_files/",
        "/summary/token_files/",
        "/token_files/all/",
    ]
    for i, only in enumerate(points):
        result = killed(corpus, output, only, 2 + i)
        assert result.code == -signal.SIGKILL, (only, result.err)
        assert not (output / "token_files.json").exists()
    last = invoke(*command(corpus, output))
    assert last.code == 0, last.err
    assert tree(output, *rooms[:-1]) == tree(undisturbed, *rooms[:-1])
    assert (output / "token_files.json").read_bytes() == (undisturbed / "token_files.json").read_bytes()


# Executors


@pytest.mark.e2e
def test_slurm_gives_the_bytes_of_a_local_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = pretend(tmp_path, monkeypatch)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents()[:40]))
    options = ["--group-by", "source", "--held-out", "0.3"]
    local = slurm.command(*options, pipeline="tokenize", output=tmp_path / "local")
    assert local.code == 0, local.err
    assert slurm.launch(*options, pipeline="tokenize").code == 0
    slurm.call_tasks(1)
    done = slurm.call(2)
    assert done.code == 0, done.err
    assert tree(slurm.out, "token_files") == tree(tmp_path / "local", "token_files")
    assert (slurm.out / "token_files.json").read_bytes() == (tmp_path / "local/token_files.json").read_bytes()


@pytest.mark.slow
def test_ray_gives_the_bytes_of_a_local_run(corpus_file: Path, tmp_path: Path) -> None:
    for executor in ("local", "ray"):
        run(corpus_file, tmp_path / executor, group_by="source", held_out=0.3, executor=executor, workers=2)
    assert tree(tmp_path / "ray", "token_files") == tree(tmp_path / "local", "token_files")
    manifests = [(tmp_path / e / "token_files.json").read_bytes() for e in ("local", "ray")]
    assert manifests[0] == manifests[1]
