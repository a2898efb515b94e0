"""The row of a feature table against a slow twin: joined by row, exact whatever the ranges, and a reason for each empty cell."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_sidecars import ROLES, instances, plan_of, write_sidecars
from hypothesis import given, settings
from hypothesis import strategies as st

from naive import feature_row
from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.counting.estimators import student_t
from tagcorpus.pipelines.counting.intervals import around, t_quantile, wilson
from tagcorpus.pipelines.feature_table.columns import SOURCES, STEMS, columns, extended_columns
from tagcorpus.pipelines.group_statistics.groups import (
    Group,
    Where,
    by_column,
    by_level,
    by_model,
    check_ids,
    entropy_name,
    escaped,
)
from tagcorpus.pipelines.group_statistics.moments import Moments, ratio, ratio_error, root
from tagcorpus.pipelines.group_statistics.rows import KEYWORDS
from tagcorpus.pipelines.group_statistics.statistics import BY_RULE, GroupStatistics, statistics
from tagcorpus.pipelines.storage.folder import Folder

DDOF = {s.name: s.ddof for s in STEMS if s.ddof is not None}
FINITE = st.one_of(st.floats(-1e100, 1e100), st.integers(-(2**20), 2**20).map(float))


def whole(folder: str | Path) -> Folder:
    return Folder(str(folder))


# --- moments ---------------------------------------------------------------------------------------------------------


@given(st.lists(FINITE, max_size=30), st.integers(0, 30))
def test_moments_are_exact_and_divide_anywhere(values: list[float], cut: int) -> None:
    array = np.array(values, np.float64)
    found = Moments.of(array[:cut]) + Moments.of(array[cut:])
    assert found == Moments.of(array)
    exact = [Fraction(v) for v in values]
    assert Fraction(found.total, 1 << 1126) == sum(exact)
    assert Fraction(found.squares, 1 << 2252) == sum(v * v for v in exact)
    assert found.mean() == (float(sum(exact) / len(exact)) if exact else None)
    if len(values) > 1:
        mean = sum(exact, Fraction(0)) / len(exact)
        variance = sum(((v - mean) ** 2 for v in exact), Fraction(0)) / (len(exact) - 1)
        assert found.deviation(1) == pytest.approx(root(variance.numerator, variance.denominator), rel=1e-15)
        assert found.standard_error() == pytest.approx(found.deviation(1) / math.sqrt(len(values)), rel=1e-14)  # type: ignore[operator]


@pytest.mark.parametrize("most", [1 << 19, (1 << 19) + 1])
def test_moments_of_whole_numbers(most: int) -> None:
    """On either side of the size up to which they are added as such."""
    found = Moments.of(np.array([most, -most, 3]))
    assert (found.total, found.squares) == (3 << 1126, (2 * most * most + 9) << 2252)


def test_moments_of_the_smallest_and_of_nothing() -> None:
    assert Moments.of(np.array([])) == Moments()
    assert (Moments().mean(), Moments().deviation(0), Moments().standard_error()) == (None, None, None)
    tiny = Moments.of(np.array([5e-324, -5e-324, 5e-324]))
    assert tiny.total == 1 << 1126 - 1074
    one = Moments.of(np.array([7]))
    assert (one.mean(), one.deviation(0), one.deviation(1)) == (7.0, 0.0, None)
    # Where squares of float64 would leave nothing of the spread.
    assert Moments.of(np.array([1e9, 1e9 + 1, 1e9 + 2])).deviation(1) == 1.0


@given(st.integers(0, 10**40), st.integers(1, 10**40))
def test_root_is_that_of_the_exact_ratio(numerator: int, denominator: int) -> None:
    found = Fraction(root(numerator, denominator))
    ulp = Fraction(math.ulp(float(found))) if found else Fraction(0)
    low, high = found - ulp, found + ulp
    assert low * low * denominator <= numerator <= high * high * denominator


def test_ratio_and_its_error() -> None:
    part, all_ = np.array([1.0, 0, 3, 2]), np.array([10.0, 20, 30, 40])
    sums = (Moments.of(part), Moments.of(all_), Moments.of(part + all_))
    assert ratio(sums[0], sums[1]) == 0.06
    by_hand = math.sqrt(4 / 3 * sum((p - 0.06 * a) ** 2 for p, a in zip(part, all_, strict=True))) / 100
    assert ratio_error(*sums) == pytest.approx(by_hand, rel=1e-12)
    assert (ratio(*sums[:2], scale=100), ratio_error(*sums, scale=100)) == pytest.approx((6, 100 * by_hand), rel=1e-12)
    nothing = Moments.of(np.array([0.0, 0.0]))
    assert (ratio(nothing, nothing), ratio_error(nothing, nothing, nothing)) == (None, None)


def test_intervals() -> None:
    assert wilson(0, 0) == (None, None)
    assert wilson(0, 10) == pytest.approx((0, 27.753279986288))
    assert wilson(10, 10) == pytest.approx((72.246720013712, 100))
    assert wilson(5, 10) == pytest.approx((23.659309051256, 76.340690948744))
    for freedom in (200, 1001):
        assert t_quantile(freedom) == pytest.approx(student_t(freedom, 0.95), abs=1e-9)
    assert around(5.0, 2.0, 2) == pytest.approx((5 - 2 * 12.706204736175, 5 + 2 * 12.706204736175))
    assert around(5.0, None, 1) == (None, None)


# --- rows of the table -----------------------------------------------------------------------------------------------

COUNT = st.one_of(st.none(), st.integers(0, 10**6))
VALUE = st.one_of(st.none(), st.floats(-1e3, 1e6), st.just(math.nan))
LABEL = st.sampled_from([None, "web", "code", "books", "academic", "unknown", "incoherent"])
STAGE = st.sampled_from(["web", "fasttext", "not_selected"])


@st.composite
def documents(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A few stems only, so that examples stay quick: one of each tagger, counts and floats."""
    count = dict.fromkeys(("char_len", "num_tokens", *KEYWORDS.values(), "const_parse_num_words"), COUNT)
    value = dict.fromkeys(("ttr", "edu_classifier", "content_function_ratio"), VALUE)
    other = {
        "is_kept": st.sampled_from([True, True, True, False, None]),
        "prediction": LABEL,
        "language": st.sampled_from(["en", "de", None]),
        "stage": STAGE,
    }
    found = draw(st.lists(st.fixed_dictionaries({**count, **value, **other}), max_size=12))
    for row in found:
        if row["stage"] == "not_selected":
            row["prediction"] = None
    return found


def sidecars_of(rows: list[dict[str, Any]]) -> dict[str, dict[int, dict[str, Any]]]:
    """By role, the rows of each sidecar; `repetition` has all."""
    found: dict[str, dict[int, dict[str, Any]]] = {role: {} for role in ROLES}
    for n, row in enumerate(rows):
        reason = {True: "passed", False: "too_short", None: None}[row["is_kept"]]
        found["repetition"][n] = {"is_kept": row["is_kept"], "reason": reason}
        found["domain"][n] = {k: row[k] for k in ("prediction", "language", "stage")}
        found["keywords"][n] = {k: row[k] for k in KEYWORDS.values()}
        for stem, (role, column) in SOURCES.items():
            if row.get(stem) is not None:
                found[role].setdefault(n, {})[column] = row[stem]
    return found


def tidy(row: dict[str, Any]) -> dict[str, Any]:
    """What is no number is missing."""
    missing = dict.fromkeys(DDOF)
    return {**missing, **{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}}


@settings(max_examples=8)
@given(documents(), st.integers(0, 12), st.sampled_from(["0.5", "0.25", "0.9", "0"]))
def test_rows_equal_their_twin_whatever_the_ranges(rows: list[dict[str, Any]], cut: int, share: str) -> None:
    using = instances(*ROLES)
    expected = feature_row([tidy(r) for r in rows], DDOF, share)
    found = []
    for sizes in ([len(rows)], [min(cut, len(rows)), len(rows) - min(cut, len(rows))]):
        plan = plan_of({"m/a.jsonl": sizes})
        output = Folder("memory://features")  # without the fsyncs of a disk
        output.remove("")
        write_sidecars(output, plan, using, {"m/a.jsonl": sidecars_of(rows)})
        groups = [Group("m", ("m/a.jsonl",))]
        found += statistics(output, plan, groups, using, min_kept_share=float(share), is_extended=True)
    assert found[0] == found[1]
    values = {c: v for c, v in found[0].values.items() if c in expected}
    assert values == {
        c: pytest.approx(v, rel=1e-12, abs=1e-300) if isinstance(v, float) else v for c, v in expected.items()
    }
    assert {c for c, v in found[0].values.items() if v is None} == found[0].reasons.keys() - extended_columns().keys()
    assert {c for c, v in found[0].extended.items() if v is None} == found[0].reasons.keys() - found[0].values.keys()
    assert found[0].counts["kept"] == sum(bool(r["is_kept"]) for r in rows)
    for stem in DDOF:
        if found[0].values[f"{stem}_mean"] is not None:
            kept = [tidy(r)[stem] for r in rows if r["is_kept"] and tidy(r)[stem] is not None]
            assert found[0].extended[f"{stem}_median"] == pytest.approx(np.median(kept), rel=1e-12)
            assert found[0].extended[f"{stem}_n"] == len(kept)


def lengths(kept: str, values: str = "") -> dict[str, dict[int, dict[str, Any]]]:
    """Rows by a letter each: k kept, s too short, n without a verdict; a length of 10 n where `values` has an x."""
    reasons = {"k": "passed", "s": "too_short", "n": None}
    there = values or "x" * len(kept)
    return {
        "repetition": {
            n: {"is_kept": None if c == "n" else c == "k", "reason": reasons[c]} for n, c in enumerate(kept)
        },
        "length": {n: {"char_len": 10 * n} for n, c in enumerate(there) if c == "x"},
    }


def row_of(
    tmp_path: Path, rows: dict[str, dict[int, dict[str, Any]]], n: int, share: float = 0.5, **more: Any
) -> GroupStatistics:
    plan, using = plan_of({"a": [n]}), instances(*rows)
    write_sidecars(whole(tmp_path), plan, using, {"a": rows})
    (found,) = statistics(whole(tmp_path), plan, [Group("a", ("a",))], using, min_kept_share=share, **more)
    return found


def test_exactly_half_is_enough(tmp_path: Path) -> None:
    found = row_of(tmp_path, lengths("kskskn"), 6)
    assert (found.values["char_len_mean"], found.values["char_len_std"]) == (20.0, 20.0)
    assert found.counts["removed"] == {"no_verdict": 1, "too_short": 2}


def test_less_than_half_is_not(tmp_path: Path) -> None:
    found = row_of(tmp_path, lengths("kskss"), 5)
    assert found.values["char_len_mean"] is None
    assert found.reasons["char_len_mean"] == (
        "2 of the 5 generations with a value passed the filter, a smaller share than --min-kept-share 0.5"
    )


def test_the_share_is_of_rows_that_have_a_value(tmp_path: Path) -> None:
    """Of the three rows with a length two are kept, though of all six only two are."""
    found = row_of(tmp_path, lengths("ksksss", "xxx   "), 6)
    assert found.values["char_len_mean"] == 10.0
    assert found.counts["with_a_value"] == {"char_len": 3}
    assert found.counts["with_a_value_and_kept"] == {"char_len": 2}


def test_rows_meet_by_number_not_by_position(tmp_path: Path) -> None:
    """The second row has no length; the third is not kept, so that the fourth's length is the only one but the first's."""
    found = row_of(tmp_path, lengths("kksk", "x xx"), 4)
    assert found.values["char_len_mean"] == 15.0


def test_labels_of_what_is_not_kept_do_not_count(tmp_path: Path) -> None:
    labels = {n: {"prediction": p, "language": "en", "stage": "x"} for n, p in enumerate(("web", "code", "code"))}
    found = row_of(tmp_path, {**lengths("kss"), "domain": labels}, 3)
    assert (found.values["domain_web_pct_mean"], found.values["domain_code_pct_mean"]) == (100.0, 0.0)


def test_a_share_is_the_number_that_was_written(tmp_path: Path) -> None:
    """55 of 100 is 0.55, which float64 says it is not."""
    assert 0.55 * 100 > 55
    assert row_of(tmp_path, lengths("k" * 55 + "s" * 45), 100, 0.55).values["char_len_mean"] == 270.0


def test_one_generation_has_no_deviation_with_ddof_1(tmp_path: Path) -> None:
    rows = {**lengths("k"), "syntax": {0: {"num_words": 4}}}
    found = row_of(tmp_path, rows, 1, is_extended=True)
    assert (found.values["char_len_std"], found.values["const_parse_num_words_std"]) == (None, 0.0)
    assert "ddof 1" in found.reasons["char_len_std"]
    assert found.extended["char_len_low95"] is None
    assert found.reasons["char_len_low95"] == "one generation with a value: no standard error"


def test_what_is_not_there_says_why(tmp_path: Path) -> None:
    found = row_of(tmp_path, lengths("kk"), 2, absent={"domain": "no endpoint", "entropy": "left out"})
    assert list(found.values) == columns()[1:]
    assert found.reasons["domain_web_pct_mean"] == found.reasons["pct_english_mean"] == "no endpoint"
    assert found.reasons["entropy_mean"] == "left out"
    assert found.reasons["entropy_std"] == BY_RULE
    assert found.reasons["ttr_mean"] == "not computed: tokens was not asked for"
    assert found.reasons["numbers_ratio"] == "not computed: keywords was not asked for"
    assert row_of(tmp_path / "b", {**lengths("kk"), "quality": {}}, 2).reasons["edu_classifier_mean"] == (
        "no generation has a value"
    )


def test_all_labels_left_out_is_zero_but_no_label_is_nothing(tmp_path: Path) -> None:
    left_out = {n: {"prediction": p, "language": "en", "stage": "x"} for n, p in enumerate(("unknown", "incoherent"))}
    found = row_of(tmp_path / "a", {**lengths("kk"), "domain": left_out}, 2)
    assert (found.values["domain_web_pct_mean"], found.values["pct_english_mean"]) == (0.0, None)
    failed = {0: {"prediction": None, "stage": "web"}, 1: {"prediction": None, "stage": "not_selected"}}
    found = row_of(tmp_path / "b", {**lengths("kk"), "domain": failed}, 2)
    assert found.values["domain_web_pct_mean"] is None
    assert found.reasons["domain_web_pct_mean"] == "no generation that passed the filter has a label"
    assert found.counts["without_label"] == {"not_selected": 1, "failed": 1}


def test_entropy_comes_from_the_groups_own_file(tmp_path: Path) -> None:
    budget = {"tokens": 50, "mean_corpus_entropy": {"mean": 1.0, "low": 0.5, "high": 1.5}}
    told = {"mean_corpus_entropy": 1.25, "num_tokens": 90, "estimates": {"chao_shen": -0.5}, "token_budget": budget}
    whole(tmp_path).publish(entropy_name("a"), json.dumps(told).encode())
    found = row_of(tmp_path, lengths("kk"), 2, is_extended=True)
    assert found.values["entropy_mean"] == 1.25
    assert found.counts["entropy_tokens"] == 90
    assert [found.extended[f"entropy_{n}"] for n in ("chao_shen", "at_budget", "at_budget_high95")] == [-0.5, 1.0, 1.5]
    whole(tmp_path).publish(entropy_name("a"), b"{")
    with pytest.raises(InputError, match="damaged"):
        row_of(tmp_path, lengths("kk"), 2)


def test_without_a_filter_everything_counts(tmp_path: Path) -> None:
    found = row_of(tmp_path, {"length": {0: {"char_len": 1}, 1: {"char_len": 3}}}, 2)
    assert (found.values["char_len_mean"], found.counts["kept"]) == (2.0, 2)


def test_rows_that_the_filter_has_not_are_refused(tmp_path: Path) -> None:
    rows = lengths("kk")
    rows["length"][2] = {"char_len": 5}
    with pytest.raises(InputError, match="chunk 0 of a: the part of 'length' has rows that the others have not"):
        row_of(tmp_path, rows, 3)


def test_a_missing_part_is_refused(tmp_path: Path) -> None:
    rows = lengths("kk")
    row_of(tmp_path, rows, 2)
    whole(tmp_path).remove("attributes/length")
    with pytest.raises(InputError, match=r"attributes/length/a/part-00000\.parquet is missing"):
        statistics(whole(tmp_path), plan_of({"a": [2]}), [Group("a", ("a",))], instances(*rows))


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    rows = lengths("kk")
    row_of(tmp_path, rows, 2)
    whole(tmp_path).publish("attributes/length/a/part-00000.parquet", b"PAR1 no more PAR1")
    with pytest.raises(InputError, match=r"attributes/length/a/part-00000\.parquet is damaged .*: remove it"):
        statistics(whole(tmp_path), plan_of({"a": [2]}), [Group("a", ("a",))], instances(*rows))


def test_medians_are_the_same_when_parts_are_read_again(tmp_path: Path) -> None:
    held = row_of(tmp_path, lengths("kskkk"), 5, is_extended=True)
    assert row_of(tmp_path, lengths("kskkk"), 5, is_extended=True, kept_rows=0) == held
    assert held.extended["char_len_median"] == 25.0


# --- groups ----------------------------------------------------------------------------------------------------------


def test_groups_by_model_folder_and_column(tmp_path: Path) -> None:
    plan = plan_of({"b/x/1": [2, 1], "b/x/2": [1], "b/y/3": [1], "top": [2]})
    assert [(g.id, g.files) for g in by_model({"z": ["top"], "b/x": ["b/x/2", "b/x/1"]}, plan)] == [
        ("b/x", ("b/x/1", "b/x/2")),
        ("z", ("top",)),
    ]
    assert [g.id for g in by_level(plan, 1)] == ["b", "top"]
    assert [(g.id, len(g.chunks(plan))) for g in by_level(plan, 2)] == [("b/x", 3), ("b/y", 1), ("top", 1)]
    with pytest.raises(ConfigError, match="level:0"):
        by_level(plan, 0)
    with pytest.raises(ConfigError, match=r"level:3: the folders of the input are at most 2 deep"):
        by_level(plan, 3)
    assert [g.id for g in by_level(plan_of({"one": [1], "two": [1]}), 1)] == ["one", "two"]
    languages = ["en", "de", "en", None, "de", "en", "en"]
    rows: dict[str, dict[str, dict[int, dict[str, Any]]]] = {}
    at = iter(languages)
    for planned in plan.files:
        numbers = range(planned.rows)
        rows[planned.file.name] = {
            **lengths("k" * planned.rows),
            "language": {n: {"language": next(at)} for n in numbers},
        }
    using = instances("repetition", "length", "language")
    write_sidecars(whole(tmp_path), plan, using, rows)
    groups = by_column(whole(tmp_path), plan, using["language"], "language")
    assert [g.id for g in groups] == ["de", "en", "(none)"]
    found = statistics(whole(tmp_path), plan, groups, using, is_extended=True)
    assert [f.values["char_len_mean"] for f in found] == [5.0, 7.5, 0.0]
    assert [f.extended["char_len_median"] for f in found] == [5.0, 5.0, 0.0]
    assert [f.counts["generations"] for f in found] == [2, 4, 1]
    alone = [statistics(whole(tmp_path), plan, [g], using, is_extended=True)[0] for g in groups]
    assert alone == found


def test_ids_of_groups_are_checked() -> None:
    for bad, why in (("", "empty"), (" a", "spaces"), ("a\nb", "not printable")):
        with pytest.raises(ConfigError, match=why):
            check_ids([Group(bad, ())])
    with pytest.raises(ConfigError, match="'a' stands for two groups"):
        check_ids([Group("a", ()), Group("a", (), Where(instances("language")["language"], "language", "en"))])


def test_names_of_files_are_safe_and_told_apart() -> None:
    assert escaped("acme/a-1.b_2") == "acme%2Fa-1.b_2"
    assert escaped("../x") == "%2E.%2Fx"
    long = [escaped("ä" * 100 + c) for c in "ab"]
    assert long[0] != long[1]
    assert max(map(len, long)) <= 150
