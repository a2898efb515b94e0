"""Which files are which model's: layouts, what is newest, and everything that is refused."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

import tagcorpus
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.generation_files.models import Models, find
from tagcorpus.pipelines.options.commands.features import FeaturesOptions
from tagcorpus.pipelines.options.load import load_options
from tagcorpus.pipelines.options.models_file import read_models

Layout = dict[str, list[str]]


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text('{"text": "x"}\n')
    return root


def layout(found: Models) -> Layout:
    return {model: [f.name for f in files] for model, files in found.files.items()}


def found(root: Path, *names: str, **how: Any) -> Layout:
    return layout(find([str(tree(root, *names))], **how))


def refused(arguments: Sequence[object], *wanted: str, **how: Any) -> None:
    with pytest.raises(InputError) as caught:
        find([str(a) for a in arguments], **how)
    for words in wanted:
        assert words in str(caught.value)


def test_folders_name_the_models(tmp_path: Path) -> None:
    names = ["acme/alpha-1b/a.jsonl", "acme/alpha-1b/deep/down/b.jsonl.gz", "acme/beta.2/x.parquet", "solo/c.jsonl.zst"]
    others = [
        "acme/alpha-1b/notes.txt",
        "acme/alpha-1b/results_1.json",
        "acme/alpha-1b/removed_a.jsonl",
        ".git/x/y.jsonl",
    ]
    assert found(tmp_path, *names, *others) == {
        "acme/alpha-1b": ["acme/alpha-1b/a.jsonl", "acme/alpha-1b/deep/down/b.jsonl.gz"],
        "acme/beta.2": ["acme/beta.2/x.parquet"],
        "solo": ["solo/c.jsonl.zst"],
    }


NEWEST = "samples_gen_2025-02-01T10-00-00.000001.jsonl"


@pytest.mark.parametrize(
    "older",
    [
        "samples_gen_2025-02-01T10-00-00.jsonl",
        "samples_gen_2025-02-01T10-00-00.00000.jsonl",
        "samples_gen_2025-02-01T09-59-59.999999.jsonl",
        "samples_gen_2025-02-01.jsonl",
        "samples_gen_2024-12-31T23-59-59.999999.jsonl",
    ],
)
def test_newest_by_the_whole_time(tmp_path: Path, older: str) -> None:
    models = find([str(tree(tmp_path, f"acme__alpha/{older}", f"acme__alpha/{NEWEST}"))])
    assert layout(models) == {"acme/alpha": [f"acme/alpha/{NEWEST}"]}
    assert models.set_aside == {str(tmp_path / "acme__alpha" / older): f"older than {NEWEST}"}


def test_every_task_has_its_newest(tmp_path: Path) -> None:
    names = ["samples_a_2025-01-01.jsonl", "samples_a_2025-01-02.jsonl", "samples_a_b_2024-01-01.jsonl"]
    assert found(tmp_path, *(f"acme__m/{n}" for n in names)) == {
        "acme/m": ["acme/m/samples_a_2025-01-02.jsonl", "acme/m/samples_a_b_2024-01-01.jsonl"]
    }


def test_where_harness_folders_lie(tmp_path: Path) -> None:
    sample = "samples_gen_2025-02-01T10-00-00.000000.jsonl"
    assert found(
        tmp_path,
        f"acme/alpha/acme__alpha/{sample}",
        f"acme/acme__beta/{sample}",
        f"globex__gamma.2/{sample}",
        f"solo/__solo/{sample}",
        f"initech/delta__v2/{sample.replace('samples', 'other')}",
    ) == {
        "acme/alpha": [f"acme/alpha/acme__alpha/{sample}"],
        "acme/beta": [f"acme/beta/{sample}"],
        "globex/gamma.2": [f"globex/gamma.2/{sample}"],
        "initech/delta__v2": [f"initech/delta__v2/{sample.replace('samples', 'other')}"],
        "solo": [f"solo/__solo/{sample}"],
    }


def test_what_a_filter_has_made_of_files(tmp_path: Path) -> None:
    """Originals count; a filtered file counts where there is nothing else, and the user is told."""
    sample, newer = "samples_gen_2025-02-01.jsonl", "samples_gen_2025-03-01.jsonl"
    names = [f"a__x/{sample}", f"a__x/filtered/filtered_{sample}", f"a__x/filtered/removed_{sample}"]
    names += [f"b__y/{sample}", f"b__y/filtered/filtered_{newer}"]
    names += [
        "c/z/gens.jsonl.gz",
        "c/z/filtered_gens.jsonl",
        "d/filtered/filtered_gens.jsonl",
        "d/filtered/removed_gens.jsonl",
    ]
    models = find([str(tree(tmp_path, *names))])
    assert layout(models) == {
        "a/x": [f"a/x/{sample}"],
        "b/y": [f"b/y/filtered/filtered_{newer}"],
        "c/z": ["c/z/gens.jsonl.gz"],
        "d": ["d/filtered/filtered_gens.jsonl"],
    }
    assert [note.partition(":")[0] for note in models.notes] == ["b/y", "d"]
    assert models.set_aside[str(tmp_path / "c/z/filtered_gens.jsonl")] == "filtered from gens.jsonl.gz"


def test_a_folder_one_level_too_deep_is_told(tmp_path: Path) -> None:
    tree(tmp_path, "acme/alpha/a.jsonl", "acme/beta/b.jsonl", "solo/c.jsonl")
    deep = find([str(tmp_path / "acme")])
    assert list(deep.files) == ["alpha", "beta"]
    assert deep.notes == (
        f"--input {tmp_path}/acme: ids have no organisation, such as alpha. If acme is the organisation, give {tmp_path} as "
        "--input; if they have none, all is well",
    )
    assert find([str(tmp_path)]).notes == ()  # one bare name among others is meant
    assert find([f"alpha={tmp_path}/acme/alpha"]).notes == ()


def test_labels_and_lists(tmp_path: Path) -> None:
    tree(tmp_path, "one/a.jsonl", "one/sub/b.jsonl", "two/samples_g_2024-01-01.jsonl", "two/samples_g_2025-01-01.jsonl")
    old, new = tmp_path / "two/samples_g_2024-01-01.jsonl", tmp_path / "two/samples_g_2025-01-01.jsonl"
    assert layout(find([f"acme/m={tmp_path}/one", f"old={old}", f"new={tmp_path}/two"])) == {
        "acme/m": ["acme/m/a.jsonl", "acme/m/sub/b.jsonl"],
        "new": ["new/samples_g_2025-01-01.jsonl"],
        "old": ["old/samples_g_2024-01-01.jsonl"],  # named itself, so it counts whatever its time
    }
    assert layout(find([f"m={old}", f"m={new}"])) == {"m": [f"m/{old.name}", f"m/{new.name}"]}
    listed = tmp_path / "models.yaml"
    listed.write_text("acme/m: one\nglobex/n: [one/../two/samples_g_2024-01-01.jsonl]\n")
    arguments = read_models(str(listed))
    models = find(arguments)
    assert list(models.files) == ["acme/m", "globex/n"]
    # What is written down of a run can be given to the next one.
    again = tmp_path / "again.yaml"
    again.write_text(models.to_yaml())
    files = {m: [f.path for f in fs] for m, fs in find(read_models(str(again))).files.items()}
    assert files == {m: [f.path for f in fs] for m, fs in models.files.items()}


def test_models_take_the_place_of_input(tmp_path: Path) -> None:
    tree(tmp_path, "a.jsonl")
    listed = tmp_path / "models.yaml"
    listed.write_text(yaml.safe_dump({"acme/m": "a.jsonl"}))
    options = load_options("features", None, [f"models={listed}", "domain.sample=7", "entropy.tokenizer=gpt2"])
    assert isinstance(options, FeaturesOptions)
    assert options.input == [f"acme/m={tmp_path}/a.jsonl"]
    assert (options.domain_sample, options.entropy_tokenizer) == (7, "gpt2")
    with pytest.raises(ConfigError, match="does not go with input"):
        tagcorpus.run("features", models=listed, input=tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be a mapping"),
        ("- a", "must be a mapping"),
        ("a: []", "a has no file"),
        ("1: x.jsonl", "1 must be text"),
        ("a b: x.jsonl", "cannot be a model's id"),
        ("a/../c: x.jsonl", "cannot be a model's id"),
        ("a: x\na: y", "twice"),
    ],
)
def test_models_files_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        read_models(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("names", "folder", "told"),
    [
        (["a.jsonl", "acme/m/b.jsonl"], "", "give --group-by COLUMN"),
        (["acme/a.jsonl", "acme/m/b.jsonl"], "acme", "files of its own"),
        (["acme/m/a.jsonl", "acme/n/"], "acme/n", "holds no generations"),
        (["acme/m/a.jsonl", "acme/n/results_x.json", "acme/n/removed_a.jsonl"], "acme/n", "holds no generations"),
        (["acme/m/a.jsonl", "globex__n/"], "globex__n", "holds no generations"),
        (["Acme/M/a.jsonl", "acme/m/b.jsonl"], "acme/m", "upper and lower case"),
        (["acme/my model/a.jsonl"], "acme/my model", "cannot be a model's id"),
        (["acme/m,n/a.jsonl"], "acme/m,n", "cannot be a model's id"),
        (["acme/m\n/a.jsonl"], "acme/m", "cannot be a model's id"),
        (["acme/m/acme__m/samples_g_2025-01-01.jsonl", "acme__m/samples_g_2025-01-01.jsonl"], "acme__m", "two places"),
        (["acme__m/samples_g_2025-01-01.jsonl", "acme__m/extra.jsonl"], "acme__m", "extra.jsonl"),
        (["acme__m/samples_g_2025-01-01.jsonl", "acme__m/x/samples_g_2025-01-01.jsonl"], "acme__m", "of the same time"),
        (["runs/acme__m/samples_g_2025-01-01.jsonl"], "runs/acme__m", "understood in two ways"),
        (["acme__my model/samples_g_2025-01-01.jsonl"], "acme__my model", "cannot be a model's id"),
    ],
)
def test_what_is_refused_with_its_folder(tmp_path: Path, names: list[str], folder: str, told: str) -> None:
    tree(tmp_path, *names)
    if len({os.path.realpath(tmp_path / n) for n in names}) < len(names):
        pytest.skip("a filesystem without upper and lower case")
    refused([tmp_path], str(tmp_path / folder), told)


def test_empty_folders_may_be_left_out(tmp_path: Path) -> None:
    tree(tmp_path, "acme/m/a.jsonl", "acme/n/", "logs/today.txt")
    refused([tmp_path], f"{tmp_path}/acme/n", excludes=["logs/*"])
    assert layout(find([str(tmp_path)], excludes=["acme/n/*", "logs"])) == {"acme/m": ["acme/m/a.jsonl"]}
    assert layout(find([str(tmp_path)], globs=["*/m/*"])) == {"acme/m": ["acme/m/a.jsonl"]}


def test_one_file_is_one_models(tmp_path: Path) -> None:
    tree(tmp_path, "acme/m/a.jsonl", "acme/n/")
    (tmp_path / "acme/n/b.jsonl").symlink_to(tmp_path / "acme/m/a.jsonl")
    refused([tmp_path], "the same file", str(tmp_path / "acme/n/b.jsonl"), str(tmp_path / "acme/m/a.jsonl"))
    refused([f"x={tmp_path}/acme/m/a.jsonl", f"y={tmp_path}/acme/m/a.jsonl"], "the same file")


def test_names_that_collide(tmp_path: Path) -> None:
    tree(tmp_path, "one/a.jsonl", "two/a.jsonl", "g/acme/m/c.jsonl")
    refused([f"m={tmp_path}/one/a.jsonl", f"m={tmp_path}/two/a.jsonl"], "would both be called 'm/a.jsonl'")
    refused([f"acme/m={tmp_path}/one", tmp_path / "g"], "two places", "acme/m=")
