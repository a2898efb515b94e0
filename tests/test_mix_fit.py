"""`mix fit`: what is read and what is refused, ranks and pairs against plain versions, splits, intervals; whole fits are e2e."""

from __future__ import annotations

import csv
import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slurm_commands import invoke

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.mix_models import new_mixes, ranking
from tagcorpus.pipelines.mix_models.content import content_of, read_content
from tagcorpus.pipelines.mix_models.held_out import folds, without_source
from tagcorpus.pipelines.mix_models.swarm import Mixes, Swarm, read_mixes, read_swarm
from tagcorpus.pipelines.storage.sealed import sealed

REGMIX = Path(__file__).resolve().parents[2] / "shared" / "data" / "regmix"


def file(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def read(mixes: Mixes, outcomes: str, *chosen: str) -> tuple[Swarm, list[str]]:
    lines: list[str] = []
    return read_swarm(mixes, outcomes, chosen, lines.append, shares_path="shares.csv"), lines


def test_olmix_tables_are_read_unchanged(tmp_path: Path) -> None:
    shares = file(tmp_path, "ratios.csv", "run,name,index,dclm,wikipedia\nr1,first,0,0.25,0.75\nr2,second,1,1.0,0.0\n")
    losses = file(tmp_path, "metrics.csv", "run,name,index,arc_bpb,mmlu_bpb\nr2,second,1,1.5,2\nr1,first,0,1.25,\n")
    mixes = read_mixes(shares)
    assert mixes.sources == ("dclm", "wikipedia")
    assert mixes.ids == ("r1", "r2")
    np.testing.assert_allclose(mixes.shares, [[0.25, 0.75], [1.0, 0.0]])
    swarm, lines = read(mixes, losses)
    assert swarm.outcomes == ("arc_bpb",)
    assert swarm.ids == (("r2",), ("r1",))
    assert swarm.values[:, 0].tolist() == [1.5, 1.25]
    assert lines == ["mmlu_bpb: left out, because the column has less than two values"]


def test_run_id_and_another_order_of_columns(tmp_path: Path) -> None:
    mixes = read_mixes(file(tmp_path, "a.csv", "dclm,run_id,arxiv\n0.5,x,0.5\n0,y,1\n"))
    assert mixes.ids == ("x", "y")
    assert mixes.sources == ("dclm", "arxiv")


@pytest.mark.skipif(not REGMIX.exists(), reason="../shared/data/regmix is not there")
def test_regmix_pairs_are_read_unchanged() -> None:
    mixes = read_mixes(str(REGMIX / "test_mixture_60m.csv"))
    swarm, lines = read(mixes, str(REGMIX / "test_pile_loss_60m.csv"))
    assert (len(swarm.ids), len(swarm.sources), len(swarm.outcomes), lines) == (256, 17, 13, [])
    np.testing.assert_allclose(swarm.shares.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("r1,0.5,0.4\n", "line 2 ('r1'): the shares add up to 0.9; they must add up to 1"),
        ("r1,0.5,0.5\nr2,-0.1,1.1\n", "line 3, column 'a': '-0.1' is not a share between 0 and 1"),
        ("r1,0.5,half\n", "line 2, column 'b': 'half' is not a share between 0 and 1"),
        ("r1,0.5,\n", "line 2, column 'b': '' is not a share between 0 and 1"),
        ("r1,0.5,0.5\nr1,1,0\n", "has 'r1' more than once"),
        ("r1,1,1\n", "add up to 2"),
    ],
)
def test_wrong_shares_name_the_row(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read_mixes(file(tmp_path, "s.csv", f"run,a,b\n{rows}"))
    assert message in str(error.value)


def test_rounded_shares_are_accepted_and_normalised(tmp_path: Path) -> None:
    """Each of four shares with two decimals may miss by 0.005; RegMix's sums are 0.996 to 1.003."""
    mixes = read_mixes(file(tmp_path, "s.csv", "index,a,b,c\n1,0.33,0.33,0.33\n2,0.2,0.3,0.5\n"))
    np.testing.assert_allclose(mixes.shares[0], [1 / 3] * 3)
    with pytest.raises(InputError, match=r"add up to 0\.98"):
        read_mixes(file(tmp_path, "s.csv", "index,a,b,c\n1,0.32,0.33,0.33\n2,0.2,0.3,0.5\n"))


def test_joins_are_counted_and_seeds_are_one_mix(tmp_path: Path) -> None:
    mixes = read_mixes(file(tmp_path, "s.csv", "run,a,b\nr1,0.5,0.5\nr2,0.5,0.5\nr3,1,0\nr4,0,1\n"))
    swarm, lines = read(mixes, file(tmp_path, "o.csv", "run,loss\nr1,2\nr2,4\nr3,nan\nr9,1\nr4,1\n"))
    assert swarm.ids == (("r1", "r2"), ("r3",), ("r4",))
    assert swarm.values[[0, 2], 0].tolist() == [3, 1]
    assert math.isnan(swarm.values[1, 0])
    assert swarm.repeats[:, 0].tolist() == [2, 0, 1]
    assert swarm.spread[0] == pytest.approx(math.sqrt(2))
    assert swarm.freedom[0] == 1
    assert lines[0].endswith("are left out, 1 in all: 'r9'")
    assert lines[1] == "loss: 1 of 4 runs have no value and are left out of this outcome"


def test_a_column_seed_gives_several_outcomes_of_one_mix(tmp_path: Path) -> None:
    mixes = read_mixes(file(tmp_path, "s.csv", "mix,a,b\nm1,0.5,0.5\nm2,1,0\n"))
    swarm, _ = read(mixes, file(tmp_path, "o.csv", "mix,seed,loss\nm1,0,2\nm1,1,4\nm2,0,1\n"))
    assert swarm.repeats[:, 0].tolist() == [2, 1]
    with pytest.raises(InputError, match="'m1 seed 0' more than once"):
        read(mixes, file(tmp_path, "o.csv", "mix,seed,loss\nm1,0,2\nm1,0,4\n"))


def test_outcomes_that_join_nothing_or_are_text(tmp_path: Path) -> None:
    mixes = read_mixes(file(tmp_path, "s.csv", "run,a,b\nr1,0.5,0.5\nr2,1,0\n"))
    with pytest.raises(InputError, match="name the column of ids with --id"):
        read(mixes, file(tmp_path, "o.csv", "run,loss\nx1,2\nx2,3\n"))
    with pytest.raises(ConfigError, match=r"unknown column 'lost' \(--outcome\): did you mean 'loss'"):
        read(mixes, file(tmp_path, "o.csv", "run,loss\nr1,2\nr2,3\n"), "lost")
    with pytest.raises(InputError, match="--outcome who: the column has text"):
        read(mixes, file(tmp_path, "o.csv", "run,loss,who\nr1,2,me\nr2,3,you\n"), "who")


def manifest(folder: Path, name: str, shares: dict[str, float], mean: float = 0.5) -> None:
    groups = {
        g: {"share": s, "statistics": {"length.char_len": {"mean": mean, "coverage": 1}}} for g, s in shares.items()
    }
    (folder / name).mkdir()
    (folder / name / "mix.json").write_bytes(sealed({"format": 1, "groups": groups}))


def test_manifests_of_mixes_with_their_statistics(tmp_path: Path) -> None:
    manifest(tmp_path, "mix-0", {"web": 0.25, "code": 0.75})
    manifest(tmp_path, "mix-1", {"web": 1.0})
    mixes = read_mixes(str(tmp_path))
    assert mixes.ids == ("mix-0", "mix-1")
    assert mixes.sources == ("code", "web")
    np.testing.assert_allclose(mixes.shares, [[0.75, 0.25], [0.0, 1.0]])
    content = content_of(mixes.statistics, ["length.char_len"])
    np.testing.assert_allclose(content.of_mixes(mixes.sources, mixes.shares), [[0.5], [0.5]])
    text = (tmp_path / "mix-0" / "mix.json").read_text()
    (tmp_path / "mix-0" / "mix.json").write_text(text.replace("0.75", "0.85"))
    with pytest.raises(InputError, match="not a whole manifest"):
        read_mixes(str(tmp_path))


def trained(folder: Path, name: str, mix: str, seed: int, **losses: dict[str, float]) -> None:
    """A model folder as `train` leaves it, as far as `mix fit` reads it."""
    (folder / name).mkdir(parents=True)
    run = {"identity": {"mix": mix, "model": "m", "seed": seed, "steps": 9}, "result": {"held_out": losses}}
    (folder / name / "run.json").write_bytes(sealed(run))


def test_outcomes_of_a_folder_of_models(tmp_path: Path) -> None:
    for i, key in enumerate(("k0", "k1")):
        folder = tmp_path / f"swarm/mix-{i}"
        folder.mkdir(parents=True)
        (folder / "mix.json").write_bytes(
            sealed({"key": key, "groups": {"web": {"share": i / 2}, "code": {"share": 1 - i / 2}}})
        )
    models = tmp_path / "models"
    trained(models, "a", "k1", 0, web={"loss": 3.0, "bits_per_byte": 1.5}, code={"loss": 5.0, "bits_per_byte": 2.5})
    trained(models, "deeper/b", "k0", 0, web={"loss": 2.0, "bits_per_byte": 1.0})
    trained(
        models, "deeper/c", "k1", 1, web={"loss": 4.0, "bits_per_byte": 2.0}, code={"loss": 7.0, "bits_per_byte": 3.5}
    )
    mixes = read_mixes(str(tmp_path / "swarm"))
    swarm, lines = read(mixes, str(models))
    assert swarm.outcomes == ("bits_code", "bits_web")
    assert swarm.ids == (("mix-1", "mix-1"), ("mix-0",))
    assert swarm.values[:, 1].tolist() == [1.75, 1.0]
    assert swarm.repeats.tolist() == [[2, 2], [0, 1]]
    assert lines == ["bits_code: 1 of 3 runs have no value and are left out of this outcome"]
    trained(models, "mix-0", "other", 5, web={"loss": 9.0})  # the folder's name says the mix
    swarm, _ = read(mixes, str(models), "loss_web")
    assert swarm.values[1, 0] == 5.5
    trained(models, "d", "k1", 2)
    with pytest.raises(InputError, match="has no held-out losses"):
        read(mixes, str(models))
    with pytest.raises(InputError, match=r"has no run\.json of a trained model"):
        read(mixes, str(tmp_path / "swarm"))


def test_statistics_of_other_mixes_are_not_mingled(tmp_path: Path) -> None:
    manifest(tmp_path, "mix-0", {"web": 1.0})
    manifest(tmp_path, "mix-1", {"web": 1.0}, mean=0.6)
    with pytest.raises(InputError, match="the tag statistics of 'web' differ"):
        read_mixes(str(tmp_path))


def test_content_is_the_mean_over_tokens(tmp_path: Path) -> None:
    path = file(tmp_path, "t.csv", "source,x,y\nweb,1,10\ncode,3,20\n")
    content = read_content(path, ["y"])
    np.testing.assert_allclose(content.of_mixes(["code", "web"], np.array([[0.25, 0.75]])), [[12.5]])
    with pytest.raises(InputError, match="no row for the source 'books'"):
        content.of_mixes(["books"], np.ones((1, 1)))
    wide = file(tmp_path, "w.csv", "source,a,b,c,d,e,f\nweb,1,1,1,1,1,1\n")
    with pytest.raises(ConfigError, match="6 columns are more than 1 sources can tell apart; name at most 5"):
        read_content(wide, [])
    assert read_content(wide, ["a", "b", "c", "d", "e"]).columns == ("a", "b", "c", "d", "e")


values = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 3)), min_size=2, max_size=12)


@given(values)
def test_ranks_and_pairs_equal_plain_versions_on_the_repeated_sample(rows: list[tuple[int, int, int]]) -> None:
    """A mix with weight 3 counts as three mixes; pairs of a mix with itself have equal outcomes, and do not count."""
    predicted, outcome, weights = (np.array(c, float) for c in zip(*rows, strict=True))
    long_predicted, long_outcome = (np.repeat(v, weights.astype(int)) for v in (predicted, outcome))
    decided = ranking.decided_pairs(predicted, outcome, weights[None, :])[0]
    pairs = [(p, q) for p, q in combinations(zip(long_predicted, long_outcome, strict=True), 2) if p[1] != q[1]]
    right = [0.5 if p[0] == q[0] else float((p[0] < q[0]) == (p[1] < q[1])) for p, q in pairs]
    assert decided == pytest.approx(np.mean(right) if right else 0.5)
    correlation = ranking.rank_correlation(predicted, outcome, weights[None, :])[0]
    if len(set(long_predicted)) > 1 and len(set(long_outcome)) > 1:
        ranks = [np.array([(v < x).sum() + (v == x).sum() / 2 for x in v]) for v in (long_predicted, long_outcome)]
        assert correlation == pytest.approx(np.corrcoef(np.stack(ranks))[0, 1], abs=1e-9)
    else:
        assert correlation == 0


def test_interval_of_a_figure_is_of_the_draws() -> None:
    figure = ranking.figure(np.array([5.0, *range(101)]))
    assert figure.to_json() == [5.0, 2.5, 97.5]
    assert (ranking.draws(7, seed=1).sum(axis=1) == 7).all()


def test_every_mix_is_tested_once_and_never_trained_on() -> None:
    splits = folds(23, seed=3)
    assert sorted(i for s in splits for i in s.test) == list(range(23))
    assert all(not set(s.train) & set(s.test) and len(s.train) + len(s.test) == 23 for s in splits)


def test_a_source_is_held_out_of_training() -> None:
    shares = np.array([[0.0, 1.0]] * 20 + [[0.01, 0.99]] * 3 + [[0.05, 0.95]] * 5)
    split = without_source(shares, 0)
    assert split is not None
    assert split.train.tolist() == list(range(20))
    assert split.test.tolist() == list(range(23, 28))
    assert without_source(shares, 1) is None  # every mix has it


def test_reach_is_the_conformal_quantile() -> None:
    assert new_mixes.reach(np.arange(1.0, 10)) == 9
    assert new_mixes.reach(np.arange(1.0, 9)) == math.inf
    assert new_mixes.reach(np.arange(1.0, 20)) == 18


def test_messages_of_the_command(tmp_path: Path) -> None:
    shares = file(tmp_path, "s.csv", "run,a,b\nr1,0.5,0.5\nr2,1,0\n")
    losses = file(tmp_path, "o.csv", "run,loss\nr1,2\nr2,3\n")
    result = invoke("mix", "fit", shares, losses, "-o", str(tmp_path / "fit"))
    assert result.code == 2
    assert "2 mixes with different shares are joined; a fit needs at least 10" in result.out + result.err
    many = file(tmp_path, "m.csv", "run,a,b\n" + "".join(f"r{i},{i / 20},{1 - i / 20}\n" for i in range(12)))
    few = file(tmp_path, "f.csv", "run,loss\n" + "".join(f"r{i},{i if i < 4 else 'nan'}\n" for i in range(12)))
    result = invoke("mix", "fit", many, few, "-o", str(tmp_path / "fit"))
    assert result.code == 2
    assert "loss: only 4 mixes have this outcome" in result.err
    result = invoke("mix", "fit", shares, losses, "--column", "length.char_len", "-o", str(tmp_path / "fit"))
    assert result.code == 2
    assert "the mixes have no tag statistics" in result.out + result.err


def swarm_files(folder: Path, mixes: int = 72) -> tuple[str, str]:
    """Mixes of three sources, some without the third; the loss falls with the root of the first share."""
    generator = np.random.default_rng(0)
    shares = generator.dirichlet([0.6, 0.6, 0.6], mixes)
    shares[::3, 2] = 0
    shares[1::3, 0] = 0
    shares = (shares / shares.sum(axis=1, keepdims=True)).round(6)
    shares[:, 1] = 1 - shares[:, 0] - shares[:, 2]
    loss = 3 - np.sqrt(shares[:, 0]) - 0.3 * np.sqrt(np.abs(shares[:, 2])) + 0.01 * generator.normal(size=mixes)
    rows = [[f"r{i}", *(f"{max(s, 0):.6f}" for s in row)] for i, row in enumerate(shares)]
    with (folder / "shares.csv").open("w", newline="") as sink:
        csv.writer(sink).writerows([["run", "web", "code", "books"], *rows])
    with (folder / "losses.csv").open("w", newline="") as sink:
        csv.writer(sink).writerows([["run", "loss"], *([f"r{i}", f"{v:.6f}"] for i, v in enumerate(loss))])
    return str(folder / "shares.csv"), str(folder / "losses.csv")


@pytest.mark.e2e
def test_fit_predicts_new_mixes_and_unseen_sources(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    shares, losses = swarm_files(tmp_path)
    tags = file(tmp_path, "tags.csv", "source,x\nweb,1\ncode,0\nbooks,0.3\nwiki,0.9\n")
    new = file(tmp_path, "new.csv", "run,web,code,wiki\nn1,0.9,0.1,0\nn2,0.1,0.9,0\nn3,0.1,0.2,0.7\n")
    out = tmp_path / "fit"
    common = ("mix", "fit", shares, losses, "-o", str(out), "--workers", "1")
    refused = invoke(*common, "--for", new)
    assert refused.code == 2
    assert "no mix of the swarm has the source 'wiki'" in refused.err
    result = invoke(*common, "--for", new, "--statistics", tags, "--permutations", "2")
    assert result.code == 0, result.err
    assert "no mix has two seeds" in result.out + result.err
    assert "permutations" in result.out + result.err
    document = json.loads((out / "fit.json").read_text())
    figures = document["on_folds"]["mean"]
    assert figures["gp"]["rank_correlation"][0] > max(0.97, figures["linear"]["rank_correlation"][0])
    assert 0.75 <= document["on_folds"]["coverage"]["gp"][0] <= 1
    rows = list(csv.DictReader((out / "predictions.csv").open()))
    assert [r["mix"] for r in rows] == ["n1", "n2", "n3"]
    predicted = [float(r["predicted"]) for r in rows]
    assert predicted[0] == pytest.approx(3 - math.sqrt(0.9), abs=0.05)
    assert predicted[0] < predicted[1]
    assert all(float(r["low"]) < float(r["predicted"]) < float(r["high"]) for r in rows)
    first = (out / "fit.json").read_bytes()
    assert invoke(*common, "--statistics", tags, "--permutations", "2").code == 0
    assert (out / "fit.json").read_bytes() == first


@pytest.mark.parametrize("value", ["inf", "-inf", "Infinity", "1e999", "1e308", "-1e308"])
def test_outcomes_that_no_fit_can_use_name_row_and_column(tmp_path: Path, value: str) -> None:
    mixes = read_mixes(file(tmp_path, "shares.csv", "run,a,b\nx,0.5,0.5\ny,1,0\nz,0,1\n"))
    path = file(tmp_path, "outcomes.csv", f"run,loss,other\nx,1,1\ny,2,{value}\nz,3,3\n")
    with pytest.raises(InputError) as error:
        read(mixes, path)
    assert f"line 3, column 'other': '{value}' is not an outcome between -1e+30 and 1e+30" in str(error.value)
    swarm, lines = read(mixes, path, "loss")  # a column that is not predicted may have anything
    assert (swarm.outcomes, lines) == (("loss",), [])


@pytest.mark.parametrize("value", ["0", "-0.0", "-3", "1e-308", "1e30", "NaN", ""])
def test_other_outcomes_are_read(tmp_path: Path, value: str) -> None:
    mixes = read_mixes(file(tmp_path, "shares.csv", "run,a,b\nx,0.5,0.5\ny,1,0\nz,0,1\n"))
    swarm, lines = read(mixes, file(tmp_path, "outcomes.csv", f"run,gain\nx,1\ny,{value}\nz,3\n"))
    kept = swarm.values[:, 0][1]
    assert kept == (float(value) if value not in ("", "NaN") else pytest.approx(math.nan, nan_ok=True))
    assert bool(lines) == (value in ("", "NaN"))


def test_a_column_that_is_left_out_for_its_text_names_the_cell(tmp_path: Path) -> None:
    mixes = read_mixes(file(tmp_path, "shares.csv", "run,a,b\nx,0.5,0.5\ny,1,0\n"))
    path = file(tmp_path, "outcomes.csv", 'run,loss,other\nx,1,1.5\ny,2,"2,5"\n')
    assert read(mixes, path)[1] == ["other: left out, because the column has text (line 3: '2,5')"]
    with pytest.raises(InputError, match="the column has text"):
        read(mixes, path, "other")


@pytest.mark.parametrize("value", ["inf", "1e308", "nan"])
def test_statistics_that_no_fit_can_use_name_row_and_column(tmp_path: Path, value: str) -> None:
    path = file(tmp_path, "statistics.csv", f"source,x\na,1\nb,{value}\n")
    with pytest.raises(InputError, match=rf"line 3, column 'x': '{value}' is not a number between"):
        read_content(path, [])
