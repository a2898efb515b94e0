"""`tagcorpus audit`: figures against scipy and numpy on whole arrays, and the command on a small output."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slurm_commands import invoke

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.audit.command import share_of
from tagcorpus.pipelines.distributions import effects
from tagcorpus.pipelines.distributions.binning import Bins, Sample, bins_of

ROOT = Path(__file__).resolve().parents[1]
VALUES = st.lists(st.integers(0, 6), min_size=5, max_size=30)


def histogram(values: np.ndarray, bins: Bins) -> np.ndarray:
    return np.bincount(bins.of(values), minlength=len(bins))


def bins_for(values: np.ndarray) -> Bins:
    sample = Sample(len(values))
    sample.add(values, np.random.default_rng(0))
    return bins_of(sample)


@given(VALUES, VALUES)
def test_delta_and_wasserstein_of_few_values_are_exact(a: list[int], b: list[int]) -> None:
    stats = pytest.importorskip("scipy.stats")
    x, y = np.array(a, float), np.array(b, float)
    bins = bins_for(np.concatenate([x, y]))
    h, g = histogram(x, bins), histogram(y, bins)
    naive = np.sign(x[:, None] - y[None]).mean()
    assert effects.cliffs_delta(h, g) == pytest.approx(naive, abs=1e-12)
    assert effects.delta_error(h, g, bins) == 0
    expected = stats.wasserstein_distance(x, y)
    assert effects.wasserstein(h.astype(float), g.astype(float), bins) == pytest.approx(expected, abs=1e-9)


def test_binned_effects_are_within_their_stated_errors() -> None:
    stats = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(3)
    x, y = random.standard_normal(5_000), np.exp(random.standard_normal(4_000))
    bins = bins_for(np.concatenate([x, y]))
    h, g = histogram(x, bins), histogram(y, bins)
    u = stats.mannwhitneyu(x, y).statistic / (len(x) * len(y))
    assert abs(effects.cliffs_delta(h, g) - (2 * u - 1)) <= effects.delta_error(h, g, bins) < 0.01
    distance = effects.wasserstein(h.astype(float), g.astype(float), bins)
    assert abs(distance - stats.wasserstein_distance(x, y)) <= effects.wasserstein_error(h, g, bins)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=6, max_size=40))
def test_agreement_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    x, y = np.array(pairs).T
    table = np.zeros((5, 5), np.int64)
    np.add.at(table, (x, y), 1)
    agreement = effects.agreement(table)
    if len(set(x)) < 2 or len(set(y)) < 2:
        assert agreement["spearman"] is None
    else:
        assert agreement["spearman"] == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-9)
        assert agreement["kendall"] == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-9)


def test_variance_shares_and_offsets_of_whole_arrays() -> None:
    random = np.random.default_rng(5)
    codes = random.integers(0, 3, 900)
    values = random.standard_normal(900) + codes
    sums = np.array([np.bincount(codes, w, 3) for w in (None, values, values**2)])
    eta, omega = effects.variance_shares(sums)
    groups = [values[codes == g] for g in range(3)]
    between = sum(len(g) * (g.mean() - values.mean()) ** 2 for g in groups)
    total = ((values - values.mean()) ** 2).sum()
    within = (total - between) / (900 - 3)
    assert eta == pytest.approx(between / total)
    assert omega == pytest.approx((between - 2 * within) / (total + within))
    offset = (groups[1].mean() - values[codes != 1].mean()) / np.sqrt(within)
    assert effects.offsets(sums)[1] == pytest.approx(offset)


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(2).standard_normal(50)
    sums = np.stack([np.ones(50), values], 1)
    value, error, n = effects.jackknife(lambda s: s[..., 1] / s[..., 0], sums)
    assert value == pytest.approx(values.mean())
    assert n == 50
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(50))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_is_that_of_scipy(p_values: list[float]) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert effects.adjusted(p_values) == pytest.approx(list(stats.false_discovery_control(p_values)))


def test_tails_are_near_those_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    assert effects.t_quantile(0.9987, 27) == pytest.approx(stats.t.ppf(0.9987, 27), rel=0.01)
    assert effects.chi_square_p(45, 20) == pytest.approx(stats.chi2.sf(45, 20), rel=0.1)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 documents of two folders: those of `b` are longer, and so are their gold labels."""
    folder = tmp_path_factory.mktemp("audit")
    random = np.random.default_rng(1)
    for name, extra in (("a", 0), ("b", 40)):
        (folder / "docs" / name).mkdir(parents=True)
        for part in range(2):
            lengths = random.integers(20, 100, 100) + extra
            lines = [json.dumps({"id": f"{name}{part}-{i}", "text": "x" * int(n)}) for i, n in enumerate(lengths)]
            (folder / "docs" / name / f"{part}.jsonl").write_text("\n".join(lines) + "\n")
    done = invoke("run", "tag", "--input", str(folder / "docs"), "--output", str(folder / "out"), "--taggers", "length")
    assert done.code == 0, done.err
    return folder


def test_command_finds_a_source(output: Path) -> None:
    gold = output / "gold.csv"
    gold.write_text("id,gold\n" + "".join(f"a0-{i},0\nb0-{i},1\n" for i in range(60)))
    done = invoke("audit", str(output / "out"), "--column", "length.char_len", "--gold", str(gold))
    assert done.code == 0, done.err
    assert "source: the score depends on it strongly" in done.out
    assert max(map(len, done.out.splitlines()[:-1])) <= 80
    document = json.loads((output / "out/audit/length.char_len.json").read_text())
    (source,) = document["groupings"]
    lengths = {
        name: np.array(
            [len(json.loads(line)["text"]) for f in sorted((output / "docs" / name).iterdir()) for line in f.open()]
        )
        for name in "ab"
    }
    assert {g["name"]: g["mean"] for g in source["groups"]} == pytest.approx({n: v.mean() for n, v in lengths.items()})
    every = np.concatenate(list(lengths.values()))
    assert document["ends"]["low"] == {
        "value": every.min(),
        "n": (every == every.min()).sum(),
        "share": pytest.approx((every == every.min()).mean()),
    }
    start = document["top"]["from"]
    assert document["top"]["n"] == (every >= start).sum()
    groups = {g["name"]: g for g in source["groups"]}
    assert groups["a"]["share_of_top"] == pytest.approx((lengths["a"] >= start).sum() / (every >= start).sum())
    assert document["agreement"][0]["overall"]["n"] == 120
    assert document["agreement"][0]["within"]["source"]["spearman"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--column", "length.chars"], "did you mean 'length.char_len'?"),
        (["--column", "char_len", "--top", "200%"], "--top 200%: give a percentage"),
        (["--column", "char_len", "--floor", "nan"], "--floor must be at least 0, got nan"),
        (["--column", "char_len", "--floor", "-1"], "--floor must be at least 0, got -1"),
        (["--column", "char_len", "--gold", "none.csv"], "there is no such file"),
        (["--column", "char_len", "--by", "level:0"], "must be at least 1"),
        (["--column", "char_len", "--against", "length.char_len"], "name another column"),
    ],
)
def test_refusals(output: Path, options: list[str], message: str) -> None:
    done = invoke("audit", str(output / "out"), *options)
    assert done.code == 2
    assert message in done.err


def test_share_of() -> None:
    assert share_of("10%") == share_of("0.1") == share_of(" .1 ") == pytest.approx(0.1)
    for text in ("1", "10", "1.0", "0.0", "100%", "0%", "-0.1", "nan%"):
        with pytest.raises(ConfigError, match="give a percentage between 0 and 100"):
            share_of(text)


def test_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/audit.md").read_text(encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                done = invoke(*shlex.split(line[2:])[1:])
                assert done.code == 0, done.err
