"""Text that CLD2 refuses, in the taggers that ask CLD2 for the language: `domain` and `syntax` (see test_language for `language`)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tagcorpus
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.inputs.chunks import Counts
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.taggers import DocumentBatch, load
from tagcorpus.taggers._syntax.models import Parsed
from tagcorpus.taggers._syntax.statistics import Parse

ENGLISH = "The weather was cold this morning, but the children walked to school as they always did. " * 3
GERMAN = "Das Wetter war heute Morgen kalt, aber die Kinder gingen wie immer zu Fuß zur Schule. " * 3
TEXTS = [ENGLISH, ENGLISH + "\x85", GERMAN.replace(" war", "\x96 war"), "\x1b"]


class Parsers:
    """In the place of a parser's models, for English and German."""

    languages = ("de", "en")

    def parse(self, language: str, texts: Sequence[str]) -> list[Parsed]:
        return [Parse(language) for _ in texts]


def parser_languages(**parameters: str) -> list[tuple[str, str]]:
    tagger = load("syntax", parameters)
    tagger.__dict__["_models"] = Parsers()
    found = tagger.tag(DocumentBatch.from_texts(TEXTS)).to_pydict()
    return list(zip(found["parser_language"], found["parse_status"], strict=True))


def test_domain_asks_without_the_characters() -> None:
    found = load("domain").tag(DocumentBatch.from_texts(TEXTS))
    assert found["language"].to_pylist() == ["en", "en", "de", "unknown"]
    assert found["stage"].to_pylist()[3] == "short_document"
    published = load("domain", {"control_characters": "keep"}).tag(DocumentBatch.from_texts(TEXTS))
    assert published["language"].to_pylist() == ["en", "unknown", "unknown", "unknown"]
    assert found.drop_columns("language") == published.drop_columns("language")


def test_syntax_parses_what_cld2_refuses() -> None:
    assert parser_languages()[:3] == [("en", "no_words"), ("en", "no_words"), ("de", "no_words")]
    assert parser_languages(control_characters="keep")[:3] == [("en", "no_words"), *[("unknown", "no_model")] * 2]
    with pytest.raises(ConfigError, match=r"^syntax\.control_characters=keep is about CLD2, which is not used here"):
        load("syntax", {"control_characters": "keep", "language": "en"})


def test_keep_has_a_key_of_its_own_and_strip_has_the_earlier_one() -> None:
    strip, keep = load("domain").fingerprint(), load("domain", {"control_characters": "keep"}).fingerprint()
    assert keep == {**strip, "control_characters": "keep"}
    assert load("domain").version == "1"


def run(folder: Path, **options: Any) -> tuple[Any, list[str]]:
    display = Display(quiet=True)
    result = tagcorpus.run(
        "tag", input=folder / "in", output=folder / "out", taggers="domain", workers=1, display=display, **options
    )
    return result, [line.partition(" ")[2] for line in display.log]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name, texts in (("a.jsonl", TEXTS), ("b.jsonl", [ENGLISH, "short"])):
        (tmp_path / "in" / name).write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    return tmp_path


def test_a_run_counts_them(folder: Path) -> None:
    line = "2 documents that CLD2 read without the characters that it refuses (domain)"
    result, log = run(folder)
    assert result.exit_code == 0
    assert line in log
    assert result.counts.remarks == {line[2:]: 2}
    assert json.loads(Path(result.ledger).read_text())["totals"]["remarks"] == {line[2:]: 2}
    _, log = run(folder)
    assert line in log, "of resumed parts, too"


def test_counts_without_remarks_have_the_earlier_form() -> None:
    assert "remarks" not in Counts().to_json()
    assert Counts.from_json(Counts().to_json()) == Counts()


def make_old(part: Path) -> None:
    """The part as version 0.1.0 wrote it: CLD2 refused the text."""
    table = pq.read_table(part, partitioning=None)
    metadata = table.schema.metadata
    counts = json.loads(metadata[b"tagcorpus.counts"])
    counts.pop("remarks", None)
    refused = [any(c in t for c in "\x85\x96\x1b") for t in TEXTS]
    codes = ["unknown" if bad else code for bad, code in zip(refused, table["language"].to_pylist(), strict=True)]
    table = table.set_column(
        table.schema.get_field_index("language"), table.schema.field("language"), pa.array(codes, pa.string())
    )
    pq.write_table(table.replace_schema_metadata({**metadata, b"tagcorpus.counts": json.dumps(counts)}), part)


def test_only_old_parts_with_such_text_are_computed_again(folder: Path) -> None:
    run(folder)
    parts = [folder / "out/attributes/domain" / name / "part-00000.parquet" for name in ("a.jsonl", "b.jsonl")]
    whole = parts[0].read_bytes()
    make_old(parts[0])
    shutil.rmtree(folder / "out/digests")
    stamp = parts[1].stat().st_mtime_ns
    _, log = run(folder)
    (line,) = (line for line in log if "again" in line)
    assert "1 of 2 parts are there already; 1 part is of an earlier input or version, to be computed again" in line
    assert "(domain: CLD2 now reads text with control characters)" in line
    assert parts[0].read_bytes() == whole
    assert parts[1].stat().st_mtime_ns == stamp
    assert not [line for line in run(folder)[1] if "again" in line], "once"


def test_old_parts_of_an_endpoint_are_kept() -> None:
    """Asking again would cost money, and the labels would be the same."""
    part = pa.record_batch({"language": ["unknown"], "stage": ["domain"]})
    openai = load("domain", {"backend": "openai", "base_url": "http://localhost:1/v1", "model": "m"})
    assert openai.outdated(part) == ""  # type: ignore[attr-defined]
