"""The tagger `datatrove_filter`: what datatrove's own filters say, which classes are taken, and what is told otherwise."""

from __future__ import annotations

import importlib.util
import json
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from datatrove.data import Document
from datatrove.pipeline.filters import C4ParagraphFilter, FineWebQualityFilter, RegexFilter
from slurm_commands import invoke

import tagcorpus
from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers import load
from tagcorpus.taggers._interface.batch import DocumentBatch

COMMAND = str(Path(sysconfig.get_path("scripts")) / "tagcorpus")
LONG = "a line of text. " * 20
TEXTS = ["", "short", "\n".join([LONG] * 4), f"{LONG}\n{LONG}\n{LONG[:150]}", "\n\n\n", "x" * 900]

OWN = '''
from datatrove.pipeline.filters.base_filter import BaseFilter

class Even(BaseFilter):
    """Keeps texts of even length; tells the batch's size, and what it was given."""
    name = "even"

    def __init__(self, batch_size=1, says=None):
        super().__init__(batch_size=batch_size)
        self.says = says

    def filter(self, doc):
        if doc.text == "boom":
            raise ValueError("boom")
        if doc.metadata or doc.media:
            return False, "metadata"
        doc.text = "changed"
        return True

    def filter_batch(self, batch):
        assert len(batch) <= self.batch_size
        before = [d.text for d in batch]
        found = super().filter_batch(batch)
        return [(len(t) % 2 == 0 and f is True, self.says or f"{d.id} of {len(batch)}")
                for t, d, f in zip(before, batch, found)]

class Wants(BaseFilter):
    _requires_dependencies = [("no_such_module", "no-such-package")]
    name = "wants"
    def filter(self, doc):
        return True

class Late(BaseFilter):
    name = "late"
    def filter(self, doc):
        if len(doc.text) > 100:
            import no_such_module
        return True

class Unmade(BaseFilter):
    name = "unmade"
    def __init__(self):
        raise RuntimeError("no model")
    def filter(self, doc):
        return True
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module with filters of one's own."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "filters_of_one.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "filters_of_one"


def verdicts(texts: list[str], **parameters: Any) -> list[tuple[bool, str]]:
    found = load("datatrove_filter", parameters).tag(DocumentBatch.from_texts(texts)).to_pydict()
    return list(zip(found["is_kept"], found["reason"], strict=True))


def theirs(filter_: Any, texts: list[str], name: str) -> list[tuple[bool, str]]:
    """What the filter answers itself, in our words."""
    found = []
    for text in texts:
        answer = filter_.filter(Document(text, "0"))
        is_kept, reason = answer if isinstance(answer, tuple) else (answer, name)
        found.append((is_kept, "passed" if is_kept else reason))
    return found


def test_default() -> None:
    assert verdicts(TEXTS) == theirs(C4ParagraphFilter(), TEXTS, "")
    assert {kept for kept, _ in verdicts(TEXTS)} == {True, False}
    assert verdicts(["short"]) == [(False, "< 3 paragraphs")]


def test_arguments_and_a_filter_without_reasons() -> None:
    found = verdicts(TEXTS, filter="RegexFilter", arguments={"regex_exp": "^x|sho"})
    assert found == theirs(RegexFilter("^x|sho"), TEXTS, "RegexFilter")
    assert found[1] == (False, "RegexFilter")
    assert found[2] == (True, "passed")


@pytest.mark.skipif(importlib.util.find_spec("spacy") is None, reason="FineWebQualityFilter needs spaCy for words")
def test_a_filter_that_counts_words() -> None:
    assert verdicts(TEXTS, filter="FineWebQualityFilter") == theirs(FineWebQualityFilter(), TEXTS, "")


def test_a_class_of_ones_own_in_batches(own: str) -> None:
    texts = ["ab", "abc", "", "abcde", "x"]
    found = verdicts(texts, filter=f"{own}:Even", arguments={"batch_size": 2})
    assert found == [(True, "passed"), (False, "1 of 2"), (True, "passed"), (False, "3 of 2"), (False, "4 of 1")]


def test_two_ways_to_write_a_class_are_one_tagger() -> None:
    short = load("datatrove_filter", {"filter": "RegexFilter", "arguments": {"regex_exp": "x"}})
    home = "datatrove.pipeline.filters.regex_filter:RegexFilter"
    long = load("datatrove_filter", {"filter": home, "arguments": {"regex_exp": "x"}})
    assert short.fingerprint() == long.fingerprint() == {"filter": home, "arguments": {"regex_exp": "x"}}
    assert short.version == long.version
    assert (
        load("datatrove_filter").fingerprint()["arguments"]
        == load("datatrove_filter", {"arguments": {}}).fingerprint()["arguments"]
    )


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"filter": "RegexFiltr"}, "unknown filter 'RegexFiltr'"),
        ({"filter": "RegexFiltr"}, "did you mean 'RegexFilter'?"),
        ({"filter": "BaseFilter"}, "unknown filter 'BaseFilter'"),
        ({"filter": "json:loads"}, "must be a class derived from datatrove.pipeline.filters.base_filter:BaseFilter"),
        ({"filter": "datatrove.pipeline.readers:JsonlReader"}, "must be a class derived from"),
        ({"filter": "no_such_module:X"}, "No module named 'no_such_module'"),
        ({"filter": "RegexFilter"}, "missing a required argument: 'regex_exp'. It takes regex_exp"),
        ({"filter": "RegexFilter", "arguments": {"regexp": "x"}}, "It takes regex_exp"),
        ({"filter": "SamplerFilter"}, "use --sample FRACTION --seed S"),
        ({"filter": "filters_of_one:Wants"}, "pip install no-such-package"),
        ({"filter": 3}, "--set datatrove_filter.filter must be str, got 3"),
        ({"arguments": [1]}, "--set datatrove_filter.arguments must be dict[str, typing.Any] or null, got [1]"),
    ],
)
def test_what_is_refused(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        load("datatrove_filter", parameters)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_package_missed_late_ends_the_run_instead_of_costing_rows(own: str) -> None:
    assert verdicts(["short"], filter=f"{own}:Late") == [(True, "passed")]
    with pytest.raises(
        TaggerError, match=r"Late cannot work here. No module named .* \(`pip install no_such_module`\)"
    ):
        verdicts(TEXTS, filter=f"{own}:Late")


def test_a_filter_that_cannot_be_made(own: str) -> None:
    with pytest.raises(TaggerError, match="Unmade cannot be made from None: no model"):
        verdicts(["a"], filter=f"{own}:Unmade")


def test_run_filter_keeps_what_it_keeps(tmp_path: Path, own: str) -> None:
    texts = ["ab", "abc", "boom", "abcd"]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"id": f"d{i}", "text": t}) + "\n" for i, t in enumerate(texts)))
    command = ["run", "filter", "-i", str(path), "-o", str(tmp_path / "out"), "-w", "1", "--json"]
    command += ["--keep", "datatrove_filter.is_kept", "--set", f"datatrove_filter.filter={own}:Even"]
    command += ["--set", "datatrove_filter.arguments={says: odd}"]
    done = invoke(*command)
    assert done.code == 0, done.err
    filtered = done.json()["summary"]["filtered"]
    assert filtered["kept"] == 2
    assert filtered["removed"] == {"odd": 1, "tagger_failed": 1}
    removed = (tmp_path / "out/filtered/removed_a.jsonl").read_text().splitlines()
    assert [json.loads(r)["filter_reason"] for r in removed] == ["odd", "tagger_failed"]
    assert (tmp_path / "out/filtered/filtered_a.jsonl").read_text().splitlines() == [
        json.dumps({"id": f"d{i}", "text": texts[i]}) for i in (0, 3)
    ]


def test_two_filters_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "xa"}\n{"text": "b"}\n')
    settings = {
        "one": {"filter": "RegexFilter", "arguments": {"regex_exp": "x"}},
        "two": {"filter": "RegexFilter", "arguments": {"regex_exp": "b"}},
    }
    names = ["one=datatrove_filter", "two=datatrove_filter"]
    tagcorpus.run("tag", input=tmp_path / "a.jsonl", output=tmp_path / "out", taggers=names, workers=1, **settings)  # type: ignore[call-overload]
    table = tagcorpus.read(tmp_path / "out").to_table()
    assert table["one.is_kept"].to_pylist() == [False, True]
    assert table["two.is_kept"].to_pylist() == [True, False]
