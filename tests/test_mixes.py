"""`mix make` and `mix swarm`: order, shares, budgets, manifests, files of other trainers, and refusals."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from slurm_commands import invoke
from token_outputs import write_tokens

from tagcorpus.kernels.mixes import blending
from tagcorpus.pipelines.mixes import order as orders
from tagcorpus.pipelines.mixes import tag_means, weights
from tagcorpus.pipelines.mixes.mix_file import read_mix
from tagcorpus.pipelines.mixes.order import Order, permuted
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import sealed

TOTAL = weights.TOTAL
SHARES = st.lists(st.integers(1, 10**6), min_size=1, max_size=8)


def whole(parts: list[int]) -> list[int]:
    return list(weights.integer_weights({f"{i:02d}": Fraction(p) for i, p in enumerate(parts)}).values())


# The order


@given(SHARES, st.integers(1, 600))
def test_every_prefix_is_within_one_sample_of_its_shares(parts: list[int], n: int) -> None:
    own = whole(parts)
    order = Order([str(i) for i in range(len(own))], [10**6] * len(own), own, n, 0)
    counts = np.zeros(len(own), np.int64)
    for t, group in enumerate(order.block(0).groups.tolist(), 1):
        counts[group] += 1
        deviations = [abs(int(c) * TOTAL - w * t) for c, w in zip(counts, own, strict=True)]
        assert max(deviations) < TOTAL
    assert order.counts() == counts.tolist()


def naive_blend(own: list[int], n: int) -> list[int]:
    """The group that is due and whose next deadline is earliest, by fractions."""
    counts, groups = [0] * len(own), []
    for t in range(n):
        due = [g for g, w in enumerate(own) if Fraction(counts[g] * TOTAL, w) < t + 1]
        best = min(due, key=lambda g: -(-(counts[g] + 1) * TOTAL // own[g]))
        counts[best] += 1
        groups.append(best)
    return groups


@given(SHARES, st.integers(1, 200))
def test_blending_is_earliest_deadline_first(parts: list[int], n: int) -> None:
    own = whole(parts)
    order = Order([str(i) for i in range(len(own))], [n] * len(own), own, n, 0)
    assert order.block(0).groups.tolist() == naive_blend(own, n)


@given(st.integers(1, 3000), st.text(max_size=5))
def test_windows_are_permuted(n: int, key: str) -> None:
    assert sorted(permuted(np.arange(n), n, key).tolist()) == list(range(n))


def test_permutation_depends_on_its_key_and_leaves_no_order() -> None:
    one, other = (permuted(np.arange(10_000), 10_000, key) for key in "ab")
    assert abs(float(np.corrcoef(one, other)[0, 1])) < 0.05
    assert abs(float(np.corrcoef(one, np.arange(10_000))[0, 1])) < 0.05
    assert abs(float(np.corrcoef(one[1:], one[:-1])[0, 1])) < 0.05


def test_samples_are_the_same_in_any_order_of_access(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "BLOCK", 64)
    settings: Any = (["a", "b", "c"], [300, 120, 400], whole([5, 2, 6]), 700, 9)
    forward, order = Order(*settings), Order(*settings)
    straight = [forward.sample(i) for i in range(700)]
    assert [order.sample(i) for i in reversed(range(700))] == straight[::-1]
    assert order.counts() == [Counter(g for g, _, _ in straight)[g] for g in range(3)]
    monkeypatch.setattr(orders, "BLOCK", 1 << 14)
    whole_order = Order(*settings)
    assert [whole_order.sample(i) for i in range(700)] == straight


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=4), st.sampled_from([0.5, 1.0, 2.5]), st.sampled_from([1.0, 2.0])
)
def test_no_window_is_read_more_often_than_allowed(sizes: list[int], epochs: float, temperature: float) -> None:
    names = [str(i) for i in range(len(sizes))]
    available = dict(zip(names, sizes, strict=True))
    exact = weights.by_temperature(available, temperature)
    own, n = weights.integer_weights(exact), weights.limit(exact, available, epochs).windows
    if not n:
        return
    order = Order(names, sizes, list(own.values()), n, 0)
    times = Counter((g, w) for g, _, w in (order.sample(i) for i in range(n)))
    assert max(times.values()) <= -(-epochs // 1)
    for g, size in enumerate(sizes):
        assert order.counts()[g] <= epochs * size
        of_group = [times[g, w] for w in range(size)]
        assert max(of_group) - min(of_group) <= 1


def test_far_samples_need_little_memory() -> None:
    order = Order(["a", "b"], [10**9, 10**9], whole([1, 2]), 200_000, 0)
    assert order.sample(199_999)[2] < 10**9
    assert len(order._counts) == 200_000 // orders.BLOCK + 2
    assert blending.TOTAL == TOTAL
    assert blending.MOST_SAMPLES == weights.MOST_WINDOWS


# Weights


@given(st.lists(st.fractions(min_value=Fraction(1, 10**6), max_value=10**6), min_size=1, max_size=9))
def test_integer_weights_are_the_shares(parts: list[Fraction]) -> None:
    own = weights.integer_weights({str(i): p for i, p in enumerate(parts)})
    assert sum(own.values()) == TOTAL
    assert all(abs(Fraction(own[str(i)], TOTAL) - p / sum(parts)) < Fraction(1, TOTAL) for i, p in enumerate(parts))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1/4", Fraction(1, 4)),
        ("0.1", Fraction(1, 10)),
        ("2e3", 2000),
        (".5", Fraction(1, 2)),
        ("60 %", Fraction(3, 5)),
    ],
)
def test_a_weight_is_read_exactly(text: str, value: Fraction) -> None:
    assert weights.fraction(text, "") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20M", 20_000_000),
        ("1.5b", 1_500_000_000),
        ("300_000", 300_000),
        ("2K", 2000),
        ("1e6", 10**6),
        (" 0.5 M", 500_000),
    ],
)
def test_budgets(text: str, value: int) -> None:
    assert weights.token_count(text, "--tokens") == value


def test_temperature() -> None:
    own = weights.integer_weights(weights.by_temperature({"a": 100, "b": 400, "none": 0}, 2.0))
    assert own["a"] / TOTAL == pytest.approx(1 / 3)
    assert own == {"a": own["a"], "b": TOTAL - own["a"]}


# mix make


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokens(tmp_path_factory.mktemp("mixes") / "tokens", {"web": [500, 301], "code": [201]})


def make(*arguments: str | Path) -> tuple[int, str, str]:
    result = invoke("mix", "make", *map(str, arguments), "--sequence-length", "10")
    return result.code, result.out, result.err


def test_a_mix_is_a_manifest_with_its_shares(tokens: Path, tmp_path: Path) -> None:
    code, out, _ = make(
        tokens, "-o", tmp_path / "mix", "--weight", "web=3/4", "--weight", "code=0.25", "--tokens", "400"
    )
    assert code == 0
    assert out.splitlines()[1].split() == ["group", "asked", "share", "epochs", "tokens", "available"]
    value = json.loads((tmp_path / "mix/mix.json").read_text())
    assert (value["windows"], value["tokens"]) == (40, 400)
    web, code_group = value["groups"]["web"], value["groups"]["code"]
    assert (web["asked_share"], web["share"], web["windows"], web["epochs"]) == (0.75, 0.75, 30, 30 / 80)
    assert (code_group["windows"], code_group["windows_available"], code_group["folder"]) == (
        10,
        20,
        os.path.relpath(tokens, tmp_path / "mix"),
    )
    assert [f["tokens"] for f in web["files"]] == [500, 301]
    prefix = tokens / "token_files"
    pairs = [line.split(" ") for line in (tmp_path / "mix/megatron.txt").read_text().splitlines()]
    lines = {path: weight for weight, path in pairs}
    assert lines == {
        str(prefix / "web/train-00000"): repr(0.75 * 500 / 801),
        str(prefix / "web/train-00001"): repr(0.75 * 301 / 801),
        str(prefix / "code/train-00000"): "0.25",
    }
    sources = yaml.safe_load((tmp_path / "mix/olmo_core.yaml").read_text())["sources"]
    assert [s["source_name"] for s in sources] == ["web", "code"]
    assert sources[1] == {
        "source_name": "code",
        "target_ratio": 0.25,
        "max_repetition_ratio": 1.0,
        "paths": [str(prefix / "code/train-00000.bin")],
    }


def test_the_same_command_writes_the_same_bytes_and_another_mix_is_refused(tokens: Path, tmp_path: Path) -> None:
    assert make(tokens, "-o", tmp_path)[0] == 0
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert make(tokens, "-o", tmp_path)[0] == 0
    code, _, err = make(tokens, "-o", tmp_path, "--seed", "3")
    assert (code, "already has a mix with seed 0, and this one has seed 3" in err) == (2, True)
    code, _, err = make(tokens, "-o", tmp_path, "--weight", "web=1", "--tokens", "1000")
    assert (code, "the mix needs 1,000 of it" in err) == (2, True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_mix_of_other_token_files_is_refused(tmp_path: Path) -> None:
    for vocabulary, name in ((100, "one"), (90, "other")):
        write_tokens(tmp_path / name, {"a": [300]}, vocabulary=vocabulary, tokenizer={"name": "t", "fingerprint": "t"})
    assert make(tmp_path / "one", "-o", tmp_path / "mix")[0] == 0
    code, _, err = make(tmp_path / "other", "-o", tmp_path / "mix")
    assert (code, "already has a mix of other token files with these shares" in err) == (2, True), err


def test_weights_from_files(tokens: Path, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text("web: 0.8\ncode: 1/5\n")
    (tmp_path / "w.csv").write_text(",group,weight\n0,web,80%\n1,code,20%\n")  # as pandas writes it
    (tmp_path / "w.json").write_bytes(sealed({"date": "", "shares": {"web": 8e-1, "code": 0.2, "other": 0.0}}))
    names = ("w.yaml", "w.csv", "w.json")
    for name in names:
        assert make(tokens, "-o", tmp_path / f"{name}.mix", "--weights", tmp_path / name)[0] == 0
    manifests = {(tmp_path / f"{name}.mix/mix.json").read_bytes().replace(str(tokens).encode(), b"") for name in names}
    assert len(manifests) == 1
    edited = (tmp_path / "w.json").read_text().replace("0.2", "0.9")
    (tmp_path / "w.json").write_text(edited)
    code, _, err = make(tokens, "-o", tmp_path / "edited", "--weights", tmp_path / "w.json")
    assert (code, "was edited" in err) == (2, True)


def test_an_infinite_temperature_gives_equal_shares(tokens: Path, tmp_path: Path) -> None:
    code, _, err = make(tokens, "-o", tmp_path / "mix", "--temperature", "inf", "--epochs", "100")
    assert code == 0, err
    groups = json.loads((tmp_path / "mix/mix.json").read_text())["groups"]
    assert len(groups) > 1
    assert {g["asked_share"] for g in groups.values()} == {1 / len(groups)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weight", "wbe=1"], "unknown group 'wbe' (--weight): did you mean 'web'?"),
        (["--weight", "web=0"], "a weight is above 0, not 0"),
        (["--weight", "web=nan"], "'nan' is not a decimal number"),
        (["--weight", "web=1/0"], "'1/0' is not a decimal number"),
        (["--weight", "web=-1"], "'-1' is not a decimal number"),
        (["--weight", "web=60%", "--weight", "code=40"], "some weights are percentages and others are not"),
        (["--weight", "web"], "say GROUP=W"),
        (["--weight", "web=1", "--weight", "web=2"], "group 'web' has two weights"),
        (["--weight", "web=1", "--temperature", "2"], "exclude each other"),
        (["--tokens", "4"], "less than one window"),
        (["--tokens", "many"], "takes a whole number such as"),
        (["--tokens", "2000"], "group 'code' has 201 tokens, and the mix needs 400 of it"),
        (["--weight", "code=1", "--tokens", "300", "--epochs", "1.25"], "The largest budget that fits is --tokens 250"),
        (
            ["--weight", "code=1", "--tokens", "300", "--epochs", "0.001"],
            "No budget fits: raise --epochs, lower --sequence-length",
        ),
        (["--epochs", "0"], "--epochs must be above 0"),
        (["--weights", "absent.yaml"], "there is no such file"),
    ],
)
def test_refusals(tokens: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    code, _, err = make(tokens, "-o", tmp_path / "mix", *arguments)
    assert code == 2
    assert message in err
    assert not (tmp_path / "mix").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "web:\n", "is not a decimal number"),
        ("a.yaml", "web: 1\nweb: 2\n", "two weights"),
        ("a.yaml", "- web\n", "must be a mapping"),
        ("a.yaml", "", "must be a mapping"),
        ("a.csv", "mix,web,code\n1,2,3\n", "columns must be group and weight"),
        ("a.csv", "group,weight\nweb\n", "does not have two cells"),
    ],
)
def test_bad_weights_files(tokens: Path, tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    code, _, err = make(tokens, "-o", tmp_path / "mix", "--weights", tmp_path / name)
    assert (code, message in err) == (2, True), err


def test_several_outputs_need_one_tokenizer_and_distinct_groups(tokens: Path, tmp_path: Path) -> None:
    more = write_tokens(tmp_path / "more", {"all": [300]})
    books = write_tokens(tmp_path / "books", {"all": [200]})
    other = write_tokens(
        tmp_path / "other", {"x": [50]}, tokenizer={"name": "gpt2", "fingerprint": "g", "vocabulary": 9}
    )
    assert "give one a label, LABEL=" in make(more, books, "-o", tmp_path / "mix")[2]
    assert make(tokens, f"more={more}", f"books={books}", "-o", tmp_path / "mix")[0] == 0
    assert list(read_mix(str(tmp_path / "mix")).groups) == ["web", "code", "more", "books"]
    code, _, err = make(tokens, other, "-o", tmp_path / "b")
    assert (code, "tokenizer: " in err and "has gpt2, and" in err) == (2, True)
    assert make(tmp_path, "-o", tmp_path / "b")[0] == 2


def test_changed_token_files_and_edited_mixes_are_refused(tmp_path: Path) -> None:
    own = write_tokens(tmp_path / "own", {"a": [300], "b": [300]})
    assert make(own, "-o", tmp_path / "mix")[0] == 0
    path = tmp_path / "mix/mix.json"
    value = json.loads(path.read_text())
    value["seed"] = 7
    del value["checksum"]
    path.write_text(json.dumps(value))
    with pytest.raises(Exception, match="was edited"):
        read_mix(str(tmp_path / "mix"))
    ids = bytearray((own / "token_files/b/train-00000.bin").read_bytes())
    ids[7] ^= 1
    (own / "token_files/b/train-00000.bin").write_bytes(ids)
    code, _, err = make(own, "-o", tmp_path / "again")
    assert (code, "token_files/b/train-00000.bin has changed since its manifest" in err) == (2, True)


def test_an_empty_group_is_named(tmp_path: Path) -> None:
    own = write_tokens(tmp_path / "own", {"a": [300], "b": []}, held_out=True)
    code, _, err = make(own, "-o", tmp_path / "mix", "--weight", "b=1")
    assert (code, "group 'b' is empty" in err) == (2, True)
    code, out, _ = make(own, "-o", tmp_path / "mix")
    assert (code, out.splitlines()[-1]) == (0, "not in the mix: b")


# Tag statistics


@pytest.mark.e2e
def test_statistics_are_means_over_tokens(tmp_path: Path) -> None:
    lines = [{"text": "a b c d e f", "s": "x"}, {"text": "aa", "s": "x"}, {"text": "aaaa bb", "s": "y"}] * 4
    (tmp_path / "docs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ("-i", str(tmp_path / "docs.jsonl"), "-o", str(tmp_path / "tokens"), "--workers", "1")
    assert invoke("run", "tokenize", *arguments, "--group-by", "s").code == 0
    assert invoke("run", "tag", *arguments, "--taggers", "length").code == 0
    means, notes = tag_means.of_groups(Folder(str(tmp_path / "tokens")))
    # "a b c d e f" has 11 characters and 7 tokens with the EOS; "aa" has 2 and 2; "aaaa bb" has one value only.
    assert notes == []
    assert means["x"]["length.char_len"] == {"mean": pytest.approx((11 * 7 + 2 * 2) / 9), "coverage": 1.0}
    assert means["y"]["length.char_len"]["mean"] == 7


def test_statistics_of_a_mix_weigh_its_groups() -> None:
    means = {"x": {"a": {"mean": 4.0, "coverage": 1.0}}, "y": {"a": {"mean": 8.0, "coverage": 1.0}}}
    assert tag_means.of_mix({"x": 0.25, "y": 0.75}, means) == {"a": {"mean": 7.0, "coverage": 1.0}}
    half = tag_means.of_mix({"x": 0.5, "y": 0.5}, {"x": {"a": {"mean": 4.0, "coverage": 0.5}}})
    assert half == {"a": {"mean": 4.0, "coverage": 0.25}}


# mix swarm


def test_a_swarm_is_seeded_and_keeps_the_cap(tokens: Path, tmp_path: Path) -> None:
    arguments = ["8", str(tokens), "--seed", "9", "--tokens", "400", "--sequence-length", "10", "--epochs", "1"]
    result = invoke("mix", "swarm", *arguments, "-o", str(tmp_path / "a"))
    assert result.code == 0
    assert invoke("mix", "swarm", *arguments, "-o", str(tmp_path / "b")).code == 0
    table = (tmp_path / "a/swarm.csv").read_text()
    assert table == (tmp_path / "b/swarm.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    assert [r["mix"] for r in rows] == [f"mix-{i:04d}" for i in range(8)]
    for row in rows:
        mix = read_mix(str(tmp_path / "a" / row["mix"]))
        assert all(g["epochs"] <= 1 for g in mix.groups.values())
        assert {g: float(row[g]) for g in mix.groups} == mix.shares
        assert sum(mix.shares.values()) == pytest.approx(1)
    assert len({r["web"] for r in rows}) > 2
    refused = int(result.out.splitlines()[1].split(" of ")[0])
    assert refused > 0  # code has enough for half of a mix
    assert f"{refused} of {refused + 8} draws needed more than --epochs 1 allows (code {refused})" in result.out
    assert invoke("mix", "swarm", "9", *arguments[1:], "-o", str(tmp_path / "b")).code == 0
    assert (tmp_path / "b/swarm.csv").read_text().startswith(table)
    result = invoke("mix", "swarm", *arguments, "--seed", "6", "-o", str(tmp_path / "a"))
    assert (result.code, "already has" in result.err) == (2, True)
    assert (tmp_path / "a/swarm.csv").read_text() == table


def test_a_swarm_that_cannot_fit_says_why(tokens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tagcorpus.pipelines.mixes.swarm.DRAWS", 20)
    for budget, message in (("1000", "is the most frequent cause"), ("1100", "more than all groups together")):
        arguments = ["3", str(tokens), "--tokens", budget, "--sequence-length", "10", "-o", str(tmp_path / "s")]
        result = invoke("mix", "swarm", *arguments)
        assert (result.code, message in result.err) == (2, True), result.err
        assert not (tmp_path / "s").exists()
