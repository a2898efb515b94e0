"""`tagcorpus check-features`: a sound table has no findings, every defect has its own, and the published one is read right."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugins import Ended
from profiles import more
from slurm_commands import invoke

from tagcorpus.errors import InputError
from tagcorpus.pipelines.feature_table.check import report
from tagcorpus.pipelines.feature_table.columns import AT_MOST, DOMAINS, RATIOS, STEMS, columns, numeric_columns
from tagcorpus.pipelines.feature_table.table import decimals, kind_of
from tagcorpus.predictor.records.plain_values import number

ROOT = Path(__file__).resolve().parents[1]
IDS = ["acme/a", "acme/b", "globex/c", "initech/d"]
# Means that fit together: the bounds of AT_MOST hold, and the domains add up.
MEANS = {
    "char_len": 900.5,
    "num_tokens": 250.25,
    "unique_tokens": 120.5,
    "const_parse_num_words": 150.5,
    "const_parse_num_sentences": 8.5,
    "const_parse_const_tree_depth_max": 14.5,
    "const_parse_const_tree_depth_mean": 10.5,
    "const_parse_const_word_depth_mean": 6.5,
    "dep_parse_dep_head_dist_max": 40.5,
    "dep_parse_dep_head_dist_90p": 9.5,
    "dep_parse_dep_head_dist_median": 2.5,
    "dep_parse_dep_root_dist_max": 50.5,
    "dep_parse_dep_root_dist_mean": 17.5,
    "dep_parse_dep_root_dist_median": 14.5,
    "pct_english": 80.5,
}


class Draft:
    """A sound table of four models to spoil: rows of texts by column, and the header."""

    def __init__(self) -> None:
        self.header = columns()
        self.rows: list[dict[str, str]] = []
        for i, model in enumerate(IDS):
            row = {"id": model}
            for name, column in numeric_columns().items():
                base = MEANS.get(column.stem, 0.5) if column.statistic == "mean" else 0.25
                base = 250.25 if column.statistic == "ratio" else base
                row[name] = "" if column.is_always_empty else repr(base + i / 1000)
            shares = [50 - i / 8, 20 - i / 8, 10 - i / 8, 10 + i / 8, 5 + i / 8, 5 + i / 8]
            row |= {f"domain_{d}_pct_mean": repr(v) for d, v in zip(DOMAINS, shares, strict=True)}
            self.rows.append(row)

    def write(self, folder: Path, name: str = "a.csv") -> str:
        out = io.StringIO(newline="")
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(self.header)
        rows.writerows([row.get(c, "") for c in self.header] for row in self.rows)
        (folder / name).write_text(out.getvalue(), encoding="utf-8")
        return str(folder / name)


@pytest.fixture
def draft() -> Draft:
    return Draft()


@pytest.fixture
def published(golden: Path) -> str:
    return str(golden.parent / "data" / "all_models_feature_stats_3_03_with_ratios.csv")


def found(path: str, against: str | None = None) -> dict[str, dict[str, Any]]:
    """The findings by check; no check speaks twice, and the exit code is what the severities say."""
    text, code = report(path, against, as_json=True)
    findings = json.loads(text)["findings"]
    assert code == any(f["severity"] == "error" for f in findings)
    assert len({f["check"] for f in findings}) == len(findings)
    return {f["check"]: f for f in findings}


def test_the_header_is_the_published_one(published: str) -> None:
    with open(published, encoding="utf-8", newline="") as file:
        assert next(csv.reader(file)) == columns()


def test_columns_are_well_formed() -> None:
    names = columns()
    assert names[0] == "id"
    assert len(set(names)) == len(names) == 1 + 2 * len(STEMS) + len(RATIOS) == 62
    stems = {s.name for s in STEMS}
    assert {a for pair in AT_MOST for a in pair} <= stems
    empty = {c.name for c in numeric_columns().values() if c.is_always_empty}
    assert empty == {f"domain_{d}_pct_std" for d in DOMAINS} | {"entropy_std", "pct_english_std"}
    assert numeric_columns()["ttr_std"].high == pytest.approx(math.sqrt(0.5))


def test_deviations_are_those_of_the_reference(golden: Path) -> None:
    """ddof of every stem, from documents whose mean and deviation the reference gave."""
    import pyarrow.parquet as pq

    tree = golden / "model_tree"
    documents = tree / "input/pretraining_features/generations/acme/alpha-1b"
    told = [json.loads(line) for line in (tree / "expected/long.jsonl").read_text().splitlines()]
    expected = {t["feature"]: t for t in told if t["model"] == "acme/alpha-1b"}
    ddof = {s.name: s.ddof for s in STEMS}
    for name in ("char_len", "num_tokens", "unique_tokens", "ttr", "content_function_ratio", "edu_classifier"):
        cells = pq.read_table(documents / f"samples_{name}_{name}_.parquet")[name].to_pylist()
        values = [c["raw_score"] if isinstance(c, dict) else float(c) for c in cells]
        assert len(values) == expected[name]["count"]  # none of this model's was filtered
        mean = math.fsum(values) / len(values)
        std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - (ddof[name] or 0)))
        assert (mean, std) == pytest.approx((expected[name]["mean"], expected[name]["std"]), rel=1e-9), name


def test_a_sound_table_has_one_note(draft: Draft, tmp_path: Path) -> None:
    only = found(draft.write(tmp_path))
    assert list(only) == ["empty_by_rule"]
    assert only["empty_by_rule"]["count"] == 8


def test_the_published_table(published: str) -> None:
    text, code = report(published, None, as_json=True)
    told = json.loads(text)
    assert (code, told["rows"], told["columns"]) == (0, 102, 62)
    assert (told["columns_with_values"], told["complete_models"]) == (53, 62)
    counts = {f["check"]: (f["severity"], f["count"]) for f in told["findings"]}
    assert counts == {
        "domains_below_100": ("warning", 25),
        "domains_all_zero": ("warning", 3),
        "id_without_org": ("note", 5),
        "empty_by_rule": ("note", 8),
        "incomplete_models": ("note", 40),
    }
    same = found(published, published)
    assert same["shared_ids"]["count"] == 102
    assert set(same) - set(counts) == {"shared_ids"}


def test_tables_of_the_golden_tree(golden: Path) -> None:
    expected = golden / "model_tree/expected"
    found(str(expected / "wide_with_ratios.csv"))
    assert found(str(expected / "wide_two_bugs_fixed.csv"))["missing_column"]["where"] == list(RATIOS)
    other = found(str(expected / "wide_with_ratios_revised_script.csv"))["unknown_column"]["where"]
    assert "'questions_words_ratio': is 'question_words_ratio' meant?" in other


def cell(column: str, text: str, row: int = 1) -> Callable[[Draft], None]:
    return lambda d: d.rows[row].update({column: text})


def down(column: str, *texts: str) -> Callable[[Draft], None]:
    """The column's cells from the first row on."""

    def spoil(draft: Draft) -> None:
        for row, text in zip(draft.rows, texts, strict=False):
            row[column] = text

    return spoil


def ids(*names: str) -> Callable[[Draft], None]:
    return down("id", *names)


def header(change: Callable[[list[str]], Any]) -> Callable[[Draft], Any]:
    return lambda d: change(d.header)


def domains(*shares: str) -> Callable[[Draft], None]:
    return lambda d: d.rows[1].update({f"domain_{k}_pct_mean": v for k, v in zip(DOMAINS, shares, strict=True)})


ERRORS = {
    "text": (cell("ttr_mean", "high"), "text_cell", "acme/b: ttr_mean is 'high'"),
    "grouped digits": (cell("char_len_mean", "1_000"), "text_cell", "char_len_mean is '1_000'"),
    "nan": (cell("ttr_mean", "NaN"), "missing_as_text", "acme/b: ttr_mean is 'NaN'"),
    "null": (cell("ttr_mean", "null"), "missing_as_text", "'null'"),
    "infinity": (cell("entropy_mean", "-inf"), "not_finite", "entropy_mean is '-inf'"),
    "overflow": (cell("entropy_mean", "1e999"), "not_finite", "'1e999'"),
    "comma": (cell("char_len_mean", "12,5"), "decimal_comma", "'12,5'"),
    "sentinel": (cell("edu_classifier_mean", "-1.0"), "minus_one", "acme/b: edu_classifier_mean"),
    "ttr": (cell("ttr_mean", "1.01"), "out_of_range", "ttr_mean is 1.01, must be 0 to 1 share"),
    "percent": (cell("pct_english_mean", "100.1"), "out_of_range", "must be 0 to 100 %"),
    "negative": (cell("entropy_mean", "-0.5"), "out_of_range", "must be at least 0 bits"),
    "deviation": (cell("char_len_std", "-0.1"), "out_of_range", "char_len_std is -0.1"),
    "impossible deviation": (cell("ttr_std", "0.71"), "out_of_range", "must be 0 to 0.707107 share"),
    "bound": (cell("unique_tokens_mean", "999"), "larger_than_its_bound", "unique_tokens_mean is 999, num_tokens_mean"),
    "over 100": (domains("50", "20", "10", "10", "5", "5.5"), "domains_do_not_add_up", "acme/b: 100.5"),
    "far below": (domains("10", "20", "10", "10", "5", "5"), "domains_do_not_add_up", "acme/b: 60.0"),
    "shares": (domains(".5", ".2", ".1", ".1", ".05", ".05"), "domains_do_not_add_up", "shares, not percentages?"),
    "twice": (ids("acme/a", "acme/a"), "duplicate_id", "acme/a: lines 2, 3"),
    "no id": (ids("acme/a", ""), "empty_id", "line 3"),
    "spaced id": (ids("acme/a "), "id_with_spaces", "'acme/a '"),
    "column gone": (header(lambda h: h.remove("ttr_std")), "missing_column", "ttr_std"),
    "index of pandas": (header(lambda h: h.insert(0, "")), "unnamed_column", None),
    "column twice": (header(lambda h: h.append("ttr_std")), "duplicate_column", "'ttr_std': 2 times"),
    "no id column": (header(lambda h: h.__setitem__(0, "model")), "no_id_column", None),
}
WARNINGS = {
    "padded": (cell("ttr_mean", " 0.5"), "spaces_in_cells", "ttr_mean is ' 0.5'"),
    "little below": (domains("50", "20", "10", "10", "5", "4.75"), "domains_below_100", "acme/b: 99.75"),
    "partly": (domains("95", "", "", "", "", "5"), "domains_partly_empty", "acme/b: 4 of 6 empty"),
    "none": (domains("0", "0.0", "0", "0", "0", "0"), "domains_all_zero", "acme/b"),
    "none but english": (domains("0", "0", "0", "0", "0", "0"), "english_without_domain", "acme/b"),
    "no std": (cell("ttr_std", ""), "mean_without_std", "acme/b: ttr"),
    "no mean": (cell("ttr_mean", ""), "std_without_mean", "acme/b: ttr"),
    "std of one": (cell("entropy_std", "0.5"), "std_of_one_value", "acme/b: entropy_std"),
    "constant": (down("numbers_ratio", *["3.5"] * 4), "constant_column", "numbers_ratio: 3.5 in 4 models"),
    "empty": (down("numbers_ratio", *[""] * 4), "empty_column", "numbers_ratio"),
    "mostly empty": (down("numbers_ratio", *[""] * 3), "mostly_empty_column", "numbers_ratio: 3 of 4"),
    "same row": (lambda d: d.rows.append(d.rows[0] | {"id": "z/z"}), "duplicate_rows", "acme/a = z/z"),
    "nothing": (lambda d: d.rows.append({"id": "z/z"}), "row_without_values", "z/z"),
    "alike": (ids("acme/a", "Acme__A"), "ids_alike", "'Acme__A' and 'acme/a'"),
    "path": (ids("/x/y/z"), "id_not_org_name", "/x/y/z"),
    "unknown": (header(lambda h: h.append("ttr_middle")), "unknown_column", "ttr_middle"),
    "between": (header(lambda h: h.insert(3, "mine")), "unknown_between", None),
    "order": (header(lambda h: h.insert(1, h.pop())), "column_order", None),
    "id later": (header(lambda h: h.append(h.pop(0))), "id_not_first", None),
    "empty column gone": (header(lambda h: h.remove("entropy_std")), "missing_empty_column", "entropy_std"),
    "share": (down("pct_english_mean", "0.5", "0.75", "1", "0.8"), "share_not_percent", None),
}
NOTES = {
    "bare": (ids("acme"), "id_without_org", "acme"),
    "deep": (ids("models/x/y"), "id_is_a_path", "models/x/y"),
    "unsorted": (ids("z/z"), "rows_not_sorted", None),
    "extended": (header(lambda h: h.append("ttr_median")), "extended_columns", "ttr_median"),
    "gap": (cell("numbers_ratio", ""), "incomplete_models", "numbers_ratio: 1 of 4 empty"),
}
CASES = [(s, *c) for s, cases in (("error", ERRORS), ("warning", WARNINGS), ("note", NOTES)) for c in cases.values()]


@pytest.mark.parametrize(
    ("severity", "spoil", "check", "place"), CASES, ids=[f"{n}" for c in (ERRORS, WARNINGS, NOTES) for n in c]
)
def test_each_defect_is_found(
    severity: str, spoil: Callable[[Draft], Any], check: str, place: str | None, draft: Draft, tmp_path: Path
) -> None:
    spoil(draft)
    finding = found(draft.write(tmp_path))[check]
    assert finding["severity"] == severity
    assert finding["count"] >= 1
    if place is not None:
        assert any(place in where for where in finding["where"]), finding["where"]


def test_rounding_is_no_defect(draft: Draft, tmp_path: Path) -> None:
    domains("16.67", "16.67", "16.67", "16.67", "16.67", "16.67")(draft)  # 100.02
    cell("pct_english_mean", "100.00000000000001")(draft)
    assert list(found(draft.write(tmp_path))) == ["empty_by_rule"]


def test_shares_of_any_counts_add_up(draft: Draft, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("shares")

    @given(st.lists(st.integers(0, 5000), min_size=6, max_size=6).filter(any), st.sampled_from([None, 1, 2, 4]))
    def holds(counts: list[int], places: int | None) -> None:
        shares = [100 * c / sum(counts) for c in counts]
        domains(*(repr(v if places is None else round(v, places)) for v in shares))(draft)
        assert not {"domains_do_not_add_up", "domains_below_100", "domains_all_zero"} & set(found(draft.write(folder)))

    holds()


UNREADABLE = {
    b"": "no_header",
    b"id,ttr_mean\n": "no_rows",
    b"id,ttr_mean\nacme/\xff,1\n": "not_utf8",
    b"id,ttr_mean\nacme/a\0,1\n": "nul_bytes",
    b'id,ttr_mean\n"acme/a,1\n': "not_csv",
    b"id;ttr_mean\nacme/a;1\n": "not_commas",
    b"id,ttr_mean\nacme/a,1,2\n": "ragged_rows",
    b"\xef\xbb\xbfid,ttr_mean\nacme/a,1\n": "byte_order_mark",
    b"id,ttr_mean\n\nacme/a,1\n": "blank_lines",
}


@pytest.mark.parametrize("raw", UNREADABLE, ids=list(UNREADABLE.values()))
def test_files_that_are_hardly_tables(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(raw)
    assert UNREADABLE[raw] in found(str(path))


def test_any_bytes_get_an_answer(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("bytes") / "a.csv"
    pieces = st.sampled_from(
        ["id", "ttr_mean", "char_len_std", ",", "\n", "\r", '"', "1", "-1", "nan", " ", "\x1b", "é"]
    )

    @more(2)
    @given(st.lists(pieces, max_size=30).map("".join))
    def holds(text: str) -> None:
        path.write_text(text, encoding="utf-8", newline="")
        found(str(path), None)
        told, _ = report(str(path), None, as_json=False)
        assert "\x1b" not in told

    holds()


def test_lines_of_bad_rows_count_line_breaks_in_cells(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,ttr_mean\n"a\nb",1\nc,1,1\n')
    assert found(str(path))["ragged_rows"]["where"] == ["line 4: 3 cells, id 'c'"]


@given(st.floats(-1e30, 1e30))
def test_every_float_is_a_number(value: float) -> None:
    assert number(repr(value)) == value
    assert kind_of(repr(value)) == "number"


def test_decimals() -> None:
    assert decimals(["1.50", "2", "", "x"]) == 1
    assert decimals(["1e-05"]) == 5
    assert decimals(["100", "1e-99999999999999999999"]) == 0
    assert decimals([]) == 0


def test_against_the_same(draft: Draft, tmp_path: Path) -> None:
    here, there = draft.write(tmp_path), draft.write(tmp_path, "b.csv")
    assert set(found(here, there)) == {"empty_by_rule", "shared_ids"}


def test_against_a_rounded_one(draft: Draft, tmp_path: Path) -> None:
    here = draft.write(tmp_path)
    for row in draft.rows:
        row |= {c: str(round(float(t), 2)) for c, t in row.items() if c.startswith(("num_tokens", "ttr")) and t}
    assert "values_differ" not in found(here, draft.write(tmp_path, "b.csv"))
    cell("num_tokens_mean", "250.26", 0)(draft)
    assert found(here, draft.write(tmp_path, "b.csv"))["values_differ"]["where"] == [
        "acme/a: num_tokens_mean is 250.25 here, 250.26 there (0.00%)"
    ]


def test_against_another(draft: Draft, tmp_path: Path) -> None:
    there = draft.write(tmp_path, "b.csv")
    cell("ttr_mean", "0.25", 0)(draft)
    cell("char_len_mean", "901.0", 0)(draft)
    cell("numbers_ratio", "", 1)(draft)
    draft.rows[3] |= {"id": "new/far", "entropy_mean": "9.5"}
    draft.rows.append(draft.rows[2] | {"id": "new/same"})
    draft.header = [c for c in draft.header if c != "edu_classifier_std"] + ["extra"]
    seen = found(draft.write(tmp_path), there)
    assert seen["values_differ"]["severity"] == "error"
    assert seen["values_differ"]["where"] == [
        "acme/a: ttr_mean is 0.25 here, 0.5 there (50.00%)",
        "acme/a: char_len_mean is 901.0 here, 900.5 there (0.06%)",
    ]
    assert seen["empty_only_here"]["where"] == ["acme/b: numbers_ratio"]
    assert "empty_only_there" not in seen
    assert seen["shared_ids"]["count"] == 3
    assert seen["ids_only_here"]["where"] == ["new/far", "new/same"]
    assert seen["ids_only_there"]["where"] == ["initech/d"]
    assert seen["columns_only_here"]["where"] == ["extra"]
    assert seen["columns_only_there"]["where"] == ["edu_classifier_std"]
    assert seen["same_row_other_id"]["where"] == ["new/same here, globex/c there"]
    assert [w.split(" is ")[0] for w in seen["far_from_the_other"]["where"]] == ["new/far: entropy_mean"]


def test_against_one_with_another_order_and_errors(draft: Draft, tmp_path: Path) -> None:
    here = draft.write(tmp_path)
    ids("x/1", "x/2", "x/3", "x/4")(draft)
    cell("ttr_mean", "high")(draft)
    draft.header.insert(1, draft.header.pop())
    seen = found(here, draft.write(tmp_path, "b.csv"))
    assert seen["other_column_order"]["severity"] == "warning"
    assert seen["shared_ids"]["severity"] == "warning"
    assert seen["other_has_errors"]["where"] == ["text_cell (1)"]


def test_against_no_table(draft: Draft, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("model,x\na,1\n")
    with pytest.raises(InputError, match=r"--against: .* nothing to compare with: its header has no column 'id'"):
        report(draft.write(tmp_path), str(tmp_path / "b.csv"), as_json=False)


def command(*arguments: str) -> Ended:
    done = invoke("check-features", *arguments)
    assert "Traceback" not in done.err, done.err
    return done


def test_the_command(draft: Draft, tmp_path: Path) -> None:
    sound = draft.write(tmp_path)
    good = command(sound)
    assert good.code == 0
    assert "0 errors, 0 warnings, 1 note" in good.out
    assert "a predictor can use all of it" in good.out
    cell("ttr_mean", "", 0)(draft)
    gap = command(draft.write(tmp_path, "gap.csv"))
    assert gap.code == 0
    assert "linear models and most others stop" in " ".join(gap.out.split())
    assert "no errors, but some predictors fail or err because of: " in gap.out
    assert "incomplete_models (1)" in gap.out.splitlines()[-1]
    for i in range(4):
        cell("ttr_mean", "-1", i)(draft)
    draft.rows += [{"id": f"more/{i}", "ttr_mean": "-1"} for i in range(3)]
    bad = command(draft.write(tmp_path, "bad.csv"), "--against", sound)
    assert bad.code == 1
    assert "and 2 more (--json has all)" in bad.out
    assert "a predictor cannot use: minus_one (7), values_differ (4)" in bad.out
    assert [
        line.split()[0] for line in bad.out.splitlines() if line.startswith(("error", "warning", "note"))
    ] == sorted(
        (line.split()[0] for line in bad.out.splitlines() if line.startswith(("error", "warning", "note"))),
        key=["error", "warning", "note"].index,
    )
    gone = command(str(tmp_path / "gone.csv"))
    assert gone.code == 2
    assert "there is no file" in gone.err
    assert command(str(tmp_path)).code == command(sound, "--against", "no.csv").code == command().code == 2


def test_the_page_has_every_column() -> None:
    page = (ROOT / "docs/features.md").read_text()
    for stem in STEMS:
        deviation = "none" if stem.ddof is None else f"ddof {stem.ddof}"
        assert f"| `{stem.name}` | {stem.meaning} | {stem.unit} | {deviation} |" in page, stem
    for name in RATIOS:
        assert f"`{name}`" in page
    assert "tagcorpus check-features" in page
