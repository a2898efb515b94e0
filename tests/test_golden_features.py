"""The feature table against the reference's: its inputs written as our attributes, the public command, and the expected CSV; and a
regression on the table joined with the real metadata, as a predictor would do it."""

from __future__ import annotations

import csv
import io
import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from feature_sidecars import PARAMETERS, ROLES, instances, write_sidecars

import tagcorpus
from naive import keyword_counts
from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.parts import needed
from tagcorpus.pipelines.dispatch.conduct import begin
from tagcorpus.pipelines.dispatch.planning import plan_of
from tagcorpus.pipelines.feature_table.check import report
from tagcorpus.pipelines.feature_table.columns import DOMAINS, RATIOS, columns
from tagcorpus.pipelines.group_entropy import entropy_work
from tagcorpus.pipelines.group_statistics.groups import by_model, entropy_name
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.taggers._syntax.statistics import SCHEMA, Parse, row
from tagcorpus.taggers._syntax.trees import Constituents, Dependencies

MODELS = ("acme/alpha-1b", "acme/beta-7b", "globex/gamma.2", "initech/delta-chat", "solo_model")
# The published script takes a model's oldest file for the ratios, and so reads another text than everything else does.
OLD = "acme/alpha-1b-oldest"
SCALARS = {"char_len": "length", "num_tokens": "tokens", "unique_tokens": "tokens", "ttr": "tokens"}
Sidecars = dict[str, dict[int, dict[str, Any]]]


def texts(tree: Path, model: str, which: int) -> dict[int, str]:
    """doc_id -> text of the model's first or last file of generations that passed the filter, by time."""
    files = sorted((tree / "input/freegens_all" / model).rglob("filtered_*.jsonl"))
    return {d["doc_id"]: d["resps"][0][0] for d in map(json.loads, files[which].read_text().splitlines())}


def tagged(folder: Path, feature: str) -> dict[int, Any]:
    """doc_id -> what the reference tagged it with; nothing where it did not."""
    found = [f for f in folder.glob("samples_*.parquet") if f.name == f"samples_{feature}_{feature}_.parquet"]
    table = pq.read_table(found[0]).to_pylist() if found else []
    return {r["id"]: r[feature] for r in table}


def parses(folder: Path) -> dict[int, dict[str, Any]]:
    """The columns of the tagger `syntax`, from the word lists of the reference."""
    head, trees = tagged(folder, "dep_parse"), tagged(folder, "const_parse")
    ratio = tagged(folder, "content_function_ratio")
    found = {}
    for n in head.keys() | trees.keys() | ratio.keys():
        d, c = head.get(n) or {}, trees.get(n) or {}
        parse = Parse(
            None,
            Dependencies(to_head=d.get("dist_to_head") or [], to_root=d.get("dist_to_root") or []),
            Constituents(
                word_depths=c.get("const_word_depth") or [],
                tree_depths=c.get("const_tree_depth") or [],
                sentence_words=c.get("num_words_sentence") or [],
                num_sentences=max(c.get("num_sentences_input") or [0]),
            ),
        )
        values = dict(zip(SCHEMA.names, row(parse, lists=False), strict=True))
        found[n] = {**values, "content_function_ratio": ratio.get(n)}
    return found


def sidecars(tree: Path, model: str) -> Sidecars:
    """What the reference knows of a model, as rows of our attributes. It labels other generations than it tags: labels lie on
    the rows that are kept and then on further rows, which have nothing else."""
    folder = tree / "input/pretraining_features/generations" / model
    kept = texts(tree, model, -1)
    scalars = {name: tagged(folder, name) for name in SCALARS}
    with (folder / "pred_domains_filtered/predicted_domains.csv").open(newline="", encoding="utf-8") as file:
        labels = list(csv.DictReader(file))
    n = max(scalars["char_len"]) + 1
    rows = [*sorted(kept), *range(n, n + max(0, len(labels) - len(kept)))]
    found: Sidecars = {role: {} for role in ROLES}
    for i in {*range(n), *rows}:
        is_kept = i in kept or i >= n
        found["repetition"][i] = {"is_kept": is_kept, "reason": "passed" if is_kept else "too_short"}
    for name, values in scalars.items():
        for i, value in values.items():
            found[SCALARS[name]].setdefault(i, {})[name] = value
    found["keywords"] = {i: keyword_counts(text) for i, text in kept.items()}
    found["syntax"] = parses(folder)
    found["quality"] = {i: {"edu_classifier": v["raw_score"]} for i, v in tagged(folder, "edu_classifier").items()}
    for i, label in zip(rows, labels, strict=False):
        # Our tagger gives the folded label; the reference folds when it counts.
        folded = "reference" if label["prediction"] == "media" else label["prediction"]
        found["domain"][i] = {"prediction": folded, "language": label["language"]}
    return found


def oldest(tree: Path) -> Sidecars:
    kept = texts(tree, "acme/alpha-1b", 0)
    return {
        "repetition": {i: {"is_kept": True, "reason": "passed"} for i in kept},
        "length": {i: {"char_len": len(text)} for i, text in kept.items()},
        "keywords": {i: keyword_counts(text) for i, text in kept.items()},
    }


class Tree:
    """The golden tree as generations and an output that holds its attributes already."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.rows = {model: sidecars(tree, model) for model in MODELS} | {OLD: oldest(tree)}
        for model, found in self.rows.items():
            (folder / "generations" / model).mkdir(parents=True)
            lines = [json.dumps({"id": str(i), "text": "none"}) for i in range(max(found["repetition"]) + 1)]
            (folder / "generations" / model / "g.jsonl").write_text("\n".join(lines) + "\n")
        self.options = {
            "input": [str(folder / "generations")],
            "output": str(folder / "table.csv"),
            "work": str(folder / "work"),
            "taggers": [*ROLES, "entropy"],
            "workers": 1,
            "domain": {"backend": "fasttext"},
            **PARAMETERS,
        }
        self.table = folder / "table.csv"
        self._publish(tree)

    def _publish(self, tree: Path) -> None:
        nested = {
            f"{k}.{p}" if isinstance(v, dict) else k: w
            for k, v in self.options.items()
            for p, w in (v.items() if isinstance(v, dict) else [("", v)])
        }
        using = instances(*ROLES)
        options = load_options("features", options=nested)
        stack = ExitStack()
        columns = needed(using.values())
        run, inputs, engine = begin("features", options, Display(quiet=True), columns, stack)
        try:
            plan = plan_of(run, inputs, engine)
            of = {planned.file.name: planned.file.name.rsplit("/", 1)[0] for planned in plan.files}
            write_sidecars(run.output, plan, using, {f: self.rows[m] for f, m in of.items()}, inputs.reader_options)
            groups = by_model({model: [file] for file, model in of.items()}, plan)
            keys = entropy_work.keys(plan, groups, inputs.reader_options, "p50k_base", using["repetition"])
            for model, key in keys.items():
                told: dict[str, Any] = {"mean_corpus_entropy": None, "total_contexts": 0}
                if model != OLD:
                    folder = tree / "input/pretraining_features/generations" / model
                    told = json.loads((folder / "entropy/generation_entropy.json").read_text())
                value = {**told, "key": key, "tokenizer": "p50k_base", "num_tokens": told["total_contexts"]}
                run.output.publish(entropy_name(model), json.dumps(value).encode())
        finally:
            stack.close()


@pytest.fixture(scope="module")
def made(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tree, Any]:
    tree = Tree(golden / "model_tree", tmp_path_factory.mktemp("golden"))
    return tree, tagcorpus.run("features", **tree.options)  # type: ignore[call-overload]


def cells(path: Path) -> dict[str, dict[str, str]]:
    return {r["id"]: r for r in csv.DictReader(io.StringIO(path.read_text("utf-8"), newline=""))}


def number(text: str) -> float | None:
    return float(text) if text else None


def close(text: str) -> Any:
    return pytest.approx(float(text), rel=1e-9) if text else None


def test_the_table_is_the_references(made: tuple[Tree, Any], golden: Path) -> None:
    tree, result = made
    assert result.exit_code == 0
    expected = cells(golden / "model_tree/expected/wide_two_bugs_fixed.csv")
    found = cells(tree.table)
    assert list(found[MODELS[0]]) == columns()
    assert sorted(found) == list(found) == sorted([*expected, OLD])
    compared = 0
    for model, reference in expected.items():
        for column, text in reference.items():
            if column != "id":
                assert number(found[model][column]) == close(text), (model, column)
                compared += 1
    assert compared == 5 * 56


def test_the_ratios_are_the_references(made: tuple[Tree, Any], golden: Path) -> None:
    found = cells(made[0].table)
    for model, reference in cells(golden / "model_tree/expected/wide_with_ratios.csv").items():
        ours = found[OLD if model == "acme/alpha-1b" else model]
        for column in RATIOS:
            assert float(ours[column]) == pytest.approx(float(reference[column]), rel=1e-9), (model, column)


def test_the_same_features_are_left_empty_for_the_same_reason(made: tuple[Tree, Any], golden: Path) -> None:
    warned = [
        w.split()[3] for w in (golden / "model_tree/expected/warnings.txt").read_text().splitlines() if "50%" in w
    ]
    assert len(warned) == 8
    about = json.loads(made[0].table.with_suffix(".provenance.json").read_bytes())["models"]["globex/gamma.2"]
    (columns_of,) = (
        cs for reason, cs in about["empty"].items() if "a smaller share than --min-kept-share 0.5" in reason
    )
    assert {c for c in columns_of if not any(c.startswith(w) for w in warned)} == set()
    assert all(any(c.startswith(w) for c in columns_of) for w in warned)
    assert about["counts"]["removed"] == {"too_short": 36}


def test_the_provenance_marks_what_stands_in(made: tuple[Tree, Any]) -> None:
    _, result = made
    text, code = report(str(made[0].table), None, as_json=True)
    found = {f["check"]: f for f in json.loads(text)["findings"]}
    assert code == 0
    assert found["substitutes"]["count"] == 2  # tokens by p50k, domains by the embedded model
    assert any("entropy_mean is not comparable as it is" in m for m in result.messages)
    assert any("in place of gpt-4o-mini" in m for m in result.messages)


def test_again_it_is_the_same_bytes(made: tuple[Tree, Any]) -> None:
    tree, _ = made
    names = ("table.csv", "table.provenance.json")
    before = [(tree.table.parent / n).read_bytes() for n in names]
    assert tagcorpus.run("features", **tree.options).exit_code == 0  # type: ignore[call-overload]
    assert [(tree.table.parent / n).read_bytes() for n in names] == before


# --- as a predictor reads it -----------------------------------------------------------------------------------------

QUERY = """
select f.*, m.total_params, d.pretraining_summary_total_tokens_billions as billions, e.score
from read_csv(?) f
join model_annotations m using (id)
join dataset_info d using (id)
join (select id, avg(metric_value) score from evaluation_results
      where benchmark = 'hellaswag' and setting = '10-shot' and metric = 'accuracy' group by id) e using (id)
where m.total_params is not null and billions is not null and f.char_len_mean is not null
order by id
"""


def test_a_predictor_reads_the_published_table_with_ours_in_it(golden: Path, published: Path, tmp_path: Path) -> None:
    """Two models that the published table lacks get rows of ours; the whole, joined with the metadata, feeds a regression."""
    duckdb = pytest.importorskip("duckdb")
    new = ("cerebras/btlm-3b-8k-base", "aisingapore/sea-lion-7b")
    docs = [json.loads(line)["text"] for line in (golden / "docs.jsonl").read_text().splitlines()]
    for at, model in enumerate(new):
        (tmp_path / "generations" / model).mkdir(parents=True)
        lines = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(docs[at:60:2])]
        (tmp_path / "generations" / model / "g.jsonl").write_text("\n".join(lines))
    theirs = published / "all_models_feature_stats_3_03_with_ratios.csv"
    tagcorpus.run(
        "features",
        input=tmp_path / "generations",
        output=tmp_path / "all.csv",
        work=tmp_path / "work",
        taggers=["length", "keywords", "repetition"],
        append_to=theirs,
        allow_mixed=True,
        workers=1,
    )
    before, after = cells(theirs), cells(tmp_path / "all.csv")
    assert set(after) - set(before) == set(new)
    assert all(after[m][c] == text for m, row_ in before.items() for c, text in row_.items())
    db = duckdb.connect()
    for name in ("model_annotations", "dataset_info", "evaluation_results"):
        db.execute(f"create table {name} as select * from read_csv('{published}/metadata_db/{name}.csv')")
    found = db.execute(QUERY, [str(tmp_path / "all.csv")])
    types = {d[0]: str(d[1]) for d in found.description}
    assert {types[c] for c in columns()[1:] if any(r[c] for r in after.values())} == {"DOUBLE"}
    table = found.fetchnumpy()
    assert set(new) <= set(table["id"].tolist())
    features = ["char_len_mean", *RATIOS]
    matrix = np.column_stack(
        [np.ones(len(table["id"])), np.log(table["total_params"]), np.log(table["billions"])]
        + [np.ma.filled(table[c].astype(float), 0.0) for c in features]
    )
    score = np.asarray(table["score"], float)
    weights, _, rank, _ = np.linalg.lstsq(matrix, score, rcond=None)
    residuals = score - matrix @ weights
    assert rank == matrix.shape[1]
    assert len(score) > 60
    assert 1 - residuals.var() / score.var() > 0.5
    assert weights[1] > 0  # larger models are better
    assert not any(f"domain_{d}_pct_mean" not in types for d in DOMAINS)


def test_a_table_measured_otherwise_is_refused_before_anything_is_computed(golden: Path, tmp_path: Path) -> None:
    (tmp_path / "generations/a/b").mkdir(parents=True)
    (tmp_path / "generations/a/b/g.jsonl").write_text('{"text": "never tagged"}\n')
    with pytest.raises(ConfigError, match="is not recorded") as error:
        tagcorpus.run(
            "features",
            input=tmp_path / "generations",
            output=tmp_path / "all.csv",
            work=tmp_path / "work",
            append_to=golden.parent / "data/all_models_feature_stats_3_03_with_ratios.csv",
        )
    assert error.value.exit_code == 2
    assert not (tmp_path / "work/attributes").exists()
