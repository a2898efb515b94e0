"""Manifests, fits and checkpoints that were edited, damaged, or are of another run: nothing is computed from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from slurm_commands import invoke
from token_outputs import write_tokens

from tagcorpus.errors import InputError
from tagcorpus.pipelines.mix_models.swarm import read_mixes, read_swarm
from tagcorpus.pipelines.mixes.mix_file import read_mix
from tagcorpus.pipelines.storage.sealed import sealed
from tagcorpus.pipelines.training import checkpoints

MAKE = ("--sequence-length", "16", "--tokens", "320")


@pytest.fixture
def mix(tmp_path: Path) -> Path:
    tokens = write_tokens(tmp_path / "tokens", {"a": [300], "b": [300]}, held_out=True)
    assert invoke("mix", "make", str(tokens), "-o", str(tmp_path / "mix"), *MAKE).code == 0
    return tmp_path / "mix"


def test_a_manifest_without_its_checksum_is_refused(mix: Path) -> None:
    assert sum(read_mix(str(mix)).shares.values()) == 1
    value = json.loads((mix / "mix.json").read_text())
    del value["checksum"]
    value["groups"]["a"]["share"], value["groups"]["b"]["share"] = 0.9, 0.1  # entries that the key does not cover
    (mix / "mix.json").write_text(json.dumps(value, indent=1))
    with pytest.raises(InputError, match="damaged or was edited"):
        read_mix(str(mix))
    with pytest.raises(InputError, match="not a whole manifest"):
        read_mixes(str(mix))


def a_fit(folder: Path) -> dict[str, Any]:
    """A fit of eight mixes, as `mix fit` writes it, without its figures."""
    shares = np.random.default_rng(0).dirichlet([1, 1], 8)
    process = {"theta": [0.0, 0.0, 0.0, -3.0], "center": [], "scale": [], "middle": 1.0, "width": 0.5, "is_log": False}
    model = {
        "ids": [[f"m{i}"] for i in range(8)],
        "shares": shares.tolist(),
        "values": [[1 + float(s)] for s in shares[:, 0]],
        "repeats": [[1]] * 8,
        "content": None,
        "processes": [{**process, "reach": 2.0}],
    }
    document = {"format": 1, "inputs": {}, "sources": ["web", "code"], "outcomes": ["loss"], "model": model}
    (folder / "fit.json").write_bytes(sealed(document))
    return document


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d["model"]["values"].reverse(),
        lambda d: d["sources"].reverse(),
        lambda d: d["model"]["processes"][0].update(middle="1"),
        lambda d: d["model"].pop("processes"),
        lambda d: d["model"]["values"].pop(),
        lambda d: d.pop("sources"),
    ],
)
def test_an_edited_fit_is_refused(tmp_path: Path, edit: Callable[[Any], Any]) -> None:
    pytest.importorskip("scipy")
    a_fit(tmp_path)
    path = tmp_path / "fit.json"
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value, indent=1))
    result = invoke("mix", "propose", str(tmp_path), "--lowest")
    assert (result.code, "is not a whole fit" in " ".join(result.err.split())) == (2, True), result.err
    assert not (tmp_path / "proposal.json").exists()


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m["processes"][0].update(middle="1"),
        lambda m: m.pop("processes"),
        lambda m: m["values"].pop(),
    ],
)
def test_a_damaged_fit_of_a_version_without_a_checksum_is_named(tmp_path: Path, edit: Callable[[Any], Any]) -> None:
    pytest.importorskip("scipy")
    document = a_fit(tmp_path)
    (tmp_path / "fit.json").write_text(json.dumps(document))
    edit(document["model"])
    (tmp_path / "fit.json").write_text(json.dumps(document))
    result = invoke("mix", "propose", str(tmp_path), "--lowest")
    assert (result.code, "is damaged; fit again" in " ".join(result.err.split())) == (2, True), result.err


def test_checkpoints_without_the_record_of_their_run_are_not_continued(mix: Path, tmp_path: Path) -> None:
    output = tmp_path / "acme/model"
    (output / "checkpoints/checkpoint-5").mkdir(parents=True)
    (output / "checkpoints/checkpoint-5/model.safetensors").write_bytes(b"weights of another mix")
    checkpoints.seal(str(output), 5)
    result = invoke("train", str(mix), "--model", "llama-toy", "--batch", "4", "-o", str(output))
    assert (result.code, "which tagcorpus train did not write there" in " ".join(result.err.split())) == (2, True), (
        result.err
    )


@pytest.mark.usefixtures("torch")
def test_a_held_out_side_of_one_token_has_no_loss() -> None:
    from tagcorpus.pipelines.training import held_out

    trainer = SimpleNamespace(model_wrapped=SimpleNamespace(eval=lambda: None), accelerator=None)
    one = {"held_out": {"tokens": 1, "files": []}}
    assert held_out.losses(trainer, SimpleNamespace(groups={"a": one}), 1, 100) == {}  # type: ignore[arg-type]


def test_a_share_of_minus_zero_is_a_share_of_zero(tmp_path: Path) -> None:
    rows = "run,web,code\nr1,1,-0.0\nr2,1,0\nr3,0.5,0.5\n"
    (tmp_path / "s.csv").write_text(rows)
    (tmp_path / "o.csv").write_text("run,loss\nr1,2\nr2,3\nr3,4\n")
    swarm = read_swarm(read_mixes(str(tmp_path / "s.csv")), str(tmp_path / "o.csv"), [], lambda _: None)
    assert swarm.ids == (("r1", "r2"), ("r3",))


def test_groups_of_the_same_tokens_are_named(mix: Path, tmp_path: Path) -> None:
    tokens = mix.parent / "tokens"
    both = invoke("mix", "make", f"x={tokens}", f"y={tokens}", "-o", str(tmp_path / "both"), *MAKE)
    assert both.code == 0, both.err
    assert "x/a and y/a have a token file of the same content" in both.out
    other = write_tokens(tmp_path / "other", {"a": [200], "b": [100]})
    apart = invoke("mix", "make", f"x={tokens}", f"y={other}", "-o", str(tmp_path / "apart"), *MAKE)
    assert (apart.code, "of the same content" in apart.out) == (0, False), apart.err
