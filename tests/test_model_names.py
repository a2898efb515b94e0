"""The id of a harness folder is the one that the results file names, in a feature table and in the store alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tagcorpus
from tagcorpus.errors import InputError
from tagcorpus.pipelines.generation_files.model_names import candidates
from tagcorpus.pipelines.generation_files.models import Models, find
from tagcorpus.pipelines.options.models_file import read_models
from tagcorpus.predictor.records.harness_results import read_results

PROSE = Path(__file__).resolve().parents[1] / "examples/generations/harbour/prose-1b/samples.jsonl"
TIME, LATER = "2026-11-28T15-07-54.787788", "2026-11-29T08-00-00.000001"


def evaluated(folder: Path, name: Any, time: str = TIME, task: str = "gen", **more: Any) -> Path:
    """What lm_eval 0.4 leaves in a folder: samples, and the results file beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = [json.loads(line)["text"] for line in PROSE.read_text().splitlines()[:3]]
    lines = [json.dumps({"doc_id": i, "resps": [[f"{text} {folder.name}."]]}) for i, text in enumerate(texts)]
    (folder / f"samples_{task}_{time}.jsonl").write_text("\n".join(lines))
    document = {"results": {task: {"acc,none": 0.5}}, "n-shot": {task: 0}, "config": {}, "model_name": name, **more}
    (folder / f"results_{time}.json").write_text(json.dumps(document))
    return folder


def ids(root: Path) -> list[str]:
    return list(find([str(root)]).files)


@pytest.mark.parametrize(
    ("folder", "name", "expected"),
    [
        ("toy__mix-a", "toy/mix-a", "toy/mix-a"),
        ("models__toy__mix-a", "toy/mix-a", "toy/mix-a"),
        ("acme__my__model", "acme/my__model", "acme/my__model"),
        ("acme__my__model", "acme__my/model", "acme__my/model"),
        ("acme__alpha", "acme/alpha-of-another-name", "acme/alpha-of-another-name"),
        ("runs/2026/acme__alpha", "acme/alpha", "acme/alpha"),  # its place alone could mean two things
        ("acme/alpha/acme__alpha", "acme/alpha", "acme/alpha"),
        ("gpt2", "gpt2", "gpt2"),
        ("models__toy__mix-a", "models/toy/mix-a", "models/toy/mix-a"),  # a folder beside the script that evaluated it
        ("llama3__8b", "llama3:8b", "llama3:8b"),  # as ollama calls models
    ],
)
def test_the_results_file_names_the_model(tmp_path: Path, folder: str, name: str, expected: str) -> None:
    path = evaluated(tmp_path / "out" / folder, name)
    models = find([str(tmp_path / "out")])
    assert list(models.files) == [expected]
    assert [s.id for s in read_results(path / f"results_{TIME}.json")[0]] == [expected]  # as the store has it


def test_older_results_files_have_model_args(tmp_path: Path) -> None:
    for model, arguments in (("a", "pretrained=toy/a,dtype=float16"), ("b", {"pretrained": "toy/b"})):
        evaluated(tmp_path / f"models__toy__{model}", None, config={"model_args": arguments})
    assert ids(tmp_path) == ["toy/a", "toy/b"]


def test_samples_go_with_the_results_of_their_time(tmp_path: Path) -> None:
    """Two models that lm_eval called alike: the newest results file is that of the second only."""
    folder = evaluated(tmp_path / "x__y__z", "x/y__z", TIME, "one")
    evaluated(folder, "x__y/z", LATER, "two")
    models = find([str(tmp_path)])
    assert {m: [f.name.rpartition("/")[2] for f in files] for m, files in models.files.items()} == {
        "x/y__z": [f"samples_one_{TIME}.jsonl"],
        "x__y/z": [f"samples_two_{LATER}.jsonl"],
    }


def test_every_file_of_a_folder_is_of_one_model(tmp_path: Path) -> None:
    """Copies that a filter made lie a folder below, and older samples have no results file of their time."""
    folder = evaluated(tmp_path / "models__toy__mix-a", "toy/mix-a")
    sample = (folder / f"samples_gen_{TIME}.jsonl").read_bytes()
    for name in (f"filtered/filtered_samples_gen_{TIME}.jsonl", "samples_gen_2026-01-01T00-00-00.000000.jsonl"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(sample)
    models = find([str(tmp_path)])
    assert {m: [f.name for f in files] for m, files in models.files.items()} == {
        "toy/mix-a": [f"toy/mix-a/samples_gen_{TIME}.jsonl"]
    }
    assert len(models.set_aside) == 2


def test_a_folder_of_samples_itself(tmp_path: Path) -> None:
    assert ids(evaluated(tmp_path / "toy__mix-a", "toy/mix-a")) == ["toy/mix-a"]


@pytest.mark.parametrize(
    ("folder", "name", "told", "one"),
    [
        ("models__toy__mix-a", None, "`__` in its name more than once", "toy/mix-a"),
        ("__tmp__toy__mix-a", None, "`__` in its name more than once", "toy/mix-a"),
        ("tmp__toy__mix-a", "tmp/toy/mix-a", "by a path, 'tmp/toy/mix-a'", "toy/mix-a"),
        ("x__toy__mix-a", "../toy/mix-a", "by a path, '../toy/mix-a'", "toy/mix-a"),
        ("__tmp__toy__mix-a", "/tmp/toy/mix-a", "by a path, '/tmp/toy/mix-a'", "toy/mix-a"),
        ("__models__mix-a", "/models/mix-a", "by a path", "models/mix-a"),
    ],
)
def test_what_cannot_be_told_shows_the_candidates(tmp_path: Path, folder: str, name: Any, told: str, one: str) -> None:
    path = evaluated(tmp_path / folder, name)
    with pytest.raises(InputError) as caught:
        find([str(tmp_path)])
    message = str(caught.value)
    assert told in message
    assert f"--input {one}={path}" in message
    assert f"`{one}: {path}`" in message
    # Both ways out lead out, and the store refuses the same files without an id.
    (tmp_path / "models.yaml").write_text(f"{one}: {path}\n")
    assert list(find(read_models(str(tmp_path / "models.yaml"))).files) == [one]
    assert list(find([f"{one}={path}"]).files) == [one]
    with pytest.raises(InputError, match="--model-id"):
        read_results(path / f"results_{TIME}.json")


def test_candidates() -> None:
    assert candidates("models__toy__mix-a") == ["toy/mix-a", "models/toy__mix-a", "models__toy/mix-a"]
    assert candidates("a__b") == ["a/b"]
    assert len(candidates("a__b__c__d__e__f__g")) == 4


def test_the_place_tells_where_the_organisation_ends(tmp_path: Path) -> None:
    path = evaluated(tmp_path / "acme" / "acme__my__model", "x")
    (path / f"results_{TIME}.json").unlink()
    assert ids(tmp_path) == ["acme/my__model"]


@pytest.mark.parametrize("content", ["{", "[]", '{"results": 3}', "[" * 100_000, "\x00"])
def test_a_damaged_results_file_is_none(tmp_path: Path, content: str) -> None:
    path = evaluated(tmp_path / "toy__mix-a", "other/name")
    (path / f"results_{TIME}.json").write_text(content)
    assert ids(tmp_path) == ["toy/mix-a"]


def test_a_pinned_revision_is_noted_and_not_refused(tmp_path: Path) -> None:
    evaluated(
        tmp_path / "toy__mix-a", "toy/mix-a", config={"model_args": {"pretrained": "toy/mix-a", "revision": "1f"}}
    )
    models: Models = find([str(tmp_path)])
    assert list(models.files) == ["toy/mix-a"]
    assert any("revision=1f" in n and "--model-id toy/mix-a" in n for n in models.notes)


def test_folders_of_ones_own_say_the_id(tmp_path: Path) -> None:
    """<org>/<model>/ is what the user says; that the results file says another name is told."""
    evaluated(tmp_path / "acme" / "alpha", "/home/me/checkpoints/alpha")
    evaluated(tmp_path / "acme" / "beta", "acme/beta-hf")
    models = find([str(tmp_path)])
    assert list(models.files) == ["acme/alpha", "acme/beta"]
    assert [n.partition(":")[0] for n in models.notes] == ["acme/beta"]
    assert "names the model acme/beta-hf" in models.notes[0]


def test_features_and_scores_meet_in_the_store(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("duckdb")
    from tagcorpus.predictor.store.load import import_files
    from tagcorpus.predictor.store.store import Store

    out = tmp_path / "out"
    folders = {"toy/mix-a": "models__toy__mix-a", "toy/mix__b": "toy__mix__b", "gpt2": "gpt2"}
    folders |= {"models/toy/mix-b": "models__toy__mix-b", "llama3:8b": "llama3__8b"}
    results = [evaluated(out / f, name) / f"results_{TIME}.json" for name, f in folders.items()]
    table = tmp_path / "features.csv"
    tagcorpus.run("features", input=out, output=table, work=tmp_path / "work", taggers="length", workers=1)
    import_files(tmp_path / "store.duckdb", [*results, table], create=True)
    with Store.from_existing(tmp_path / "store.duckdb") as store:
        joined = store.con.execute(
            "SELECT id, metric_value, count(*) FROM evaluation_results JOIN features USING (id) GROUP BY ALL ORDER BY id"
        ).fetchall()
    assert [(i, score) for i, score, n in joined if n] == [(i, 0.5) for i in sorted(folders)]
