"""Models that stay in their file give what the library gives. End to end, since the kernels take ten seconds to compile."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fasttext_models import WORDS, train

from tagcorpus.errors import ConfigError
from tagcorpus.kernels.documents import fasttext as kernel
from tagcorpus.taggers import fasttext as tagger_module
from tagcorpus.taggers._models.mapped_fasttext import MappedModel
from tagcorpus.taggers.fasttext import FastText, load_model, load_predict
from tagcorpus.testing import check_tagger

pytestmark = pytest.mark.e2e

KINDS: dict[str, dict[str, Any]] = {
    "words": {"loss": "softmax"},
    "tree": {"loss": "hs", "minCount": 2},
    "n-grams": {"loss": "ns", "wordNgrams": 3},
    "parts": {"loss": "ova", "minn": 2, "maxn": 4},
    "all": {"loss": "softmax", "wordNgrams": 2, "minn": 1, "maxn": 3, "dim": 5},
}
WORDS_TO_DRAW = [
    *" ".join(WORDS.values()).split(),
    "w7",
    "</s>",
    "__label__en",
    "__label__x",
    "\x00",
    "\x0b",
    "\n",
    "漢字",
    "𝒳",
    "<",
    ">",
]


def random_texts(n: int) -> list[str]:
    """Known words, unknown ones, and any characters at all."""
    chance = random.Random(11)
    any_characters = [
        "".join(
            chr(chance.choice([chance.randrange(128), chance.randrange(0x2000)])) for _ in range(chance.randrange(30))
        )
        for _ in range(n)
    ]
    return [" ".join(chance.choices(WORDS_TO_DRAW, k=chance.randrange(12))) for _ in range(n)] + any_characters


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of each kind a dense model, and quantised ones, the last of them pruned with norms."""
    import fasttext

    folder = tmp_path_factory.mktemp("mapped")
    paths = {}
    for kind, how in KINDS.items():
        paths[kind] = train(folder, f"{kind}.bin", **how)
        if kind in ("words", "tree"):  # too few rows for centroids
            continue
        for name, settings in {"coded": {}, "pruned": {"cutoff": 300, "qnorm": True}}.items():
            model = fasttext.load_model(str(paths[kind]))
            model.quantize(input=str(folder / "train.txt"), retrain=False, **settings)
            paths[f"{kind}, {name}"] = folder / f"{kind}-{name}.ftz"
            model.save_model(str(paths[f"{kind}, {name}"]))
    return paths


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagger_module, "MAPPED_BYTES", 0)


@pytest.mark.parametrize(
    "kind", [*KINDS, *(f"{kind}, {how}" for kind in ("n-grams", "parts", "all") for how in ("coded", "pruned"))]
)
@pytest.mark.parametrize(("k", "threshold"), [(1, 0.0), (2, 0.3), (4, 0.0), (3, 1.0)])
def test_the_same_as_the_library(models: dict[str, Path], kind: str, k: int, threshold: float) -> None:
    library, texts = load_model(models[kind]), random_texts(400)
    for text, (labels, values) in zip(texts, load_predict(models[kind])(texts, k, threshold), strict=True):
        names, probabilities = library.predict(text.replace("\n", " "), k=k, threshold=threshold)
        assert labels == list(names)
        assert values == pytest.approx(list(probabilities), abs=1e-6)


def test_as_a_tagger(models: dict[str, Path]) -> None:
    check_tagger(FastText(str(models["all"]), k=3), ["the weather", "", "das\nwetter", "x" * 300])


def test_all_labels_in_their_order(models: dict[str, Path]) -> None:
    """Equal probabilities, too, stand as the library has them."""
    library, mapped = load_model(models["words"]), load_predict(models["words"])
    for text in ("", "unknown", *WORDS.values()):
        assert mapped([text], 9, -1.0)[0][0] == list(library.predict(text, k=9, threshold=-1.0)[0])


@pytest.mark.parametrize("kind", ["parts", "all", "n-grams, coded", "all, pruned"])
def test_texts_about_as_long_as_the_rows_that_are_added_together(models: dict[str, Path], kind: str) -> None:
    """The kernel adds 1,024 rows at a time. In "parts", "w7" has 7 of them (the word and 6 parts), an unknown letter 3, the end of the line 1."""
    texts = ["q " * n + end for n in range(335, 345) for end in ("w7", "", "w7 w7", "x" * 700)]
    texts += ["w7 " * n + "q" * m for n in (140, 146, 147, 511, 1023, 1030) for m in (0, 1, 500)]
    library, model = load_model(models[kind]), MappedModel(models[kind])
    for _ in range(2):  # the second time, the rows of known words are in the cache
        for text, (labels, values) in zip(texts, model.predict(texts, 3), strict=True):
            names, probabilities = library.predict(text, k=3)
            assert labels == list(names)
            assert values == pytest.approx(list(probabilities), abs=1e-7)


def test_rows_of_words_are_cached_while_there_is_room(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    texts = random_texts(100)
    expected = MappedModel(models["parts"]).predict(texts, 4)
    monkeypatch.setattr(kernel, "_CACHED_WORDS", 5)
    monkeypatch.setattr(kernel, "_CACHED_ROWS", 20)
    model = MappedModel(models["parts"])
    assert model.predict(texts, 4) == expected == model.predict(texts, 4)
    places, rows, n_used = model._cache
    assert (len(places), len(rows)) == (5, 20)
    assert 0 < n_used[0] <= 20


def test_the_last_bit_decides_between_labels_of_a_tree(tmp_path: Path) -> None:
    """Forty labels: with probabilities that differ in the last bit, two labels of some texts change places."""
    import fasttext

    chance = random.Random(5)
    lines = [f"__label__{i % 40} {' '.join(chance.choices(WORDS_TO_DRAW[:30], k=6))}" for i in range(800)]
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    library = fasttext.train_supervised(
        str(tmp_path / "train.txt"), loss="hs", dim=8, bucket=0, thread=1, epoch=2, verbose=0, seed=1
    )
    library.save_model(str(tmp_path / "tree.bin"))
    texts = random_texts(1000)
    answers = load_predict(tmp_path / "tree.bin")(texts, -1, 0.0)
    for text, (labels, values) in zip(texts, answers, strict=True):
        names, probabilities = library.predict(text.replace("\n", " "), k=-1)
        assert labels == list(names)
        assert values == pytest.approx(list(probabilities), abs=1e-8)


@pytest.mark.parametrize("is_coded", [False, True])
@pytest.mark.parametrize("loss", ["softmax", "ova", "hs"])
def test_three_hundred_labels(tmp_path: Path, loss: str, is_coded: bool) -> None:
    """More labels than are computed side by side, many of them equally probable; with the output matrix quantised, too."""
    import fasttext

    chance = random.Random(6)
    lines = [f"__label__{i % 300} {' '.join(chance.choices(WORDS_TO_DRAW[:30], k=6))}" for i in range(900)]
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    library = fasttext.train_supervised(
        str(tmp_path / "train.txt"), loss=loss, dim=22, wordNgrams=2, bucket=600, thread=1, epoch=3, verbose=0, seed=1
    )
    if is_coded:
        library.quantize(input=str(tmp_path / "train.txt"), retrain=False, qout=True, qnorm=True, dsub=4)
    library.save_model(str(tmp_path / "model"))
    predict, texts = load_predict(tmp_path / "model"), random_texts(50)
    for k, threshold in ((1, 0.0), (3, 0.0), (-1, 0.0), (-1, 0.003)):
        for text, (labels, values) in zip(texts, predict(texts, k, threshold), strict=True):
            names, probabilities = library.predict(text.replace("\n", " "), k=k, threshold=threshold)
            assert labels == list(names)
            assert values == pytest.approx(list(probabilities), abs=1e-8)


@pytest.mark.parametrize("kind", ["words", "all, pruned"])
def test_damaged_counts_are_refused_or_harmless(models: dict[str, Path], tmp_path: Path, kind: str) -> None:
    """No number of the file's beginning leads out of the file: it is refused, or every probability is a share."""
    whole = models[kind].read_bytes()
    refused = 0
    for at in range(8, 92, 4):
        for value in (-1, 0, 1, 3, 1 << 30):
            path = tmp_path / "damaged"
            path.write_bytes(whole[:at] + value.to_bytes(4, "little", signed=True) + whole[at + 4 :])
            try:
                answers = load_predict(path)(["the weather was cold", ""], 2, 0.0)
            except ConfigError:
                refused += 1
                continue
            assert all(0 <= p <= 1.001 for _, probabilities in answers for p in probabilities)
    assert refused > 20


@pytest.mark.parametrize(("at", "value"), [(48, 3), (28, 2)])
def test_hashed_rows_without_buckets_are_refused(models: dict[str, Path], tmp_path: Path, at: int, value: int) -> None:
    """The most characters of a part, or words of an n-gram, in a model without buckets: their row is behind the matrix."""
    whole = models["words"].read_bytes()
    assert whole[40:44] == bytes(4)
    path = tmp_path / "damaged"
    path.write_bytes(whole[:at] + value.to_bytes(4, "little") + whole[at + 4 :])
    with pytest.raises(ConfigError, match="not a complete fastText model"):
        load_predict(path)


def test_a_mapped_model_needs_compiled_kernels(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    with pytest.raises(ConfigError, match="unset NUMBA_DISABLE_JIT"):
        load_predict(models["words"])


@pytest.mark.parametrize(("kind", "row"), [("words", 2), ("tree", 1), ("parts", 0)])
def test_numbers_that_are_none(models: dict[str, Path], tmp_path: Path, kind: str, row: int) -> None:
    """The output matrix, three rows of eight values, is the end of the file. Row 1 is the tree's root."""
    path = tmp_path / "nan.bin"
    data = bytearray(models[kind].read_bytes())
    data[(row - 3) * 32 : (row - 3) * 32 + 4] = np.float32("nan").tobytes()
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="that are not numbers"):
        load_predict(path)(["the weather was cold"], 3, 0.0)
