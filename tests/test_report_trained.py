"""The report's sections on mixes, losses of trained models, and fits of outcomes."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slurm_commands import invoke
from token_outputs import write_tokens

from tagcorpus.errors import InputError
from tagcorpus.pipelines.report import SECTIONS, render
from tagcorpus.pipelines.report.contents.contents import gather
from tagcorpus.pipelines.report.mixing.loss_curves import MOST, picture, thinned
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import sealed
from tagcorpus.pipelines.training.checkpoints import digests

EVIL = "<b>web"


def sections(path: Path) -> dict[str, str]:
    """The HTML of every section that the folder has, by id."""
    contents = gather(str(path))
    return {s.id: s.body for make in SECTIONS if (s := make(contents)) is not None}


def stripped(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokens(tmp_path_factory.mktemp("t"), {"web": [1000], "code": [500]}, held_out=True)


def make_mix(tokens: Path, output: Path) -> Path:
    weights = ("--weight", "web=3", "--weight", "code=1", "--tokens", "640", "--sequence-length", "16")
    done = invoke("mix", "make", str(tokens), "-o", str(output), *weights)
    assert done.code == 0, done.err
    return output


def model(folder: Path, web: float, bits: float | None = None, parameters: int = 5_000_000) -> None:
    """A folder as `train` writes it: the loss of `web` falls by 1 a step from `web`."""
    folder.mkdir(parents=True)
    training = [{"step": i + 1, "loss": web + 1 - i, "groups": {EVIL: web - i}} for i in range(10)]
    held_out = {EVIL: {"loss": web / 2, "tokens": 120, "bits_per_byte": bits}}
    (folder / "losses.json").write_text(json.dumps({"training": training, "held_out": held_out}))
    result = {"steps": 10, "tokens": 640, "held_out": held_out, "files": {}, "versions": {}}
    (folder / "run.json").write_bytes(sealed({"identity": {"batch": 4}, "model": "llama-toy", "result": result}))
    annotation = {"id": "acme/x", "total_params": parameters, "corpus": "mix", "metadata": {"shares": {EVIL: 1.0}}}
    (folder / "annotation.json").write_text(json.dumps(annotation))


def test_a_mix(tokens: Path, tmp_path: Path) -> None:
    shown = sections(make_mix(tokens, tmp_path / "mix"))
    assert list(shown) == ["mixes"]
    body = stripped(shown["mixes"])
    assert "640 40 windows of 16" in body
    assert "web 75.0 % 75.0 % +0.00 480 1,000" in body  # 30 of 40 windows
    assert "code 25.0 % 25.0 % +0.00 160 500 84 0.323 120" in body  # 10 of 31 windows
    assert "No tags are beside the token files" in body


def test_tag_statistics_of_a_mix(tokens: Path, tmp_path: Path) -> None:
    path = make_mix(tokens, tmp_path / "mix") / "mix.json"
    mix: dict[str, Any] = json.loads(path.read_text())
    del mix["checksum"]
    mix["statistics"] = {"length.char_len": {"mean": 12.5, "coverage": 0.75}}
    mix["groups"]["web"]["statistics"] = {"length.char_len": {"mean": 20.0, "coverage": 1.0}}
    path.write_bytes(sealed(mix))
    assert "length.char_len 12.5 75.0 % 20 –" in stripped(sections(path.parent)["mixes"])


def test_a_swarm(tokens: Path, tmp_path: Path) -> None:
    swarm = str(tmp_path / "swarm")
    done = invoke("mix", "swarm", "5", str(tokens), "-o", swarm, "--tokens", "640", "--sequence-length", "16")
    assert done.code == 0, done.err
    body = stripped(sections(tmp_path / "swarm")["mixes"])
    assert "5 mixes of 2 groups, 640 tokens each" in body
    rows = [line.split(",") for line in (tmp_path / "swarm" / "swarm.csv").read_text().split()[1:]]
    for name, *shares in rows:
        assert f"{name} " in body
        assert all(f"{100 * float(share):.1f} %" in body for share in shares)


def test_losses_of_a_model(tmp_path: Path) -> None:
    model(tmp_path / "x", 20.0, bits=2.5)
    shown = sections(tmp_path / "x")
    assert list(shown) == ["losses"]
    body = stripped(shown["losses"])
    assert "all groups 100.0 % 21.000 12.000 – – –" in body
    assert "<b>web 100.0 % 20.000 11.000 10.000 2.500 120" in body
    assert "<b>web" not in shown["losses"]
    assert shown["losses"].count("<path") == 2


def test_models_side_by_side(tmp_path: Path) -> None:
    model(tmp_path / "acme/a", 20.0, bits=2.5)
    model(tmp_path / "acme/b", 30.0, bits=3.25)
    body = stripped(sections(tmp_path)["losses"])
    assert "Held-out loss of every model, in bits per byte" in body
    assert "acme/a 2.500 acme/b 3.250" in body
    assert "Toy models do not rank mixes" in body


def test_models_without_bits_are_compared_in_nats(tmp_path: Path) -> None:
    model(tmp_path / "a", 20.0, parameters=20_000_000)
    model(tmp_path / "b", 30.0, bits=3.25, parameters=20_000_000)
    body = stripped(sections(tmp_path)["losses"])
    assert "in nats a token" in body
    assert "a 10.000 b 15.000" in body
    assert "Toy models" not in body


def test_a_fit_and_its_proposal(tmp_path: Path) -> None:
    def figure(value: float) -> list[float]:
        return [value, value - 0.05, value + 0.05]

    both = {"rank_correlation": figure(0.9), "pairs": figure(0.8), "error": figure(0.5)}
    fit = {
        "mixes": 80, "runs": 88, "sources": ["web", "code"], "outcomes": ["loss", "bits"], "seeds": {},
        "on_folds": {
            "folds": 5, "coverage": {"gp": [0.925, 0.029]}, "mean": {"gp": both, "mean": both},
            "ours_less": {"mean": {"rank_correlation": figure(-0.1)}},
            "outcomes": [{"outcome": name, "models": {"gp": both, "mean": both}} for name in ("loss", "bits")],
        },
        "sources_left_out": None,
    }  # fmt: skip
    proposal = {
        "date": "2026-11-29T00:00:00", "shares": {"web": 0.75, "code": 0.25, "none": 0.0}, "caution": "hopeful",
        "expected": [{"outcome": "loss", "predicted": 2.5, "interval": [2.0, None], "against": [{"probability_better": 0.88}]}],
    }  # fmt: skip
    (tmp_path / "fit.json").write_text(json.dumps(fit))
    (tmp_path / "proposal.json").write_text(json.dumps(proposal))
    body = stripped(sections(tmp_path)["fit"])
    assert "92.5 % Monte Carlo error 2.9" in body
    assert "mean 0.900 0.850 to 0.950 0.800 0.750 to 0.850 0.500 0.450 to 0.550 −0.100 −0.150 to −0.050" in body
    assert "loss 0.900 0.900 bits 0.900 0.900" in body
    assert "No two sources can be held out" in body
    assert "web 75.0 % code 25.0 % Expected" in body
    assert "loss 2.5 2 to – 88.0 %" in body


def test_the_page_of_a_mix(tokens: Path, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    contents = gather(str(make_mix(tokens, tmp_path / "mix")))
    page = render(contents)
    assert page == render(contents)
    assert b"<p>1 mix.</p>" in page
    assert b'id="runs"' not in page


def test_damaged_files_are_named(tokens: Path, tmp_path: Path) -> None:
    path = make_mix(tokens, tmp_path / "mix") / "mix.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    assert gather(str(path.parent)).output.trained.damaged == ("mix.json",)
    assert list(sections(path.parent)) == []


def test_other_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="is not an output of tagcorpus"):
        gather(str(tmp_path))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 80))
def test_thinned_curves_keep_their_mean_and_ends(values: list[float], points: int) -> None:
    curve = [(float(i), v) for i, v in enumerate(values)]
    result = thinned(curve, points)
    assert len(result) == min(points, len(curve))
    assert [x for x, _ in result] == sorted(x for x, _ in result)
    assert min(values) - 1e-6 <= min(y for _, y in result) <= max(y for _, y in result) <= max(values) + 1e-6
    if points >= len(curve):
        assert result == curve


def test_a_picture_has_its_scale_and_at_most_so_many_curves() -> None:
    shown = picture("Loss", {f"g{i}": [(1.0, float(i)), (9.0, 20.0)] for i in range(MOST + 2)})
    assert shown.count("<path") == MOST
    assert f"The first {MOST} of {MOST + 2} curves are drawn" in shown
    assert re.findall(r"step \d", shown) == ["step 1", "step 9"]
    assert 'd="M0.0 196.0L600.0 4.0"' in shown  # from the lowest value at the first step to the highest at the last
    assert picture("Loss", {"a": [(1.0, 2.0)]}) == ""


def test_losses_that_were_edited_are_named(tmp_path: Path) -> None:
    model(tmp_path / "acme/a", 20.0, bits=2.5)
    model(tmp_path / "acme/b", 30.0, bits=3.25)
    for name in "ab":
        run = tmp_path / f"acme/{name}/run.json"
        value = json.loads(run.read_text())
        del value["checksum"]
        value["result"]["files"] = digests(Folder(str(run.parent)), ["losses.json"])
        run.write_bytes(sealed(value))
    assert gather(str(tmp_path)).output.trained.damaged == ()
    losses = tmp_path / "acme/b/losses.json"
    losses.write_text(losses.read_text().replace("3.25", "1.25"))
    trained = gather(str(tmp_path)).output.trained
    assert trained.damaged == ("acme/b/losses.json",)
    assert list(trained.models) == ["acme/a"]
