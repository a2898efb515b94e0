"""`tagcorpus report`: the page's numbers are the attributes', documents stay text, and a browser can use it."""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from profiles import more

import tagcorpus
from tagcorpus.cli import main
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.inputs.records import repair
from tagcorpus.pipelines.readers.excerpts import EXCERPT_CHARS, Place, excerpts
from tagcorpus.pipelines.readers.plan import load_plan
from tagcorpus.pipelines.report import render, report
from tagcorpus.pipelines.report.contents.contents import gather
from tagcorpus.pipelines.report.contents.intervals import of_table
from tagcorpus.pipelines.report.contents.sample import PER_BAR, look, priorities, shrunk
from tagcorpus.pipelines.report.contents.tables import feature_table, is_feature_table
from tagcorpus.pipelines.report.sections.domains import shares
from tagcorpus.pipelines.report.sections.entropy import visible
from tagcorpus.pipelines.report.sections.html import as_json, number, table, text
from tagcorpus.pipelines.report.sections.prediction import prediction_section
from tagcorpus.pipelines.storage.folder import Folder

pytest.importorskip("plotly", reason="plotly is not installed: pip install 'tagcorpus[report]'")

NASTY = [
    "</script><script>window.broken = 1</script>",
    '<img src="https://example.invalid/x.png" onerror="window.broken = 2">',
    "<!-- <script> ]]> -->",
    "line\u2028separator \u2029 and \u202e turned around",
    "quotes \" ' ` &amp; &lt;b&gt; ${window.broken = 3} {{7*7}}",
    "a lone surrogate \ud800 and \u0000 and \u001b[31m red",
    "",
    "long " * 400,
    "한국어와 日本語 and 🙂",
]
# Each of a length of its own, so that each is alone in its bar and sure to be in the page.
ODD = [t and t.ljust(800 + 100 * i, ".") for i, t in enumerate(NASTY)]
PROSE = [
    "The kettle is in stock. Add it to your basket before three and we deliver tomorrow. Read the reviews of our customers.",
    "def area(width, height):\n    return width * height\n\nprint(area(2, 3))\nfor i in range(10):\n    print(i)\n",
    "We prove that the sequence converges. Theorem 1. Let f be continuous on a compact set; then f is bounded there.",
    "She closed the door behind her and listened. Nobody came. The rain had stopped, and the garden lay quiet in the dark.",
]
TAGGERS = ["length", "language"]


def write(path: Path, texts: list[str], prefix: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"id": f"{prefix}{i}", "text": t}) for i, t in enumerate(texts)]
    path.write_text("\n".join(lines) + "\n")
    return path


def words(n: int, seed: int) -> list[str]:
    random = np.random.default_rng(seed)
    return [" ".join(["word"] * int(k)) for k in random.integers(1, 120, n)]


ENTROPY = {
    "what": "bigram entropy: of the next token", "tokenizer": "p50k_base", "num_documents": 3, "num_tokens": 30,
    "mean_corpus_entropy": 0.25, "median_corpus_entropy": 0.0, "weighted_mean_entropy": 0.5, "num_unique_contexts": 4,
    "num_zero_entropy_contexts": 3, "total_contexts": 27, "estimates": {"plug_in": 0.5, "coverage_entries": 0.5},
    "histogram": {"edges": [0.0, 0.25, 0.5, 0.75, 1.0, 1.25], "contexts": [3, 0, 0, 0, 1], "positions": [20, 0, 0, 0, 7]},
    "top_contexts": [{"text": " <b>\n", "count": 7, "distinct_next": 2, "entropy_bits": 1.0}],
    "bottom_contexts": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of two inputs with nasty documents, quarantined rows, domains, and the summary of an entropy run."""
    home = tmp_path_factory.mktemp("report")
    with write(home / "in/ada/one.jsonl", [*ODD, *PROSE, *words(196, 1)], "a-").open("ab") as file:
        file.write(b'no json </script>\n\n{"id": "x"}\n\xff\n')
    write(home / "in/bell/<two>.jsonl", [*PROSE, *words(96, 2)], "b-<i>")
    write(home / "in/solo.jsonl", PROSE[:1], "s-")  # of one document there is no standard deviation
    output = home / "<b>out.tagcorpus"
    tagcorpus.run("tag", input=home / "in", output=output, taggers=TAGGERS, workers=1)
    command = [
        "tagcorpus",
        "run",
        "domain",
        "--input",
        str(home / "in"),
        "--output",
        str(output),
        "--backend",
        "fasttext",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)  # what a run writes down as its command
        tagcorpus.run("domain", input=home / "in", output=output, domain={"backend": "fasttext"}, workers=1)
    (output / "summary/entropy-1gram.json").write_text(json.dumps(ENTROPY))
    return output


@pytest.fixture(scope="module")
def page(out: Path) -> str:
    report(str(out))
    return (out / "report.html").read_text()


def data_of(page: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)  # type: ignore[no-any-return]


def sidecar(output: Path, instance: str) -> pa.Table:
    return pa.concat_tables(pq.read_table(p) for p in sorted((output / "attributes" / instance).rglob("*.parquet")))


# -- numbers --


def test_bars_are_the_sidecars(out: Path, page: str) -> None:
    features = {f"{f['instance']}.{f['column']}": f for f in data_of(page)["features"]["features"]}
    lengths = sidecar(out, "length")["char_len"].to_numpy()
    found = features["length.char_len"]
    counts, edges = np.histogram(lengths, 50)
    assert found["counts"] == counts.tolist()
    assert found["edges"] == edges.tolist()
    assert found["stats"]["n"] == len(lengths) == 310
    assert found["stats"]["mean"] == pytest.approx(lengths.mean(), rel=1e-12)
    assert found["stats"]["std"] == pytest.approx(lengths.std(ddof=1), rel=1e-12)
    languages = sidecar(out, "language")["language"].to_pylist()
    labels = features["language.language"]
    assert dict(zip(labels["labels"], labels["counts"], strict=True)) == {v: languages.count(v) for v in set(languages)}
    calls = features["domain.n_calls"]  # an integer column with one value: one bar of that value
    assert (calls["kind"], calls["edges"], calls["counts"]) == ("whole", [0.0], [310])


def test_names_on_cards_are_whole(page: str) -> None:
    """A cut name may equal that of another column."""
    rule = re.search(r"\.cards \.name \{([^}]*)\}", page)
    assert rule is not None
    assert "overflow-wrap" in rule[1]
    assert not {"nowrap", "ellipsis"} & {*re.findall(r"[a-z-]+", rule[1])}
    assert "<span class=name>char_<wbr>len</span>" in page


def test_inputs_are_rows(out: Path, page: str) -> None:
    models = data_of(page)["models"]
    assert models["ids"] == ["ada/one.jsonl", "bell/<two>.jsonl", "solo.jsonl"]
    at = {c["name"]: i for i, c in enumerate(models["columns"])}
    for k, id_ in enumerate(models["ids"]):
        lengths = pq.read_table(out / "attributes/length" / id_ / "part-00000.parquet")["char_len"].to_numpy()
        row = models["rows"][k]
        assert row[at["documents"]] == len(lengths)
        assert row[at["char_len_mean"]] == pytest.approx(lengths.mean(), rel=1e-12)
        std = lengths.std(ddof=1) if len(lengths) > 1 else None
        assert row[at["char_len_std"]] == (std and pytest.approx(std, rel=1e-12))
        domains = pq.read_table(out / "attributes/domain" / id_ / "part-00000.parquet")["prediction"].to_pylist()
        kept = [d for d in domains if d not in ("incoherent", "unknown", None)]
        assert row[at["domain_web_pct"]] == pytest.approx(100 * kept.count("web") / len(kept))


def test_losses(page: str) -> None:
    plain = html.unescape(re.sub(r"<[^>]+>", " ", page[page.index('<section id="runs"') : page.index("<footer>")]))
    assert re.search(r"310\s+documents|documents\s+310", plain)
    assert re.search(r"not_json\s+not JSON\s+1", plain)
    assert re.search(r"no_text .*?\s1\s", plain)
    assert re.search(r"not_utf8 .*?\s1\s+.*\\xff", plain)
    assert "no json </script>" in plain
    assert re.search(r"in quarantine\s+3\s", plain)
    assert re.search(r"all rows\s+314\s+100.0 %", plain)


def test_summary_of_one_input_only_is_not_believed(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        source = write(tmp_path / f"{name}.jsonl", words(40, seed), name)
        tagcorpus.run("tag", input=source, output=tmp_path / "out", taggers=["length"], workers=1)
    told = gather(str(tmp_path / "out"))
    assert b"<dt>documents</dt><dd><b>80</b>" in render(told)
    (feature,) = told.features
    assert feature.stats["n"] == sum(feature.counts) == 80
    assert feature.counts == tuple(np.histogram(sidecar(tmp_path / "out", "length")["char_len"].to_numpy(), 50)[0])
    shutil.rmtree(tmp_path / "out/summary")
    assert gather(str(tmp_path / "out")).features == [feature]


def test_what_was_used_and_how_many(tmp_path: Path) -> None:
    """One range keeps one worker busy, however many there may be."""
    source = write(tmp_path / "a.jsonl", words(5, 1))
    tagcorpus.run("tag", input=source, output=tmp_path / "out", taggers=["length"], workers=2)
    page = render(gather(str(tmp_path / "out"))).decode()
    assert "5 documents from 5 rows of 1 file, 1 tagger; last run " in page
    assert "local, 1 worker<" in page
    (tmp_path / "two.jsonl").write_bytes(source.read_bytes())
    given = [str(source), str(tmp_path / "two.jsonl")]
    tagcorpus.run("tag", input=given, output=tmp_path / "two", taggers=["length"], workers=2)
    assert "local, 2 workers<" in render(gather(str(tmp_path / "two"))).decode()


def test_missing_part_is_told(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", words(5, 1))
    tagcorpus.run("tag", input=source, output=tmp_path / "out", taggers=["length"], workers=1)
    (tmp_path / "out/attributes/length/a.jsonl/part-00000.parquet").unlink()
    found = gather(str(tmp_path / "out"))
    assert "length/a.jsonl/part-00000.parquet is missing" in found.notes[0]
    assert found.features[0].stats["n"] == 5  # as the summary of the complete run says
    assert b"length/a.jsonl/part-00000.parquet is missing" in render(found)


@pytest.mark.parametrize("make", ["no folder", "empty", "other"])
def test_no_output(tmp_path: Path, make: str) -> None:
    if make != "no folder":
        (tmp_path / "x").mkdir()
    if make == "other":
        (tmp_path / "x/data.csv").write_text("id,a\n")
    with pytest.raises(InputError, match="is not an output of tagcorpus"):
        report(str(tmp_path / "x"))


def test_a_page_is_called_html(out: Path, tmp_path: Path) -> None:
    """`--output table.csv` must not cost the table."""
    (tmp_path / "t.csv").write_text("id\n")
    with pytest.raises(ConfigError, match=r"Name a file that ends in \.html"):
        report(str(out), str(tmp_path / "t.csv"))
    assert (tmp_path / "t.csv").read_text() == "id\n"


def test_killed_run(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", words(5, 1))
    tagcorpus.run("tag", input=source, output=tmp_path / "out", taggers=["length"], workers=1)
    (ledger,) = (tmp_path / "out/runs").glob("*/ledger.json")
    ledger.unlink()
    report(str(tmp_path / "out"))
    assert "no ledger: still running, or killed" in (tmp_path / "out/report.html").read_text()


# -- domains --


def test_shares_leave_out() -> None:
    found = shares({"web": 6, "code": 2, "unknown": 3, "incoherent": 1, "recipes": 2}, errors=4, not_asked=7)
    assert found["n"] == 10
    by_label = {d["label"]: d for d in found["labels"]}
    assert {label: d["pct"] for label, d in by_label.items() if d["n"]} == {"web": 60, "code": 20, "recipes": 20}
    assert (by_label["books"]["low"], by_label["books"]["high"]) == pytest.approx((0, 27.753), abs=1e-3)
    assert (by_label["web"]["low"], by_label["web"]["high"]) == pytest.approx((31.267, 83.182), abs=1e-3)
    assert found["left_out"] == {"unknown": 3, "incoherent": 1, "error": 4, "without a label": 7}
    assert shares({"unknown": 2}, 0, 0)["labels"][0]["pct"] is None


# -- sampled documents --


def test_documents_behind_bars(out: Path, page: str) -> None:
    found = data_of(page)["features"]
    lengths = {(r["id"]): r["char_len"] for r in sidecar(out, "length").to_pylist()}
    (feature,) = (f for f in found["features"] if f["column"] == "char_len")
    for i, (n, behind) in enumerate(zip(feature["counts"], feature["documents"], strict=True)):
        assert len(behind) == min(n, PER_BAR)
        assert len({at for at, _ in behind}) == len(behind)
        for at, value in behind:
            document = found["documents"][at]
            assert value == lengths[document["id"]] == document["chars"]
            is_last = i == len(feature["counts"]) - 1
            assert feature["edges"][i] <= value
            assert value < feature["edges"][i + 1] or (is_last and value == feature["edges"][i + 1])
            assert document["text"] == document["text"][:EXCERPT_CHARS]
    shown = {d["text"] for d in found["documents"]}
    assert {repair(t)[:EXCERPT_CHARS] for t in ODD} - {""} <= shown


def test_sample_is_the_smallest_priorities(out: Path) -> None:
    found = gather(str(out))
    (feature,) = (f for f in found.features if f.column == "char_len")
    everything = []
    for f, planned in enumerate(found.output.files):
        part = pq.read_table(out / "attributes/length" / planned.file.name / "part-00000.parquet")
        hashes = priorities(0, planned.file.name, part["row"].to_numpy(), part["sub"].to_numpy())
        bars = feature.bars_of(part["char_len"])
        everything += [
            (int(b), int(h), Place(f, 0, r, 0)) for b, h, r in zip(bars, hashes, part["row"].to_pylist(), strict=True)
        ]
    for i, bar in enumerate(look(found.output.folder, found.output.files, [feature], 0).picked[feature.name]):
        assert [p.place for p in bar] == [place for _, _, place in sorted(e for e in everything if e[0] == i)[:PER_BAR]]


def test_seed_and_shrinking(out: Path) -> None:
    found = gather(str(out))
    chosen = [look(found.output.folder, found.output.files, found.features, seed) for seed in (0, 1)]
    assert chosen[0].ids() != chosen[1].ids()
    for at_most in (30, 5):
        few = shrunk(look(found.output.folder, found.output.files, found.features, 0), at_most)
        assert 0 < len(few.ids()) <= at_most


def test_large_outputs_are_sampled_by_range(out: Path) -> None:
    found = gather(str(out))
    part = look(found.output.folder, found.output.files, found.features, 0, rows=150)
    assert (part.chunks_of, part.is_partial) == (3, True)
    assert len({place.file for place in part.ids()}) == part.chunks < 3


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "csv", "parquet"])
def test_documents_of_every_format(tmp_path: Path, kind: str) -> None:
    texts = [*words(30, 3), "the last, <b>"]
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"id": [str(i) for i in range(31)], "text": texts}), path)
    elif kind == "csv":
        path.write_text("id,text\n" + "".join(f'{i},"{t}"\n' for i, t in enumerate(texts)))
    else:
        lines = "".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts)).encode()
        path.write_bytes(gzip.compress(lines) if kind.endswith("gz") else lines)
    tagcorpus.run("tag", input=path, output=tmp_path / "out", taggers=["length"], workers=1)
    wanted = [Place(0, 0, row, 0) for row in (30, 4)]
    found = excerpts(load_plan(Folder(str(tmp_path / "out"))), wanted)
    assert {place.row: e.text for place, e in found.items()} == {4: texts[4], 30: texts[30]}


def test_harness_samples(tmp_path: Path) -> None:
    lines = [{"doc_id": i, "resps": [[f"first of {i}", f"second of {i}"]]} for i in range(3)]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    tagcorpus.run("tag", input=tmp_path / "s.jsonl", output=tmp_path / "out", taggers=["length"], workers=1)
    found = gather(str(tmp_path / "out"))
    told = {(p.row, p.sub): e.text for p, e in found.excerpts.items()}
    assert told
    assert all(t == f"{('first', 'second')[sub]} of {row}" for (row, sub), t in told.items())


@pytest.mark.parametrize(
    ("change", "told"),
    [("gone", "is not at"), ("edited", "has changed since it was tagged"), ("shorter", "has changed")],
)
def test_input_that_is_not_what_it_was(tmp_path: Path, change: str, told: str) -> None:
    source = write(tmp_path / "a.jsonl", ["first document", "second document"])
    tagcorpus.run("tag", input=source, output=tmp_path / "out", taggers=["length"], workers=1)
    if change == "gone":
        source.unlink()
    else:
        write(source, ["Xirst document", "second document"][: 2 if change == "edited" else 1])
    report(str(tmp_path / "out"))
    page = (tmp_path / "out/report.html").read_text()
    documents = data_of(page)["features"]["documents"]
    assert documents
    assert all(told in d["problem"] and "text" not in d for d in documents)
    assert "Some sampled documents cannot be shown" in page


# -- the per-model table --

TABLE = "id,entropy_mean,num_tokens_mean,domain_web_pct_std,question_words_ratio,mine\norg/a,1.5,,,300,x\n<b>,2.5,10,,20,x\n"


def test_feature_table() -> None:
    provenance = {
        "recipes": [{"columns": {"num_tokens_mean": {"instrument": "p50k_base", "in_place_of": "Llama-2"}}}],
        "models": {
            "org/a": {"recipe": 0, "empty": {"too few kept": ["num_tokens_mean", "gone"]}},
            "<b>": {"recipe": 0},
        },
    }
    assert is_feature_table(TABLE.encode())
    found = feature_table("t.csv", TABLE.encode(), provenance)
    assert [c["name"] for c in found.columns] == ["entropy_mean", "num_tokens_mean", "question_words_ratio"]
    assert found.rows == [("org/a", [1.5, None, 300.0]), ("<b>", [2.5, 10.0, 20.0])]
    assert found.reasons["org/a"] == {"num_tokens_mean": "too few kept"}
    assert found.provenance == [("p50k_base (in place of Llama-2)", "num_tokens_mean", "all")]


@pytest.mark.parametrize("head", [b"", b"id,language\n1,en\n", b"name,entropy_mean\n", b"\xff\xfe", b"id\n"])
def test_other_tables(head: bytes) -> None:
    assert not is_feature_table(head)


def test_published_table(golden: Path) -> None:
    data = next((golden.parent / "data").glob("all_models_feature_stats*.csv")).read_bytes()
    found = feature_table("published.csv", data, {})
    assert is_feature_table(data[:4096])
    assert (len(found.rows), len(found.columns)) == (102, 53)


def test_output_of_features(tmp_path: Path) -> None:
    source = write(tmp_path / "in/org/a/x.jsonl", words(20, 5))
    tagcorpus.run("tag", input=source, output=tmp_path / "out", taggers=["length"], workers=1)
    (tmp_path / "out/features.csv").write_text(TABLE)
    labels = {"org/a": {"web": 5, "code": 5, "unknown": 90}}
    provenance = {"recipes": [], "models": {m: {"counts": {"labels": own}, "empty": {}} for m, own in labels.items()}}
    (tmp_path / "out/features.provenance.json").write_text(json.dumps(provenance))
    counts = {"generations": 20, "kept": 15, "removed": {"too_short": 5}}
    told = {
        "grouped_by": "model",
        "groups": [{"id": "org/a", "counts": counts, "empty": 7}],
        "absent": {"syntax": "<no>"},
    }
    (tmp_path / "out/summary/features.json").write_text(json.dumps({"features": told}))
    (tmp_path / "out/summary/features").mkdir()
    (tmp_path / "out/summary/features/org%2Fa.entropy.json").write_text(json.dumps(ENTROPY))
    report(str(tmp_path / "out"))
    page = (tmp_path / "out/report.html").read_text()
    models = data_of(page)["models"]
    assert (models["kind"], models["ids"]) == ("model", ["org/a", "<b>"])
    assert models["scatter"][0] != models["scatter"][1] or len(models["columns"]) == 1
    plain = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())
    assert "Documents that the filter kept, by model" in plain
    assert "org/a 20 15 75.0 % 5 too_short 7" in plain
    assert "syntax: <no>" in plain
    assert "org/a 30 0.250 0.500 – 50.0 % –" in plain  # entropy


def test_intervals_of_a_table() -> None:
    values: dict[str, list[float | None]] = {
        "ttr_mean": [0.5, None], "ttr_low95": [0.4, None], "ttr_high95": [0.6, None],
        "domain_web_pct_mean": [50.0, 0.0], "ttr_std": [0.1, 0.1],
    }  # fmt: skip
    found = of_table(["a", "b"], values, {"a": {"counts": {"labels": {"web": 5, "code": 5, "unknown": 90}}}})
    assert found["ttr_mean"] == [(0.4, 0.6), None]
    assert found["domain_web_pct_mean"] == [pytest.approx((23.659, 76.341), abs=1e-3), None]
    assert set(found) == {"ttr_mean", "domain_web_pct_mean"}


# -- text stays text --

ANY_TEXT = st.text(st.characters(codec=None), max_size=40)


@given(ANY_TEXT)
@more(2)
def test_json_in_a_script_element(value: str) -> None:
    told = as_json({"v": [value, "</script><!--"]})
    assert not set("<>&\u2028\u2029") & set(told)
    told.encode()
    assert json.loads(told) == {"v": [repair(value), "</script><!--"]}


@given(ANY_TEXT)
@more(2)
def test_text_in_html(value: str) -> None:
    told = text(value)
    assert not set("<>\"'") & set(told)
    told.encode()
    visible_controls = {c: chr(0x2400 + ord(c)) for c in map(chr, range(32)) if c not in "\n\t"} | {"\x7f": "\u2421"}
    assert html.unescape(told) == "".join(visible_controls.get(c, c) for c in repair(value)) or "&" in value


def test_what_json_cannot_hold() -> None:
    assert json.loads(as_json([math.nan, math.inf, 1.5])) == [None, None, 1.5]


def test_numbers_as_told() -> None:
    assert [number(v) for v in (None, 3, 12345, 1234.5, 0.12345, -2.5)] == [
        "–",
        "3",
        "12,345",
        "1,234",
        "0.1235",
        "−2.5",
    ]


def test_visible_contexts() -> None:
    assert visible(" a\n\\") == "\u2423a\\n\\\\"


class Tags(HTMLParser):
    """Every tag with its attributes, and the text in script elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_no_markup_from_outside(page: str) -> None:
    tags = Tags(page).tags
    assert [a.get("id") for t, a in tags if t == "script"] == ["data", "library", None]
    assert not [t for t, _ in tags if t in ("img", "iframe", "i", "object", "embed", "form", "base")]
    assert not [a for _, a in tags if any(name.startswith("on") for name in a)]
    assert "<title>&lt;b&gt;out.tagcorpus</title>" in page
    assert "\u2423&lt;b&gt;\\n" in page


def test_nothing_is_loaded(page: str) -> None:
    for _, attributes in Tags(page).tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:,"))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert "default-src 'none'" in policy
    scripts = next(p for p in policy.split("; ") if p.startswith("script-src"))
    assert re.fullmatch(r"script-src( 'sha256-[\w+/=]{44}'){2}", scripts)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_tables_have_semantics() -> None:
    told = table("Caption <x>", ("A", "B"), [("1 & 2", 3)], (1,))
    assert "<caption" in told
    assert "Caption &lt;x&gt;" in told
    assert told.count('scope="col"') == 2
    assert '<th scope="row">1 &amp; 2</th><td class="n">3</td>' in told


def test_size_is_told(page: str) -> None:
    (told,) = re.findall(r"This page has ([\d.]+) MB", page)
    assert float(told) == pytest.approx(len(page.encode()) / 1e6, abs=0.06)


# -- the command --


def test_same_folder_same_bytes(out: Path, page: str, tmp_path: Path) -> None:
    target = tmp_path / "somewhere/else.html"
    done = CliRunner().invoke(main, ["report", str(out), "--output", str(target)])
    assert done.exit_code == 0
    assert str(target) in done.output
    assert target.read_text() == page
    copy = shutil.copytree(out, tmp_path / out.name)
    report(str(copy), str(tmp_path / "copy.html"))
    assert (tmp_path / "copy.html").read_bytes() == target.read_bytes()


def test_relative_output(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report(os.path.relpath(out), "page.html")
    assert (tmp_path / "page.html").is_file()


def test_without_plotly(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ConfigError, match=r"needs plotly.*pip install 'plotly>=6'"):
        report(str(out))
    done = CliRunner().invoke(main, ["report", str(out)])
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1


# -- in a browser --


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    selenium = pytest.importorskip(
        "selenium", reason="selenium is not installed: the page is not looked at in a browser"
    )
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    binary = next((found for name in names if (found := shutil.which(name))), None)
    chromedriver = shutil.which("chromedriver")
    if binary is None or chromedriver is None:
        pytest.skip("chromium and chromedriver are not both installed: the page is not looked at in a browser")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    assert selenium
    options = ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(chromedriver))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture
def opened(browser: Any, out: Path, page: str) -> Any:
    """The page, charts drawn, light, with the logs of before gone."""
    assert page
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    emulate(browser, "light")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get((out / "report.html").as_uri())
    until(browser, "return document.documentElement.dataset.charts === 'ready'")
    return browser


def emulate(driver: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def until(driver: Any, script: str) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    WebDriverWait(driver, 60, poll_frequency=0.05).until(lambda d: d.execute_script(script))


def press(driver: Any, selector: str, *keys: str) -> None:
    from selenium.webdriver.common.by import By

    driver.find_element(By.CSS_SELECTOR, selector).send_keys(*keys)


def ids_shown(driver: Any) -> list[str]:
    return driver.execute_script(  # type: ignore[no-any-return]
        "return [...document.querySelectorAll('#models-table tbody th')].map(c => c.textContent)"
    )


def test_browser_renders(opened: Any) -> None:
    for chart in ("entropy-0", "scatter-chart", "feature-chart"):
        opened.execute_script(f"document.getElementById('{chart}').scrollIntoView()")
        until(opened, f"return document.querySelectorAll('#{chart} svg.main-svg').length > 0")
    assert opened.execute_script("return document.querySelectorAll('#feature-chart .point').length") >= 10
    assert opened.get_log("browser") == []


def test_browser_asks_for_nothing(opened: Any) -> None:
    opened.execute_script("document.getElementById('feature-chart').scrollIntoView()")
    until(opened, "return document.querySelectorAll('#feature-chart svg.main-svg').length > 0")
    events = [json.loads(e["message"])["message"] for e in opened.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [u for u in asked if not u.startswith(("file:", "data:", "blob:"))] == []
    assert {u for u in asked if u.startswith("file:")} == {opened.current_url}
    assert opened.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []


def test_browser_documents_stay_text(opened: Any) -> None:
    shown = opened.execute_script(
        """const found = [];
        const choice = document.getElementById('feature-choice'), bar = document.getElementById('feature-bar');
        for (const option of choice.options) {
          choice.value = option.value; choice.dispatchEvent(new Event('change'));
          for (let i = 0; i <= Number(bar.max); i += 1) {
            bar.value = i; bar.dispatchEvent(new Event('input'));
            found.push(...[...document.querySelectorAll('#documents pre')].map(p => p.textContent));
            if (document.querySelector('#documents :is(script, img, i, svg, a)')) throw new Error('markup');
          }
        }
        return found;"""
    )
    assert {repair(t)[:EXCERPT_CHARS] for t in ODD} - {""} <= set(shown)
    assert opened.execute_script("return window.broken === undefined && document.scripts.length === 3")
    assert opened.get_log("browser") == []


def test_browser_sorts_and_filters(opened: Any) -> None:
    press(opened, "#models-filter", "BELL")
    assert ids_shown(opened) == ["bell/<two>.jsonl"]
    assert opened.execute_script("return document.getElementById('models-line').textContent").startswith(
        "1 of 3 inputs"
    )
    opened.execute_script(
        "const f = document.getElementById('models-filter'); f.value = ''; f.dispatchEvent(new Event('input'))"
    )
    press(opened, "#models-table button[data-column='-1']", "\n")
    assert ids_shown(opened) == ["solo.jsonl", "bell/<two>.jsonl", "ada/one.jsonl"]
    sort = "return [...document.querySelectorAll('#models-table thead th')].map(c => c.getAttribute('aria-sort'))"
    assert opened.execute_script(sort)[:2] == ["descending", "none"]
    press(opened, "#models-table button[data-column='0']", " ")
    assert ids_shown(opened) == ["ada/one.jsonl", "bell/<two>.jsonl", "solo.jsonl"]  # 209 documents, 100, 1
    assert opened.execute_script(sort)[:2] == ["none", "descending"]
    assert opened.execute_script("return document.activeElement.dataset.column") == "0"
    opened.execute_script(
        "const w = document.getElementById('models-where'); w.value = '0'; w.dispatchEvent(new Event('input'))"
    )
    press(opened, "#models-value", "150")
    assert ids_shown(opened) == ["ada/one.jsonl"]


def test_browser_missing_values_stay_at_the_end(opened: Any) -> None:
    opened.execute_script("document.querySelector('#models-choice button').click()")  # all columns
    column = "return [...document.querySelectorAll('#models-table button')].find(b => b.textContent.startsWith('char_len_std')).dataset.column"
    button = f"#models-table button[data-column='{opened.execute_script(column)}']"
    press(opened, button, " ")
    assert ids_shown(opened)[-1] == "solo.jsonl"
    press(opened, button, " ")
    assert ids_shown(opened)[-1] == "solo.jsonl"
    told = "return document.querySelector('#models-table td.missing').textContent"
    assert opened.execute_script(told) == "–missing"


def test_browser_keyboard(opened: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    press(opened, "body", Keys.TAB)
    assert opened.execute_script("return document.activeElement.className") == "skip"
    told = "return document.getElementById('feature-bar-label').textContent"
    before = opened.execute_script(told)
    press(opened, "#feature-bar", Keys.ARROW_RIGHT)
    after = opened.execute_script(told)
    assert before != after
    assert (
        opened.execute_script("return document.getElementById('feature-bar').getAttribute('aria-valuetext')") == after
    )
    assert opened.execute_script("return document.querySelectorAll('#documents article').length") >= 1
    press(opened, "[data-feature='0']", Keys.ENTER)
    assert opened.execute_script("return document.getElementById('feature-choice').value") == "0"
    assert opened.execute_script("return getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_browser_click_on_a_bar(opened: Any) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.wait import WebDriverWait

    opened.execute_script(
        "document.documentElement.style.scrollBehavior = 'auto'; document.getElementById('feature').scrollIntoView()"
    )
    until(opened, "return document.querySelectorAll('#feature-chart .point').length > 0")
    opened.execute_script(
        "const b = document.getElementById('feature-bar'); b.value = b.max; b.dispatchEvent(new Event('input'))"
    )
    opened.execute_script("document.getElementById('feature-chart').scrollIntoView({block: 'center'})")
    told = opened.execute_script("return document.getElementById('feature-bar-label').textContent")

    def has_changed(driver: Any) -> bool:
        drag = driver.find_element(By.CSS_SELECTOR, "#feature-chart .nsewdrag")
        left, low = 10 - drag.size["width"] // 2, drag.size["height"] // 2 - 3
        ActionChains(driver).move_to_element_with_offset(drag, left, low).click().perform()
        now = driver.execute_script("return document.getElementById('feature-bar-label').textContent")
        return bool(now != told)

    WebDriverWait(opened, 60).until(has_changed)


def test_browser_prints_light(opened: Any) -> None:
    emulate(opened, "dark")
    until(opened, "return document.documentElement.dataset.theme === 'dark'")
    opened.execute_script(
        "window.printed = []; addEventListener('beforeprint', () => printed.push(document.documentElement.dataset.theme))"
    )
    assert opened.print_page()
    assert opened.execute_script("return printed") == ["light"]
    charts = "return [...document.querySelectorAll('.chart')].every(c => c.querySelector('svg.main-svg'))"
    assert opened.execute_script(charts)
    until(opened, "return document.documentElement.dataset.theme === 'dark'")


def test_browser_dark_and_light(opened: Any) -> None:
    background = "return getComputedStyle(document.body).backgroundColor"
    offered = "return document.getElementById('theme').textContent"
    light = opened.execute_script(background)
    assert opened.execute_script(offered) == "Dark theme"
    press(opened, "#theme", "\n")
    dark = opened.execute_script(background)
    assert light != dark
    assert opened.execute_script(offered) == "Light theme"
    press(opened, "#theme", "\n")
    assert opened.execute_script(background) == light
    opened.execute_script("localStorage.clear()")
    emulate(opened, "dark")
    opened.refresh()
    until(opened, "return document.documentElement.dataset.charts === 'ready'")
    assert opened.execute_script(background) == dark
    assert opened.get_log("browser") == []


def test_browser_on_a_phone(opened: Any) -> None:
    opened.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 375, "height": 812, "deviceScaleFactor": 2, "mobile": True}
    )
    opened.refresh()
    until(opened, "return document.documentElement.dataset.charts === 'ready'")
    opened.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    opened.execute_script(
        "document.querySelector('#models-choice button').click()"
    )  # all columns, missing values among them
    assert opened.execute_script("return [innerWidth, document.documentElement.scrollWidth]") == [375, 375]
    wide = """return [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, .chart, .unseen, pre')
      && e.getBoundingClientRect().right > 376).map(e => e.outerHTML.slice(0, 80))"""
    assert opened.execute_script(wide) == []


@pytest.mark.parametrize("width", [420, 768, 1300])
def test_browser_fits_every_width(opened: Any, width: int) -> None:
    """Only boxes of tables scroll sideways, with every fold open; a shell line breaks instead."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    opened.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    over = """return [...document.querySelectorAll('body, body *')].filter(e => !e.closest('.scroll, .chart, .unseen, .skip')
      && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== 'inline'
      && getComputedStyle(e).textOverflow !== 'ellipsis').map(e => e.outerHTML.slice(0, 80))"""
    assert opened.execute_script(over) == []


def test_browser_copies_a_shell_line(opened: Any) -> None:
    assert opened.execute_script("return document.querySelector('.copy').textContent") == "Copy"
    press(opened, ".copy", "\n")
    until(opened, "return document.querySelector('.copy').textContent === 'Copied'")


def test_browser_names_and_tables_for_screen_readers(opened: Any) -> None:
    nameless = """return [...document.querySelectorAll('input, select, button')].filter(e => e.type !== 'checkbox'
      && !(e.labels && e.labels.length) && !e.textContent.trim() && !e.getAttribute('aria-label')).map(e => e.outerHTML.slice(0, 80))"""
    assert opened.execute_script(nameless) == []
    charts = "return [...document.querySelectorAll('.chart')].filter(c => !c.closest('figure').querySelector('details table')).map(c => c.id)"
    assert opened.execute_script(charts) == []
    assert opened.execute_script(
        "return [...document.querySelectorAll('table')].every(t => t.caption && t.caption.textContent)"
    )
    assert opened.execute_script(
        "return [...document.querySelectorAll('.chart')].every(c => c.getAttribute('role') === 'img' && c.getAttribute('aria-label'))"
    )


PNG = bytes.fromhex("89504e470d0a1a0a") + b"not much of a picture"


def test_a_prediction_in_the_folder(tmp_path: Path) -> None:
    def evaluation(predictor: str, folds: str, mae: float) -> dict[str, Any]:
        return {"predictor": predictor, "folds": folds, "mae": mae, "mae_mean_over_seeds": None, "marks": []}

    gain = {"predictor": "<law>", "folds": "grouped", "gain_percent": -12.5, "gain_interval_percent": [-30.0, 5.0]}
    task = {"task": "anli", "shots": 0, "models": 31, "organisations": 7, "comparisons": [gain]}
    task["evaluations"] = [evaluation("scaling", "grouped", 4.0), evaluation("<law>", "grouped", 4.5)]
    over_all = {"predictor": "<law>", "folds": "grouped", "against": "scaling", "geometric_mean": 1.125}
    over_all |= {"low": 0.9, "high": 1.375, "better_in": 0, "of": 1}
    (tmp_path / "prediction/figures/anli").mkdir(parents=True)
    (tmp_path / "prediction/figures/anli/bees.png").write_bytes(PNG)
    found = {"protocol": "grouped", "tasks": [task], "summary_over_tasks": [over_all]}
    contents = SimpleNamespace(output=SimpleNamespace(folder=Folder(str(tmp_path))))
    assert prediction_section(contents) is None  # type: ignore[arg-type]
    (tmp_path / "prediction/predict.json").write_text(json.dumps(found))
    section = prediction_section(contents)  # type: ignore[arg-type]
    assert section is not None
    cells = re.sub(r"<[^>]*>", "|", section.body)
    assert "31 models by 7 organisations" in cells
    assert re.search(r"anli 0-shot\|+31\|+4.00\|+4.50\|", cells)
    assert re.search(r"&lt;law&gt;\|+no group on both sides\|+4.50\|+–\|+−12.5 %\|+−30.0 % to \+5.0 %\|", cells)
    assert re.search(r"\|scaling\|+1.12\|+0.90 to 1.38\|+0 of 1\|", cells)
    assert base64.b64encode(PNG).decode() in section.body
    assert 'alt="anli, bees"' in section.body
    # Over makers there is another gain, and with few of them no interval.
    task |= {"grouped_by": "maker"}
    gain |= {"over_groups": {"ratio": 1.2, "low": None, "high": None}}
    over_all |= {"low": None, "high": None}
    (tmp_path / "prediction/predict.json").write_text(json.dumps(found))
    section = prediction_section(contents)  # type: ignore[arg-type]
    assert section is not None
    cells = re.sub(r"<[^>]*>", "|", section.body)
    assert "31 models by 7 makers" in cells
    assert re.search(r"\|+4.50\|+–\|+−20.0 %\|+–\|", cells)
    assert re.search(r"\|scaling\|+1.12\|+–\|+0 of 1\|", cells)
