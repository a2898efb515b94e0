"""`run features` end to end: the chain, what it shares with the single pipelines, resuming, groups, samples, refusals."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from plugins import SCRIPT, Corpus, Ended, empty_corpus, ended, known_here, tree
from slurm_commands import invoke
from stub_llm import NEGATIVE, StubLLM, answer, failure

import tagcorpus
from tagcorpus.errors import BudgetError, ConfigError, InputError
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.dispatch.conduct import begin
from tagcorpus.pipelines.dispatch.planning import plan_of
from tagcorpus.pipelines.feature_table.columns import columns
from tagcorpus.pipelines.options.commands.features import FeaturesOptions
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.taggers import load

__all__ = ["empty_corpus", "known_here"]  # fixtures

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples/generations"
MODELS = ["harbour/coder-1b", "harbour/prose-1b", "mill/loop-tiny"]
ENTROPY_KEYS = ("mean_corpus_entropy", "median_corpus_entropy", "weighted_mean_entropy", "num_unique_contexts", "total_contexts", "num_tokens", "estimates")  # fmt: skip


def features(source: object, output: Path, **options: Any) -> Result:
    """With the substitutes that ship with the package, in this process."""
    named = {} if "taggers" in options else {"domain": {"backend": "fasttext"}, "tokens": {"tokenizer": "p50k_base"}}
    given = {**named, "workers": 1, **options}
    result: Result = tagcorpus.run("features", input=source, output=output, **given)  # type: ignore[call-overload]
    return result


def rows(table: Path) -> dict[str, dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as lines:
        return {row["id"]: row for row in csv.DictReader(lines)}


def entropy_of(output: Path, model: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (output / f"summary/features/{model.replace('/', '%2F')}.entropy.json").read_text()
    )
    return found


def published(output: Path) -> dict[str, bytes]:
    """All whose bytes are promised."""
    return {
        **tree(output, "attributes", "quarantine", "summary", "plan", "tokens"),
        **{p.name: p.read_bytes() for p in output.glob("features*")},
    }


def stamps(output: Path) -> dict[str, tuple[int, int]]:
    """Tells whether a file was published again."""
    found = (p for room in ("attributes", "tokens", "summary/features") for p in (output / room).rglob("*.*"))
    return {str(p.relative_to(output)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in found if p.is_file()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples' output; no test changes it."""
    output = tmp_path_factory.mktemp("features") / "out"
    assert features(EXAMPLES, output, extended=True).exit_code == 0
    return output


def test_a_row_for_each_model(done: Path) -> None:
    found = rows(done / "features.csv")
    assert list(found) == MODELS
    assert {m: (float(r["generations"]), float(r["generations_kept"])) for m, r in found.items()} == {
        MODELS[0]: (12, 12),
        MODELS[1]: (12, 12),
        MODELS[2]: (12, 5),
    }
    # Fewer than half of its generations are kept.
    assert found[MODELS[2]]["char_len_mean"] == ""
    assert found[MODELS[0]]["char_len_mean"] != ""
    assert found[MODELS[2]]["entropy_mean"] != ""
    assert {r["edu_classifier_mean"] for r in found.values()} == {""}
    listed = yaml.safe_load((done / "plan/models.yaml").read_text())
    assert listed == {m: [str(EXAMPLES / m / "samples.jsonl")] for m in MODELS}


@pytest.mark.parametrize("model", MODELS[1:])
@pytest.mark.usefixtures("undrawn")
def test_entropy_is_that_of_the_kept_documents_alone(done: Path, tmp_path: Path, model: str) -> None:
    tagcorpus.run("filter", input=EXAMPLES / model, output=tmp_path / "filter", workers=1)
    kept = tmp_path / "filter/filtered/filtered_samples.jsonl"
    tagcorpus.run("entropy", input=kept, output=tmp_path / "entropy", workers=1)
    wanted = json.loads((tmp_path / "entropy/summary/entropy-1gram.json").read_text())
    found = entropy_of(done, model)
    assert {k: found[k] for k in ENTROPY_KEYS} == {k: wanted[k] for k in ENTROPY_KEYS}
    assert float(rows(done / "features.csv")[model]["entropy_mean"]) == wanted["mean_corpus_entropy"]


def test_domains_are_those_of_the_kept_documents_alone(done: Path, tmp_path: Path) -> None:
    model = MODELS[2]
    table = tagcorpus.read(done, ["repetition", "domain"]).to_table().to_pylist()
    assert {r["stage"] == "not_selected" for r in table if not r["is_kept"]} == {True}
    assert {r["prediction"] is None for r in table if not r["is_kept"]} == {True}
    tagcorpus.run("domain", input=EXAMPLES / model, output=tmp_path / "d", domain={"backend": "fasttext"}, workers=1)
    every = tagcorpus.read(tmp_path / "d", ["domain"]).to_table().to_pylist()
    own = [r for r in table if r["input"].startswith(model)]
    assert [r["prediction"] for r in own if r["is_kept"]] == [
        e["prediction"] for e, r in zip(every, own, strict=True) if r["is_kept"]
    ]


@pytest.mark.usefixtures("undrawn")
def test_token_ids_are_kept_as_run_entropy_keeps_them(done: Path, tmp_path: Path) -> None:
    tagcorpus.run("entropy", input=EXAMPLES, output=tmp_path, workers=1)
    assert tree(done, "tokens") == tree(tmp_path, "tokens")
    assert len(tree(done, "tokens")) == 3


def test_the_same_again_computes_nothing(done: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(done, output)
    before, data = stamps(output), published(output)
    features(EXAMPLES, output, extended=True)
    assert stamps(output) == before
    assert published(output) == data


def test_another_model_is_the_only_one_computed(tmp_path: Path) -> None:
    source, output = tmp_path / "generations", tmp_path / "out"
    shutil.copytree(EXAMPLES / "harbour", source / "harbour")
    features(source, output)
    before, table = stamps(output), rows(output / "features.csv")
    shutil.copytree(EXAMPLES / "mill", source / "mill")
    features(source, output)
    after = stamps(output)
    assert {n: s for n, s in after.items() if n in before and not n.endswith("tagger.json")} == {
        n: s for n, s in before.items() if not n.endswith("tagger.json")
    }
    # A part for each of six taggers, the token ids, the entropy.
    assert len(after) - len(before) == 8
    assert all("mill" in n for n in set(after) - set(before))
    assert {m: r for m, r in rows(output / "features.csv").items() if m in table} == table
    shutil.rmtree(source / "harbour")
    features(source, output)
    assert list(rows(output / "features.csv")) == ["mill/loop-tiny"]


LOST: dict[str, Callable[[Path], Sequence[Path]]] = {
    "parts of a tagger and all domains": lambda out: [
        out / "attributes/domain",
        *out.glob("attributes/tokens/mill/**/*.parquet"),
    ],
    "the filter of a model": lambda out: list(out.glob("attributes/repetition/mill/**/*.parquet")),
    "all token ids": lambda out: [out / "tokens"],
    "a token part cut short": lambda out: list(out.glob("tokens/p50k_base/mill/**/*.arrow")),
    "plan, table and an entropy": lambda out: [
        out / "plan",
        *out.glob("features*"),
        out / "summary/features.json",
        out / "summary/features/mill%2Floop-tiny.entropy.json",
    ],
}


@pytest.mark.parametrize("what", LOST)
def test_what_is_missing_is_made_again(done: Path, tmp_path: Path, what: str) -> None:
    output = tmp_path / "out"
    shutil.copytree(done, output)
    lost = LOST[what](output)
    assert lost
    for path in lost:
        if "cut" in what:
            path.write_bytes(path.read_bytes()[:-40])
            (output / "summary/features/mill%2Floop-tiny.entropy.json").unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    features(EXAMPLES, output, extended=True)
    wanted = published(done)
    if what == "all token ids":  # nobody needs them any more
        wanted = {n: d for n, d in wanted.items() if not n.startswith("tokens/")}
    assert published(output) == wanted


@pytest.mark.e2e
def test_killed_on_the_way(done: Path, corpus: Corpus) -> None:
    """All processes at once; the same command then gives the same bytes. (What a kill at other places leaves is like what
    the test above takes away.)"""
    watch = "import os\nif 'PLUGIN_EVENTS' in os.environ:\n    import plugin_taggers\n"
    corpus.environment()
    (corpus.root / "plugins" / "sitecustomize.py").write_text(watch)
    output = corpus.root / "killed"

    def run(env: dict[str, str]) -> Ended:
        arguments = ["--backend", "fasttext", "--tokenizer", "p50k_base", "--extended", "--workers", "2"]
        process = subprocess.Popen(
            [SCRIPT, "run", "features", "-i", str(EXAMPLES), "-o", str(output), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=corpus.root,
            env=corpus.environment(env),
            start_new_session=True,
        )
        return ended(process)

    # Between the domains of one model and of another.
    env = {
        "PLUGIN_ROOT": str(corpus.root),
        "PLUGIN_EVENTS": str(corpus.root / "events"),
        "PLUGIN_ONLY": "/attributes/domain/",
        "PLUGIN_KILL": "group",
        "PLUGIN_KILL_AT": "4",
    }
    assert run(env).code == -signal.SIGKILL
    for path in output.rglob(".*.tmp"):
        os.utime(path, (path.stat().st_mtime - 90_000,) * 2)
    last = run({})
    assert last.code == 0, last.err
    assert published(output) == published(done)


def test_formats_and_layouts_make_no_difference(done: Path, tmp_path: Path) -> None:
    """The same generations as samples of the harness, compressed, and as Parquet."""
    first, second, third = ((EXAMPLES / m / "samples.jsonl").read_bytes() for m in MODELS)
    records = [json.loads(line) for line in first.splitlines()]
    harness = [{"doc_id": i, "resps": [[r["text"]]], "filter": "none"} for i, r in enumerate(records)]
    folder = tmp_path / "g/harbour__coder-1b"
    folder.mkdir(parents=True)
    (folder / "samples_gen_2025-01-02T00-00-00.5.jsonl").write_text("".join(json.dumps(h) + "\n" for h in harness))
    (folder / "samples_gen_2025-01-02T00-00-00.49.jsonl").write_text('{"doc_id": 0, "resps": [["old"]]}\n')
    (folder / "results_2025-01-02T00-00-00.5.json").write_text("{}")
    for model in MODELS[1:]:
        (tmp_path / "g" / model).mkdir(parents=True)
    (tmp_path / "g" / MODELS[1] / "x.jsonl.gz").write_bytes(gzip.compress(second))
    table = pa.Table.from_pylist([json.loads(line) for line in third.splitlines()])
    half = len(table) // 2
    pq.write_table(table.slice(0, half), tmp_path / "g" / MODELS[2] / "part-0.parquet")
    pq.write_table(table.slice(half), tmp_path / "g" / MODELS[2] / "part-1.parquet")
    features(tmp_path / "g", tmp_path / "out")
    published_columns = list(rows(tmp_path / "out/features.csv")[MODELS[0]])
    wanted = {m: {c: r[c] for c in published_columns} for m, r in rows(done / "features.csv").items()}
    assert rows(tmp_path / "out/features.csv") == wanted


def test_groups_of_a_column_are_what_models_would_be(done: Path, tmp_path: Path) -> None:
    lines = [
        json.dumps({**json.loads(line), "meta": {"source": m}}) + "\n"
        for m in MODELS
        for line in (EXAMPLES / m / "samples.jsonl").read_text().splitlines()
    ]
    lines = lines[::2] + lines[1::2]  # all of them in each chunk
    (tmp_path / "all.jsonl").write_text("".join(lines))
    output = tmp_path / "out"
    features(tmp_path / "all.jsonl", output, group_by="meta.source", extended=True, chunk_bytes=2048)
    assert len(list(output.glob("attributes/tokens/**/*.parquet"))) > 3
    # But for the random samples, whose order is by file and row.
    at_budget = [c for c in rows(done / "features.csv")[MODELS[0]] if "at_budget" in c]
    assert len(at_budget) > 3

    def without(table: Path) -> dict[str, dict[str, str]]:
        return {m: {c: v for c, v in r.items() if c not in at_budget} for m, r in rows(table).items()}

    assert without(output / "features.csv") == without(done / "features.csv")
    before = stamps(output)
    features(tmp_path / "all.jsonl", output, group_by="meta.source", extended=True, chunk_bytes=2048)
    assert stamps(output) == before
    with pytest.raises(ConfigError, match="no document has such a column"):
        features(tmp_path / "all.jsonl", output, group_by="nothing", chunk_bytes=2048)


def test_groups_of_a_level(tmp_path: Path) -> None:
    features(EXAMPLES, tmp_path / "one", group_by="level:1", taggers=["length", "entropy"])
    found = rows(tmp_path / "one/features.csv")
    assert list(found) == ["harbour", "mill"]
    texts = [
        json.loads(x)["text"] for m in MODELS[:2] for x in (EXAMPLES / m / "samples.jsonl").read_text().splitlines()
    ]
    assert float(found["harbour"]["char_len_mean"]) == pytest.approx(sum(map(len, texts)) / len(texts), rel=1e-12)
    for wrong in ("level:0", "level:", "level:x"):
        with pytest.raises(ConfigError, match="level:N with N from 1"):
            features(EXAMPLES, tmp_path / "two", group_by=wrong)


def labelled(output: Path) -> dict[str, set[int]]:
    """Rows with a label, by model."""
    table = tagcorpus.read(output, ["domain"]).to_table().to_pylist()
    return {m: {r["row"] for r in table if r["input"].startswith(m) and r["stage"] != "not_selected"} for m in MODELS}


def test_a_sample_of_each_model_is_labelled(done: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    given = {"backend": "fasttext", "sample": 7}
    features(EXAMPLES, output, domain=given, extended=True)
    found = labelled(output)
    assert [len(v) for v in found.values()] == [7, 7, 5]
    assert all(found[m] <= labelled(done)[m] for m in MODELS)
    table = rows(output / "features.csv")
    assert [float(table[m]["domain_n"]) for m in MODELS] == [7, 7, 5]
    told = json.loads((output / "features.provenance.json").read_text())
    assert told["parameters"]["domain_sample"] == 7
    before = stamps(output)
    features(EXAMPLES, output, domain=given, extended=True)
    assert stamps(output) == before
    features(EXAMPLES, output, domain=given, extended=True, seed=1)
    other = labelled(output)
    assert [len(v) for v in other.values()] == [7, 7, 5]
    assert other != found
    # As many as there are is all of them, and so the same parts as without a sample.
    features(EXAMPLES, output, domain={"backend": "fasttext", "sample": 12}, extended=True)
    assert {n: d for n, d in tree(output, "attributes/domain").items() if n.endswith("parquet")} == {
        n: d for n, d in tree(done, "attributes/domain").items() if n.endswith("parquet")
    }


def test_labels_that_stand_already_are_taken(done: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    tagcorpus.run("domain", input=EXAMPLES, output=output, domain={"backend": "fasttext"}, workers=1)
    before = {n: s for n, s in stamps(output).items() if n.endswith("parquet")}
    features(EXAMPLES, output, extended=True)
    assert {n: s for n, s in stamps(output).items() if n in before} == before
    assert (output / "features.csv").read_bytes() == (done / "features.csv").read_bytes()


def test_no_substitute_that_is_not_named(done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor an endpoint that happens to be configured."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-nobody")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    result = features(EXAMPLES, tmp_path, domain={}, tokens={})
    table, wanted = rows(tmp_path / "features.csv"), rows(done / "features.csv")
    own = [c for c in table[MODELS[0]] if c.startswith(("domain_", "pct_english", "num_tokens", "unique_tok", "ttr"))]
    assert {table[m][c] for m in MODELS for c in own} == {""}
    assert all(table[m][c] == wanted[m][c] for m in MODELS for c in table[m] if c not in own)
    for role, told in (("domain", "no backend was named"), ("tokens", "no tokenizer was named")):
        assert told in result.summary["features"]["absent"][role]
        assert told in (tmp_path / "features.provenance.json").read_text()


def test_an_endpoint_is_asked_about_kept_documents_only(tmp_path: Path) -> None:
    with StubLLM(lambda call: answer("code" if "def " in call.text else NEGATIVE.get(call.stage, "web"))) as stub:
        given = {"base_url": stub.base_url, "llm_cache": "none", "backoff_seconds": 0.001}
        advice = r"more calls than domain=.*max_requests.* of each model's generations with domain=\{'sample': N\}"
        with pytest.raises(BudgetError, match=advice):
            features(EXAMPLES, tmp_path / "few", taggers=["domain"], domain={**given, "max_requests": 10})
        few = {**given, "max_requests": 60}
        with pytest.raises(BudgetError, match=r"of each model's generations: with domain=\{'sample': \d") as raised:
            features(EXAMPLES, tmp_path / "few", taggers=["domain"], domain=few)
        assert not stub.calls
        sample = int(str(raised.value).partition("'sample': ")[2].partition("}")[0])
        features(EXAMPLES, tmp_path / "few", taggers=["domain"], domain={**few, "sample": sample})
        assert [len(v) for v in labelled(tmp_path / "few").values()] == [sample] * 3
        stub.calls.clear()
        assert not stub.calls
        result = features(EXAMPLES, tmp_path, domain=given)
        assert any("29 documents to label" in m for m in result.messages)
        table = tagcorpus.read(tmp_path, ["repetition", "domain"]).to_table().to_pylist()
        asked = len(stub.calls)
        assert asked == sum(r["n_calls"] for r in table if r["is_kept"])
        features(EXAMPLES, tmp_path, domain=given)
        assert len(stub.calls) == asked
        assert json.loads(Path(result.ledger).read_text())["llm"]["requests"] == asked


def test_documents_without_a_label_are_asked_about_again(tmp_path: Path) -> None:
    """As in `run domain`: only they, and of the kept documents only. Others would get another label."""
    with StubLLM(lambda call: failure(400, "no") if " is " in call.text else answer("code")) as stub:
        given = {"base_url": stub.base_url, "llm_cache": "none", "backoff_seconds": 0.001}
        features(EXAMPLES, tmp_path, taggers=["domain"], domain=given)
        before = tagcorpus.read(tmp_path, ["domain"]).to_table().to_pylist()
        n = sum(r["error"] is not None for r in before)
        assert 0 < n < sum(r["n_calls"] > 0 for r in before if r["n_calls"] is not None)
        stub.calls.clear()
        stub.reply = lambda _: answer("incoherent")
        features(EXAMPLES, tmp_path, taggers=["domain"], domain=given, retry_errors=True)
        assert len(stub.calls) == n
        after = tagcorpus.read(tmp_path, ["domain"]).to_table().to_pylist()
        for old, new in zip(before, after, strict=True):
            assert new["prediction"] == "incoherent" if old["error"] is not None else new == old


def options_of(output: Path) -> FeaturesOptions:
    given = {"input": [str(EXAMPLES)], "output": str(output), "workers": 1}
    options = load_options("features", None, (), given)
    assert isinstance(options, FeaturesOptions)
    return options


def test_models_that_do_not_fit_into_memory_give_the_same_bits(done: Path, tmp_path: Path) -> None:
    from tagcorpus.pipelines.counting.corpus import Limits
    from tagcorpus.pipelines.counting.token_budget import Budget
    from tagcorpus.pipelines.group_entropy.entropy_work import EntropyWork
    from tagcorpus.pipelines.group_statistics.groups import by_model
    from tagcorpus.pipelines.token_ids.cache import TokenizerChoice

    output = tmp_path / "out"
    shutil.copytree(done, output)
    stack, filter_ = ExitStack(), Instance("repetition", "repetition", load("repetition"))
    run, inputs, engine = begin("features", options_of(output), Display(quiet=True), (), stack)
    plan = plan_of(run, inputs, engine)
    assert inputs.models is not None
    groups = by_model({m: [f.name for f in files] for m, files in inputs.models.files.items()}, plan)
    work = EntropyWork(engine, plan, groups, filter_, None, TokenizerChoice("p50k_base"), "1GB")
    stored = work.stored()
    assert list(stored) == MODELS
    budget = Budget(200, 5, 0)
    assert {s["token_budget"]["tokens"] for s in stored.values()} == {200}
    work.limits = Limits(300, 100)  # the smallest model fits, the others do not
    found = work.compute(groups, budget)
    assert {m: json.loads(json.dumps(v)) for m, v in found.items()} == stored
    assert work.stored() == stored
    assert not list((output / "spill").glob("*")) if (output / "spill").exists() else True
    stack.close()


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    features(EXAMPLES, tmp_path, taggers=["char_len"], extended=True)
    assert (tmp_path / "features.parquet").exists()
    result = features(EXAMPLES, tmp_path, taggers=["char_len"])
    assert not (tmp_path / "features.parquet").exists()  # it would keep what the table has no more
    assert sorted(p.name for p in (tmp_path / "attributes").iterdir()) == ["length", "repetition"]
    assert not (tmp_path / "tokens").exists()
    filled = {c for c, v in rows(tmp_path / "features.csv")[MODELS[0]].items() if v}
    assert filled == {"id", "char_len_mean", "char_len_std"}
    assert result.summary["features"]["absent"]["entropy"] == "not computed: --taggers has no entropy"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"taggers": ["code"]}, "no column of the table comes from it"),
        ({"taggers": ["tokens", "gpt=tokens"]}, "a column is measured with one tagger"),
        ({"taggers": ["lenght"]}, "did you mean 'length'"),
        ({"append_to": "x.csv"}, "needs output="),
        ({"min_kept_share": 1.5}, "at least 0 and at most 1"),
        ({"domain": {"backend": "fasttext", "model": "m"}}, "these are for an LLM"),
        ({"domain": {"threshold": 0.1}}, "its tagger is not in use"),
        ({"domain": {"sample": 0}}, "at least 1"),
        ({"domain": {"sample": "many"}}, "domain_sample takes a whole number"),
        ({"executor": "slurm"}, "features takes several"),
    ],
)
def test_refusals(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        tagcorpus.run("features", **{"input": EXAMPLES, "output": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_an_output_of_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the table is a CSV"):
        features(EXAMPLES, tmp_path / "out.json")


def test_a_table_that_is_not_ours_is_not_written_over(tmp_path: Path) -> None:
    table, where = tmp_path / "all.csv", {"work": tmp_path / "w", "taggers": ["length"]}
    theirs = ",".join(columns()) + "\nacme/alpha,1.5" + "," * (len(columns()) - 2) + "\n"
    table.write_text(theirs)
    with pytest.raises(ConfigError, match="`run features` has not made it"):
        features(EXAMPLES, table, **where)
    assert table.read_text() == theirs
    assert not (tmp_path / "w/attributes").exists()  # nothing was computed for it
    features(EXAMPLES, table, append_to=table, allow_mixed=True, **where)  # united with itself, it may be
    assert list(rows(table)) == ["acme/alpha", *MODELS]
    features(EXAMPLES, table, **where)  # and now it is ours
    assert list(rows(table)) == MODELS
    whole, beside = table.read_text(), tmp_path / "all.provenance.json"
    table.write_text(whole.replace("\n", ",mine\n"))
    with pytest.raises(ConfigError, match="it has changed since `run features` wrote it"):
        features(EXAMPLES, table, **where)
    assert "mine" in table.read_text()
    table.write_text(whole)
    beside.write_text("{}")  # as if a run had been killed before its table
    features(EXAMPLES, table, **where)
    assert table.read_text() == whole


def test_other_instances_and_oddities(tmp_path: Path) -> None:
    source = tmp_path / "g"
    shutil.copytree(EXAMPLES / "mill", source / "mill")
    shutil.copytree(EXAMPLES / "mill", source / "copy")
    (source / "none/at-all").mkdir(parents=True)
    (source / "none/at-all/x.jsonl").write_text('{"text": 1}\n')
    result = features(source, tmp_path / "out", taggers=["gpt=tokens"], gpt={"tokenizer": "gpt2"})
    assert any("have the same content" in m for m in result.messages)
    assert any(m.startswith("none/at-all: not one generation") for m in result.messages)
    assert (tmp_path / "out/attributes/gpt").is_dir()
    told = json.loads((tmp_path / "out/features.provenance.json").read_text())
    assert '"gpt2"' in json.dumps(told)


def test_superseded_samples_leave_the_results(tmp_path: Path) -> None:
    folder = tmp_path / "g/acme__m"
    folder.mkdir(parents=True)
    text = (EXAMPLES / MODELS[1] / "samples.jsonl").read_text()
    (folder / "samples_g_2025-01-01.jsonl").write_text(text)
    output = tmp_path / "out"
    features(tmp_path / "g", output, taggers=["length"])
    (folder / "samples_g_2025-01-02.jsonl").write_text(text.splitlines()[0] + "\n")
    features(tmp_path / "g", output, taggers=["length"])
    table = tagcorpus.read(output, ["length"]).to_table()
    assert table["input"].to_pylist() == ["acme/m/samples_g_2025-01-02.jsonl"]


def test_the_command_line(done: Path, tmp_path: Path) -> None:
    work, table = tmp_path / "w", tmp_path / "all.csv"
    where = ["--input", str(EXAMPLES), "--output", str(table), "--work", str(work), "--workers", "1"]
    plan = invoke("run", "features", *where, "--dry-run", "--json", "--backend", "fasttext")
    assert plan.code == 0, plan.err
    assert plan.json()["summary"]["dry_run"]["models"] == 3
    assert not work.exists()
    named = ["--backend", "fasttext", "--tokenizer", "p50k_base"]
    ran = invoke("run", "features", *where, *named, "--extended", "--json")
    assert ran.code == 0, ran.err
    assert table.read_bytes() == (work / "features.csv").read_bytes() == (done / "features.csv").read_bytes()
    assert [g["id"] for g in ran.json()["summary"]["features"]["groups"]] == MODELS
    assert re.search(r"^\S+ 3 models\n\S+   harbour/coder-1b: ", ran.err, re.MULTILINE)
    assert ran.err.count("3 files, 36 rows, 3 chunks") == 1
    assert " domains by fasttext:" in ran.err
    missing = invoke("run", "features", "--input", str(tmp_path / "nowhere"), "--output", str(tmp_path / "x"))
    assert missing.code == 2
    assert "no such file or folder" in missing.err


def test_status_knows_what_is_not_selected(done: Path) -> None:
    told = json.loads(invoke("status", str(done), "--json").out)
    assert {n: (i["ranges_done"], i["ranges_stale"]) for n, i in told["instances"].items()} == dict.fromkeys(
        ["domain", "keywords", "language", "length", "repetition", "tokens"], (3, 0)
    )


def test_a_limit_that_ends_before_the_last_model(tmp_path: Path) -> None:
    result = features(EXAMPLES, tmp_path / "out", limit=13, taggers=["length"])
    assert [g["id"] for g in result.summary["features"]["groups"]] == MODELS[:2]
    with pytest.raises(InputError):
        features(tmp_path / "nowhere", tmp_path / "out")


def test_chosen_instances_travel(done: Path) -> None:
    import pickle

    instance = Instance("domain", "domain", load("domain"), {"a": {"kept_by": 1}}, is_whole_enough=True)
    again = pickle.loads(pickle.dumps(replace(instance)))
    assert again == instance
    assert again.choice_in("a") == {"chosen": {"kept_by": 1}}
    assert again.choice_in("b") == {}
    assert done.exists()
