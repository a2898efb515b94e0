"""Entropy of a causal language model: a tiny random one, built on the spot, against a direct computation."""

from __future__ import annotations

import math
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import more

from tagcorpus import testing
from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._models import huggingface
from tagcorpus.taggers.lm_entropy import CausalEntropy, windows
from tagcorpus.testing import check_tagger

POSITIONS = 48
TEXTS = [
    "",
    "a",
    "ab",
    "The quick brown fox.",
    "<|endoftext|>",
    "naïve 日本語",
    "x" * 49,
    "x" * 48,
    "Long enough for windows. " * 4,
    "short again",
]


@pytest.fixture(scope="module")
def model(torch: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """GPT-2 of 2 layers and 32 dimensions with random weights, over bytes and one special token."""
    transformers = pytest.importorskip("transformers", reason="needs the extra [hf]")
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as Decoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel

    folder = tmp_path_factory.mktemp("tiny")
    alphabet = sorted(ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({symbol: i for i, symbol in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = Decoder()
    end = "<|endoftext|>"
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=end, eos_token=end).save_pretrained(
        folder
    )
    torch.manual_seed(7)
    config = transformers.GPT2Config(
        vocab_size=257, n_positions=POSITIONS, n_embd=32, n_layer=2, n_head=2, bos_token_id=256, eos_token_id=256
    )
    network = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():  # of a spread that makes the entropy depend on what was seen
        for weights in network.parameters():
            weights.mul_(6)
    network.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def direct(model: str) -> Any:
    """bits(ids): entropy after the last of these tokens, from one forward pass of its own, in float64."""
    import torch
    import transformers

    network: Any = transformers.AutoModelForCausalLM.from_pretrained(model)
    network.eval()
    torch.set_num_threads(1)

    def bits(ids: list[int]) -> float:
        with torch.inference_mode():
            logits = network(torch.tensor([ids])).logits[0, -1].double().numpy()
        p = np.exp(logits - logits.max())
        p /= p.sum()
        return float(-(p * np.log2(p)).sum())

    return bits


def ids_of(model: str, text: str) -> list[int]:
    """By the package tokenizers itself; one id per byte."""
    from tokenizers import Tokenizer

    ids: list[int] = Tokenizer.from_file(f"{model}/tokenizer.json").encode(text, add_special_tokens=False).ids
    return ids


def tagged(tagger: CausalEntropy, texts: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = tagger.tag(DocumentBatch.from_texts(texts)).to_pylist()
    return rows


def check(row: dict[str, Any], wanted: list[float]) -> None:
    assert row["entropy_positions"] == len(wanted)
    if not wanted:
        assert row == {**dict.fromkeys(CausalEntropy.columns.names), "entropy_positions": 0}
        return
    for name, value in (
        ("entropy_mean", np.mean(wanted)),
        ("entropy_std", np.std(wanted)),
        ("entropy_min", min(wanted)),
        ("entropy_max", max(wanted)),
    ):
        assert row[name] == pytest.approx(value, abs=1e-4), name


# Which positions, from which window


@more(2)
@given(st.integers(0, 90), st.integers(1, 20), st.data())
def test_every_position_is_taken_once_with_the_context_promised(n: int, window: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, window))
    found = list(windows(n, window, stride))
    assert [p for w in found for p in range(w.first, w.end)] == list(range(n))
    for w in found:
        assert 0 < w.end - w.start <= window
        assert all(p - w.start + 1 >= min(p + 1, window - stride + 1) for p in range(w.first, w.end))


def test_windows_of_the_docstring() -> None:
    assert list(windows(10, 4, 2)) == [(0, 0, 4), (2, 4, 6), (4, 6, 8), (6, 8, 10)]
    assert list(windows(4, 4, 2)) == [(0, 0, 4)]
    assert list(windows(0, 4, 2)) == []


# Against a direct computation


def test_short_documents_equal_one_pass_per_position(model: str, direct: Any) -> None:
    texts = [text for text in TEXTS if len(text.encode()) <= POSITIONS + 1 and "|" not in text]
    rows = tagged(CausalEntropy(model), texts)
    for text, row in zip(texts, rows, strict=True):
        ids = ids_of(model, text)
        check(row, [direct(ids[: i + 1]) for i in range(len(ids) - 1)])
    spread = [row["entropy_std"] for row in rows if row["entropy_positions"] > 5]
    assert min(spread) > 0.01  # or the comparison could not tell one position from another


@pytest.mark.parametrize(("window", "stride"), [(None, None), (16, 4), (16, 16), (7, 1)])
def test_long_documents_equal_an_explicit_loop(model: str, direct: Any, window: int | None, stride: int | None) -> None:
    ids = ids_of(model, TEXTS[8])
    size = window or POSITIONS
    step = stride or size // 2
    wanted = []
    for i in range(len(ids) - 1):
        start = 0
        while start + size <= i:  # the first window that holds it
            start += step
        wanted.append(direct(ids[start : i + 1]))
    (row,) = tagged(CausalEntropy(model, window=window, stride=stride), [TEXTS[8]])
    check(row, wanted)


def test_bos_comes_before_every_window(model: str, direct: Any) -> None:
    ids = ids_of(model, TEXTS[3])
    (row,) = tagged(CausalEntropy(model, has_bos=True, window=9, stride=8), [TEXTS[3]])
    check(row, [direct([256, *ids[i // 8 * 8 : i + 1]]) for i in range(len(ids) - 1)])


def test_text_of_special_tokens_is_text(model: str) -> None:
    (row,) = tagged(CausalEntropy(model), ["<|endoftext|>"])
    assert row["entropy_positions"] == len("<|endoftext|>") - 1


def test_company_does_not_matter(model: str) -> None:
    together = tagged(CausalEntropy(model, batch_size=16), TEXTS)
    for text, row in zip(TEXTS, together, strict=True):
        (alone,) = tagged(CausalEntropy(model, batch_size=1), [text])
        assert alone == pytest.approx(row, abs=1e-4)


def test_equal_batches_give_equal_bytes(model: str) -> None:
    first, second = (CausalEntropy(model).tag(DocumentBatch.from_texts(TEXTS)) for _ in range(2))
    assert first.equals(second)
    assert first.schema.equals(CausalEntropy.columns, check_metadata=True)


def test_conformance(model: str) -> None:
    check_tagger(CausalEntropy(model), [text for text in testing.TEXTS if len(text) < 1000], tolerance=1e-4)


def test_no_documents(model: str) -> None:
    assert CausalEntropy(model).tag(DocumentBatch.from_texts([])).num_rows == 0


def test_a_forbidden_token_adds_nothing(model: str) -> None:
    import torch

    loaded = CausalEntropy(model)._loaded
    assert loaded._bits(torch.tensor([[0.0, 0.0, -math.inf, 0.0, 0.0]])).tolist() == pytest.approx([2.0])
    with pytest.raises(TaggerError, match="use dtype float32 or bfloat16"):
        loaded._bits(torch.tensor([[0.0, math.nan]]))


def test_threads_of_others_stay(model: str) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        tagged(CausalEntropy(model), ["some text"])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


# Identity


def test_pickles_small_after_use(model: str) -> None:
    tagger = CausalEntropy(model)
    wanted = tagged(tagger, TEXTS[:4])
    data = pickle.dumps(tagger)
    assert len(data) < 1000
    assert tagged(pickle.loads(data), TEXTS[:4]) == wanted


def test_a_directory_is_known_by_its_files(model: str, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(model, copy)
    (copy / "README.md").write_text("no part of it")
    mine = CausalEntropy(model, batch_size=2, device="cpu").fingerprint()
    assert CausalEntropy(str(copy)).fingerprint() == mine
    assert str(tmp_path) not in str(mine)
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert CausalEntropy(str(copy)).fingerprint() != mine


def test_a_hub_model_is_known_by_name_and_revision() -> None:
    main, pinned = CausalEntropy("org/name").fingerprint(), CausalEntropy("org/name", revision="abc").fingerprint()
    assert (main["model"], main["revision"], pinned["revision"]) == ("org/name", "main", "abc")
    assert CausalEntropy("org/name", window=100).fingerprint() != main


# Errors


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"stride": -1}, "stride must be at least 1, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"window": 49}, "at most the 48 positions .* got 49"),
        ({"window": 8, "stride": 9}, "stride must be at most the window .* got 9"),
        ({"window": 1, "has_bos": True}, "at least 2 with has_bos"),
        ({"device": "abacus"}, "device must be one that torch has here, got 'abacus'.*use auto or cpu"),
    ],
)
def test_parameters_that_cannot_be(model: str, parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        tagged(CausalEntropy(model, **parameters), ["some text"])


@pytest.mark.usefixtures("torch")
def test_a_directory_without_a_model(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="needs the extra [hf]")
    with pytest.raises(ConfigError, match="must hold a causal language model"):
        tagged(CausalEntropy(str(tmp_path)), ["some text"])


@pytest.mark.usefixtures("torch")
def test_a_model_out_of_reach_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what HF_HUB_OFFLINE=1 sets when huggingface_hub is imported; a process of its own would take seconds."""
    pytest.importorskip("transformers", reason="needs the extra [hf]")
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError) as caught:
        tagged(CausalEntropy("no-such/model"), ["some text"])
    for word in ("'no-such/model'", "HF_HOME", "HF_HUB_OFFLINE", "local directory as model"):
        assert word in str(caught.value)


def test_a_missing_package_has_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"pip install 'torch>=2\.4' 'transformers>=5'"):
        huggingface.packages("lm_entropy")
