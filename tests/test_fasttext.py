"""The fasttext tagger on models that are trained here."""

from __future__ import annotations

import json
import random
import shutil
import struct
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from fasttext_models import train

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.taggers import DocumentBatch, load
from tagcorpus.taggers import fasttext as tagger_module
from tagcorpus.taggers._models.fasttext_file import check_file
from tagcorpus.taggers.fasttext import FastText, load_model
from tagcorpus.taggers.language import load_fasttext
from tagcorpus.testing import check_tagger


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("models"), "model.bin", loss="softmax")


def rows(tagger: Any, texts: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tagger.tag(DocumentBatch.from_texts(texts)).to_pylist()
    return found


def test_the_module_is_ours_and_its_import_the_library() -> None:
    assert tagger_module.__name__ == "tagcorpus.taggers.fasttext"
    import fasttext

    assert Path(fasttext.__file__).parent.name == "fasttext"


def test_labels_and_probabilities(model: Path) -> None:
    (row,) = rows(FastText(str(model), k=3), ["the weather was cold"])
    assert row["label"] == row["labels"][0] == "en"
    assert sorted(row["labels"]) == ["de", "en", "fr"]
    assert row["probability"] == row["probabilities"][0] > 0.9
    assert row["probabilities"] == sorted(row["probabilities"], reverse=True)
    assert sum(row["probabilities"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("k", [1, 2, 3, 7])
def test_the_same_as_the_library(model: Path, k: int) -> None:
    import fasttext

    texts = ["die kinder", "les enfants and the children", "???", ""]
    for text, row in zip(texts, rows(FastText(str(model), k=k), texts), strict=True):
        labels, probabilities = fasttext.load_model(str(model)).predict(text, k=k)
        assert row["labels"] == [label.removeprefix("__label__") for label in labels]
        assert row["probabilities"] == pytest.approx(np.clip(probabilities, 0, 1))


def test_line_breaks_are_spaces(model: Path) -> None:
    broken, whole = rows(FastText(str(model), k=3), ["das wetter\n\nwar\nkalt", "das wetter  war kalt"])
    assert broken == whole
    assert broken["label"] == "de"


def test_only_the_first_characters(model: Path) -> None:
    text = "the weather was cold " + "das wetter war kalt " * 20
    assert [rows(FastText(str(model), max_chars=n), [text])[0]["label"] for n in (0, 21)] == ["de", "en"]


def test_a_threshold_no_label_reaches(model: Path) -> None:
    (row,) = rows(FastText(str(model), k=3, threshold=1.0), ["children enfants kinder"])
    assert row == {"label": None, "probability": None, "labels": [], "probabilities": []}


@pytest.mark.parametrize("loss", ["softmax", "ova", "hs", "ns"])
@pytest.mark.parametrize("words", [1, 2])
def test_every_kind_of_model(tmp_path: Path, loss: str, words: int) -> None:
    path = train(tmp_path, "model.bin", loss=loss, wordNgrams=words, minn=2, maxn=3)
    tagger = FastText(str(path), k=3)
    (row,) = rows(tagger, ["the weather was cold but the children walked home"])
    assert row["label"] == "en"
    assert all(0 <= p <= 1 for p in row["probabilities"])  # one against all gives 1.00001
    check_tagger(tagger, ["the weather", "", "das\nwetter", "x" * 300])


def test_a_quantised_model(tmp_path: Path) -> None:
    tagger = FastText(str(train(tmp_path, "model.ftz", loss="softmax", minn=2, maxn=3)), k=2)
    assert [r["label"] for r in rows(tagger, ["le temps était froid", "das wetter war kalt"])] == ["fr", "de"]
    check_tagger(tagger)


# The self-test


class Lying:
    """A model whose probabilities go wrong, as some builds of the module have them."""

    def __init__(self, model: Any, lie: str) -> None:
        self._model, self._lie = model, lie

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict(self, text: str, k: int = 1, threshold: float = 0.0) -> tuple[Any, Any]:
        labels, probabilities = self._model.predict(text, k=k, threshold=threshold)
        if self._lie == "raises":
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        if k > 1 and self._lie == "scaled":
            return labels, probabilities * 0.9
        if self._lie == "all":  # the same lie for every k: only the matrix knows
            return labels, probabilities**2
        if k > 1 and self._lie == "shuffled":
            return labels, probabilities[::-1]
        return labels, np.full_like(probabilities, np.nan) if self._lie == "nan" else probabilities


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ("scaled", "the module fasttext gives wrong probabilities: pip install "),
        ("all", "the module fasttext gives wrong probabilities: pip install "),
        ("shuffled", "the module fasttext gives wrong probabilities: pip install "),
        ("raises", "the module fasttext cannot predict .*: pip install "),
        ("nan", "probabilities that are not numbers"),
    ],
)
def test_wrong_probabilities_are_noticed(model: Path, lie: str, message: str) -> None:
    right = load_model(model)
    tagger_module.self_test(right)
    with pytest.raises(tagcorpus.TagcorpusError, match=message):
        tagger_module.self_test(Lying(right, lie))


# Parameters


def test_the_models_content_counts_and_not_its_path(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.bin"
    shutil.copy(model, copy)
    assert FastText(str(copy)).fingerprint() == FastText(str(model)).fingerprint()
    other = train(tmp_path, "other.bin", loss="hs")
    assert FastText(str(other)).fingerprint() != FastText(str(model)).fingerprint()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"k": 0}, r"^fasttext\.k must be at least 1, got 0$"),
        ({"threshold": 1.5}, r"^fasttext\.threshold must be from 0 to 1, got 1\.5$"),
        ({"max_chars": -1}, r"^fasttext\.max_chars must be 0 \(all\) or more, got -1$"),
    ],
)
def test_parameters_out_of_range(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("fasttext", parameters)


def test_models_that_are_none(tmp_path: Path) -> None:
    import fasttext

    with pytest.raises(ConfigError, match=r"^fasttext needs a model: --set fasttext\.model=PATH"):
        FastText().fingerprint()
    with pytest.raises(ConfigError, match=r"^fasttext\.model must be a file, got .*No such file"):
        FastText(str(tmp_path / "none")).fingerprint()
    text = tmp_path / "text.bin"
    text.write_text("the weather was cold and so on and so on\n" * 50)
    with pytest.raises(ConfigError, match=r"^fasttext\.model must be a fastText model, got "):
        load_model(text)
    vectors = fasttext.train_unsupervised(str(text), dim=4, epoch=1, minCount=1, bucket=100, thread=1, verbose=0)
    vectors.save_model(str(tmp_path / "vectors.bin"))
    with pytest.raises(ConfigError, match="must be a supervised model"):
        load_model(tmp_path / "vectors.bin")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("dense.bin", None),
        ("input.ftz", {}),
        ("norms.ftz", {"qnorm": True}),
        ("output.ftz", {"qout": True}),
        ("all.ftz", {"qout": True, "qnorm": True, "cutoff": 400}),
        ("uneven.ftz", {"qout": True, "dsub": 3, "cutoff": 400}),
    ],
)
def test_a_model_that_is_cut_short(tmp_path: Path, name: str, how: dict[str, Any] | None) -> None:
    """fastText would take all memory for one, or load it and answer. So the file is looked at before fastText sees it."""
    import fasttext

    text = tmp_path / "train.txt"  # fastText quantises no matrix of less than 256 rows
    text.write_text("".join(f"__label__{i} word{i} word{i + 1} word{i * 2}\n" for i in range(300)) * 3)
    how_trained = {"dim": 7, "epoch": 1, "minCount": 1, "minn": 2, "maxn": 3, "bucket": 1000, "thread": 1, "verbose": 0}
    model = fasttext.train_supervised(str(text), **how_trained)
    if how is not None:
        model.quantize(retrain=False, **how)
    model.save_model(str(path := tmp_path / name))
    assert len(rows(FastText(str(path), k=2), ["word1"])[0]["labels"]) == 2

    whole = path.read_bytes()
    chance = random.Random(name)
    in_dictionary = [chance.randrange(92, 8000) for _ in range(10)]
    anywhere = [chance.randrange(len(whole)) for _ in range(20)]
    beginning = [0, 3, 4, 8, 40, 63, 64, 76, 91, 92, 93, 100]
    for n_bytes in (*beginning, *in_dictionary, *anywhere, len(whole) - 50, len(whole) - 1, len(whole) + 1):
        path.write_bytes((whole + b"\0")[:n_bytes])
        for refused in (check_file, load_model):
            with pytest.raises(
                ConfigError, match=r"^fasttext\.model must be a whole file, '.*' is cut short or damaged"
            ):
                refused(path)
    with pytest.raises(ConfigError, match="must be a whole file"):
        FastText(str(path)).fingerprint()
    with pytest.raises(ConfigError, match=r"^language\.model must be a whole file"):
        load_fasttext(path)


@pytest.mark.parametrize("name", ["model.bin", "model.ftz"])
def test_counts_that_are_damaged_lead_nowhere(tmp_path: Path, name: str) -> None:
    """Whatever numbers a truncated file has, the walk through it ends, and says the same."""
    path = train(tmp_path, name, loss="softmax", minn=2, maxn=3)
    whole = path.read_bytes()[:-1]
    chance = random.Random(name)
    for at in (8, 64, 72, 84, *(chance.randrange(92, len(whole) - 8) for _ in range(40))):
        for count in (-1, 1 << 30, 1 << 62, -(1 << 63)):
            damaged = bytearray(whole)
            damaged[at : at + 8] = struct.pack("<q", count)
            path.write_bytes(damaged)
            with pytest.raises(ConfigError, match="must be a whole file"):
                check_file(path)


def test_a_version_that_is_not_known(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "newer.bin"
    path.write_bytes(model.read_bytes()[:4] + struct.pack("<i", 13) + model.read_bytes()[8:])
    with pytest.raises(ConfigError, match=r"must be a fastText model of version 12 at most, got .*: version 13$"):
        check_file(path)


# Through a run


def test_lists_in_every_kind_of_result(model: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": t}) + "\n" for t in ("the weather", "das wetter war")))
    options: dict[str, Any] = {"input": str(source), "taggers": "top=fasttext", "top": {"model": str(model), "k": 2}}
    result = tagcorpus.run("tag", output=str(tmp_path / "r.csv"), work=str(tmp_path / "out"), **options)
    columns = result.summary["instances"]["top"]["columns"]
    assert columns["labels"]["list_values"] == 4
    assert columns["label"]["top"] == {"de": 1, "en": 1}
    told = (tmp_path / "r.csv").read_text().splitlines()
    assert told[0].endswith('"label","probability","labels","probabilities"')
    assert '"[""en"", ""' in told[1]
    tagcorpus.run("tag", output=str(tmp_path / "r.parquet"), work=str(tmp_path / "out"), **options)
    tagged = pq.read_table(tmp_path / "r.parquet")
    asked = duckdb.execute("select labels[1] as best, len(probabilities) as n from tagged")
    assert asked.fetchall() == [("en", 2), ("de", 2)]
    dataset = tagcorpus.read(tmp_path / "out", text=True)
    assert [r["labels"][0] for r in dataset.to_table().to_pylist()] == tagged["label"].to_pylist()
