"""The feature table as a file: bytes, provenance, extended columns, tables united, and what mixes instruments refused."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feature_sidecars import instances, plan_of

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.attributes.parts import Instance
from tagcorpus.pipelines.attributes.read import Recorded
from tagcorpus.pipelines.feature_table.check import report
from tagcorpus.pipelines.feature_table.columns import RECIPE, columns, extended_columns, numeric_columns
from tagcorpus.pipelines.feature_table.merge import check_ahead
from tagcorpus.pipelines.feature_table.methods import Recipe, differences, recipe_of, substitute_for
from tagcorpus.pipelines.feature_table.provenance import Provenance, provenance_name, read_provenance
from tagcorpus.pipelines.group_statistics.groups import Group
from tagcorpus.pipelines.group_statistics.statistics import GroupStatistics
from tagcorpus.pipelines.group_statistics.write import write_table

P50K = {"tokenizer": "p50k_base", "n": 1}


def of(model: str, tokens: int | None = 100, **values: float) -> GroupStatistics:
    """A row with these values; every other cell is empty, for a reason."""
    cells = {c: values.get(c) for c in numeric_columns()}
    return GroupStatistics(model, cells, {c: "test" for c, v in cells.items() if v is None}, {"entropy_tokens": tokens})


def recipe(**tokenizers: str) -> Recipe:
    """`tokens`, `entropy`: their tokenizers."""
    found = recipe_of(instances("repetition", "length", "keywords"), 0.5, None)
    more = {role: {"tagger": role, "tokenizer": name} for role, name in tokenizers.items()}
    return Recipe(found.filter, {**found.methods, **more})


def write(path: Path, *rows: GroupStatistics, made_by: Recipe | None = None, **how: Any) -> list[str]:
    plan = plan_of({f"{row.id}/a.jsonl": [3, 4] for row in rows})
    groups = [Group(row.id, (f"{row.id}/a.jsonl",)) for row in rows]
    made_by = made_by or recipe(tokens="p50k_base")
    return write_table(str(path), rows, groups, plan, made_by, {"min_kept_share": 0.5}, **how)


def table(path: Path) -> dict[str, dict[str, str]]:
    return {row["id"]: row for row in csv.DictReader(io.StringIO(path.read_text("utf-8"), newline=""))}


def checks(path: Path, against: Path | None = None) -> dict[str, dict[str, Any]]:
    text, _ = report(str(path), str(against) if against else None, as_json=True)
    return {f["check"]: f for f in json.loads(text)["findings"]}


def test_the_table_has_the_published_form(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write(
        path, of("b/é", char_len_mean=1 / 3, ttr_std=-0.0), of("a, b", char_len_mean=1e22), of("B", char_len_mean=962)
    )
    lines = path.read_bytes().decode().split("\n")
    assert lines[0].split(",") == columns()
    assert lines[-1] == ""
    assert [line.split(",char")[0][:6] for line in lines[1:-1]] == ["B,962.", '"a, b"', "b/é,0."]
    assert table(path)["b/é"]["char_len_mean"] == "0.3333333333333333"
    assert table(path)["b/é"]["ttr_std"] == "0.0"
    assert table(path)["a, b"]["char_len_mean"] == "1e+22"
    assert {v for k, v in table(path)["B"].items() if k not in ("id", "char_len_mean")} == {""}


def test_bytes_depend_on_the_rows_alone(tmp_path: Path) -> None:
    rows = [of("a", char_len_mean=1.5), of("b", char_len_mean=2.5)]
    for name, ordered in (("x", rows), ("y", rows[::-1])):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "t.csv", *ordered, is_extended=True)
    for name in ("t.csv", "t.provenance.json", "t.parquet"):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()


def test_the_provenance_says_what_each_cell_is_made_of(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write(path, of("a/b", num_tokens_mean=5.0), made_by=recipe(tokens="p50k_base"))
    told = json.loads((tmp_path / "t.provenance.json").read_bytes())
    (made_by,) = told["recipes"]
    assert made_by["filter"]["ngram_threshold"] == 0.5
    assert made_by["filter"]["min_kept_share"] == 0.5
    assert made_by["columns"]["num_tokens_mean"] == {
        "instrument": "tokens: tokenizer=p50k_base",
        "in_place_of": "the tokenizer of Llama 2",
    }
    assert made_by["columns"]["char_len_mean"] == {"instrument": "length (version 1)"}
    assert "entropy_mean" not in made_by["columns"]
    model = told["models"]["a/b"]
    assert {k: model["files"][0][k] for k in ("name", "rows")} == {"name": "a/b/a.jsonl", "rows": 7}
    assert sorted(model["empty"]["test"]) == sorted(set(numeric_columns()) - {"num_tokens_mean"})
    assert told["parameters"] == {"min_kept_share": 0.5}
    assert "tagcorpus" in told["versions"]
    found = read_provenance(str(path))
    assert isinstance(found, Provenance)
    assert found.recipes == [recipe(tokens="p50k_base")]


def test_a_provenance_of_another_table_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    assert read_provenance(str(path)) == "missing"
    write(path, of("a"))
    path.write_text(path.read_text() + "b" + "," * 61 + "\n")
    assert read_provenance(str(path)) == "of another table"
    assert checks(path)["provenance_unfit"]["severity"] == "warning"
    Path(provenance_name(str(path))).write_text("{")
    assert read_provenance(str(path)) == "damaged"


def test_extended_columns_follow_and_a_parquet_lies_beside(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    row = of("a/b", char_len_mean=5.0, char_len_std=1.0)
    more = {**dict.fromkeys(extended_columns()), "char_len_n": 4.0, "char_len_low95": -1.0, "entropy_chao_shen": -0.25}
    write(path, GroupStatistics(row.id, row.values, row.reasons, row.counts, more), is_extended=True)
    with path.open(newline="") as file:
        assert next(csv.reader(file)) == [*columns(), *extended_columns()]
    stored = pq.read_table(tmp_path / "t.parquet")
    assert stored.column_names == [*columns(), *extended_columns()]
    (cells,) = stored.to_pylist()
    assert (cells["id"], cells["char_len_n"], cells["ttr_mean"]) == ("a/b", 4.0, None)
    assert stored.schema.field("char_len_mean").metadata == {b"unit": b"characters"}
    found = checks(path)
    assert not [f for f in found.values() if f["severity"] == "error"]
    assert found["extended_columns"]["count"] == len(extended_columns())
    assert "unknown_column" not in found
    assert not any(w in extended_columns() for w in found["empty_column"]["where"])


def test_impossible_extended_values_are_still_found(tmp_path: Path) -> None:
    row = of("a/b")
    more = {**dict.fromkeys(extended_columns()), "domain_web_pct_high95": 101.0, "char_len_se": -2.0}
    write(tmp_path / "t.csv", GroupStatistics(row.id, row.values, row.reasons, row.counts, more), is_extended=True)
    assert checks(tmp_path / "t.csv")["out_of_range"]["count"] == 2


@pytest.mark.parametrize(
    ("role", "instrument", "instead"),
    [
        ("tokens", {"tokenizer": "p50k_base"}, "the tokenizer of Llama 2"),
        ("tokens", {"tokenizer": "xxh3-128:" + "0" * 32}, ""),
        ("entropy", {"tokenizer": "p50k_base"}, ""),
        ("entropy", {"tokenizer": "cl100k_base"}, "the tokenizer p50k_base"),
        ("domain", {"backend": "fasttext", "model": "x"}, "gpt-4o-mini asked by the stage tree"),
        ("domain", {"backend": "openai", "model": "gpt-4o-mini"}, ""),
        ("domain", {"backend": "openai", "model": "other"}, "gpt-4o-mini asked by the stage tree"),
        ("syntax", {"backend": "spacy"}, "Stanza"),
        ("syntax", {"backend": "stanza"}, ""),
        ("quality", {"model": "mine"}, "HuggingFaceTB/fineweb-edu-classifier"),
    ],
)
def test_substitutes_are_known(role: str, instrument: dict[str, Any], instead: str) -> None:
    assert substitute_for(role, instrument) == instead


def test_substitutes_are_told_where_they_were_used(tmp_path: Path) -> None:
    assert not write(tmp_path / "a.csv", of("a", char_len_mean=1.0))
    (told,) = write(tmp_path / "b.csv", of("a/x", num_tokens_mean=1.0, num_tokens_std=0.0))
    assert told == (
        "num_tokens_mean and 1 more columns: tokens: tokenizer=p50k_base, in place of the tokenizer of Llama 2; not "
        "comparable with the published table"
    )
    assert checks(tmp_path / "b.csv")["substitutes"]["count"] == 1


@pytest.mark.parametrize(("few", "is_told"), [(150, False), (100, False), (99, True), (None, False)])
def test_unequal_amounts_of_text_are_told(few: int | None, is_told: bool, tmp_path: Path) -> None:
    told = write(tmp_path / "t.csv", of("a", 150), of("b", few))
    assert any(t.startswith("entropy_mean is not comparable as it is") for t in told) == is_told
    assert any("With --extended" in t for t in told) == is_told
    told = write(tmp_path / "t.csv", of("a", 150), of("b", few), is_extended=True)
    assert any("Compare entropy_at_budget" in t for t in told) == is_told


# --- united with a table that is there -------------------------------------------------------------------------------


def union(tmp_path: Path, *rows: GroupStatistics, to: str = "old.csv", **how: Any) -> list[str]:
    return write(tmp_path / "new.csv", *rows, append_to=str(tmp_path / to), **how)


def respell(path: Path, before: str, after: str) -> None:
    """Another text of a number, without provenance: as somebody else wrote it."""
    path.write_text(path.read_text().replace(before, after))
    Path(provenance_name(str(path))).unlink()


def test_rows_are_united_by_id_and_keep_their_text(tmp_path: Path) -> None:
    write(tmp_path / "old.csv", of("b/b", char_len_mean=0.5), of("a/a", char_len_mean=1.23))
    respell(tmp_path / "old.csv", "1.23", "1.2300")
    told = union(tmp_path, of("c/c", char_len_mean=2.0), of("a/a", char_len_mean=1.2299999), allow_mixed=True)
    found = table(tmp_path / "new.csv")
    assert list(found) == ["a/a", "b/b", "c/c"]
    assert [found[m]["char_len_mean"] for m in found] == ["1.2300", "0.5", "2.0"]
    assert "2 rows of old.csv and 1 new ones; 1 ids were there already" in told


def test_cells_that_only_one_has_are_filled_where_recipes_agree(tmp_path: Path) -> None:
    write(
        tmp_path / "old.csv", of("a/a", char_len_mean=1.0), of("b/b", num_tokens_mean=3.0), made_by=recipe(tokens="x")
    )
    both = recipe(tokens="x", entropy="p50k_base")
    union(tmp_path, of("a/a", num_tokens_mean=7.0, entropy_mean=1.5), made_by=both)
    found = table(tmp_path / "new.csv")
    assert [found["a/a"][c] for c in ("char_len_mean", "num_tokens_mean", "entropy_mean")] == ["1.0", "7.0", "1.5"]
    assert RECIPE not in found["a/a"]
    known = read_provenance(str(tmp_path / "new.csv"))
    assert isinstance(known, Provenance)
    assert known.recipes == [both]
    empty = json.loads((tmp_path / "new.provenance.json").read_bytes())["models"]["a/a"]["empty"]
    assert not {"char_len_mean", "entropy_mean"} & set(empty["test"])


def test_other_values_for_an_id_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "old.csv", of("a/a", char_len_mean=1.25, ttr_mean=0.5))
    with pytest.raises(InputError, match=r"a/a: char_len_mean is 2.0 here, 1.25 there") as error:
        union(tmp_path, of("a/a", char_len_mean=2.0, ttr_mean=0.5))
    assert error.value.exit_code == 2
    assert not (tmp_path / "new.csv").exists()


def test_what_is_no_feature_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("id,char_len_mean\na,1\na,2\n")
    with pytest.raises(InputError, match=r"missing_column.*\(const.* and \d+ more\).*duplicate_id.*check-features"):
        union(tmp_path, of("b"))
    with pytest.raises(InputError, match="--append-to: there is no file"):
        union(tmp_path, of("b"), to="nowhere.csv")


def test_another_instrument_is_refused_with_the_difference(tmp_path: Path) -> None:
    write(tmp_path / "old.csv", of("a/a", num_tokens_mean=1.0, char_len_mean=2.0), made_by=recipe(tokens="llama"))
    with pytest.raises(ConfigError) as error:
        union(tmp_path, of("b/b", num_tokens_mean=1.0, char_len_mean=2.0))
    assert 'num_tokens_mean: tokenizer is "p50k_base" here and "llama" in old.csv' in str(error.value)
    assert "char_len" not in str(error.value)
    with pytest.raises(ConfigError) as ahead:
        check_ahead(str(tmp_path / "old.csv"), recipe(tokens="p50k_base"), allow_mixed=False)
    assert str(ahead.value) == str(error.value)
    check_ahead(str(tmp_path / "old.csv"), recipe(tokens="p50k_base"), allow_mixed=True)
    check_ahead(str(tmp_path / "old.csv"), recipe(), allow_mixed=False)
    # Where no column was measured in two ways, there is nothing to refuse.
    union(tmp_path, of("b/b", char_len_mean=2.0))
    assert checks(tmp_path / "new.csv").keys() & {"mixed_recipes", "unknown_column"} == set()


def test_rows_of_unknown_make_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "old.csv", of("a/a", char_len_mean=2.5))
    respell(tmp_path / "old.csv", "2.5", "2.50")
    with pytest.raises(ConfigError, match=r"what old.csv was measured with is not recorded"):
        union(tmp_path, of("b/b", char_len_mean=2.0))


def test_a_row_that_stays_keeps_its_own_reasons(tmp_path: Path) -> None:
    there = replace(of("a/a", num_tokens_mean=1.0), reasons={"edu_classifier_mean": "theirs"})
    write(tmp_path / "old.csv", there, made_by=recipe(tokens="llama"))
    union(tmp_path, of("a/a", ttr_mean=0.5), of("b/b", num_tokens_mean=9.0), allow_mixed=True, to="old.csv")
    known = read_provenance(str(tmp_path / "new.csv"))
    assert isinstance(known, Provenance)
    assert {m: known.reasons[m]["edu_classifier_mean"] for m in ("a/a", "b/b")} == {"a/a": "theirs", "b/b": "test"}


def test_mixed_rows_are_marked_and_stay_so(tmp_path: Path) -> None:
    write(tmp_path / "old.csv", of("a/a", num_tokens_mean=1.0), of("c/c", ttr_mean=0.5), made_by=recipe(tokens="llama"))
    rows = [of("b/b", num_tokens_mean=1.0), of("c/c", num_tokens_mean=9.0)]
    told = union(tmp_path, *rows, allow_mixed=True)
    found = table(tmp_path / "new.csv")
    assert {m: found[m][RECIPE] for m in found} == {"a/a": "2", "b/b": "1", "c/c": "2"}
    assert found["c/c"]["num_tokens_mean"] == ""  # not blended into a row that was measured otherwise
    assert any("2 recipes in one table" in t for t in told)
    assert any("stay as they are, being measured otherwise: c/c" in t for t in told)
    assert checks(tmp_path / "new.csv")["mixed_recipes"]["severity"] == "warning"
    with pytest.raises(ConfigError, match="--allow-mixed"):
        union(tmp_path, of("d/d", num_tokens_mean=1.0), to="new.csv")
    union(tmp_path, of("d/d", num_tokens_mean=1.0), to="new.csv", allow_mixed=True)
    again = table(tmp_path / "new.csv")
    assert {m: again[m][RECIPE] for m in again} == {"a/a": "2", "b/b": "1", "c/c": "2", "d/d": "1"}


def test_a_table_appended_to_itself_is_itself(tmp_path: Path) -> None:
    row = of("a/a", char_len_mean=1 / 3, num_tokens_mean=2.0)
    write(tmp_path / "new.csv", row)
    before = (tmp_path / "new.csv").read_bytes()
    union(tmp_path, row, to="new.csv")
    assert (tmp_path / "new.csv").read_bytes() == before
    assert isinstance(read_provenance(str(tmp_path / "new.csv")), Provenance)


def test_a_table_that_could_not_follow_its_provenance_still_has_one(tmp_path: Path) -> None:
    write(tmp_path / "new.csv", of("a/a", char_len_mean=1.0))
    before = (tmp_path / "new.csv").read_bytes()
    union(tmp_path, of("b/b", char_len_mean=1.0), to="new.csv")
    (tmp_path / "new.csv").write_bytes(before)  # as where the run was killed between the two files
    union(tmp_path, of("b/b", char_len_mean=1.0), to="new.csv")
    assert list(table(tmp_path / "new.csv")) == ["a/a", "b/b"]


def test_columns_of_their_own_stay_after_ours(tmp_path: Path) -> None:
    write(tmp_path / "old.csv", of("a/a", char_len_mean=1.0))
    text = (tmp_path / "old.csv").read_text().splitlines()
    (tmp_path / "old.csv").write_text(f"{text[0]},mine\n{text[1]},7\n")
    union(tmp_path, of("b/b", ttr_mean=0.5))
    found = table(tmp_path / "new.csv")
    assert list(found["a/a"]) == [*columns(), "mine"]
    assert (found["a/a"]["mine"], found["b/b"]["mine"]) == ("7", "")


def test_tables_measured_otherwise_are_told_apart(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", of("a/a", num_tokens_mean=1.0))
    write(tmp_path / "b.csv", of("b/b", num_tokens_mean=1.0), made_by=recipe(tokens="llama"))
    assert "measured_otherwise" not in checks(tmp_path / "a.csv", tmp_path / "a.csv")
    assert (
        'tokenizer is "p50k_base" here'
        in checks(tmp_path / "a.csv", tmp_path / "b.csv")["measured_otherwise"]["where"][0]
    )


def test_the_filter_is_part_of_the_recipe() -> None:
    strict, other = recipe(), recipe()
    other.filter["ngram_threshold"] = 0.9
    filled = {"char_len_mean", "numbers_ratio"}
    assert list(differences(strict, other, "x.csv", filled, filled)) == [
        "which generations count: ngram_threshold is 0.5 here and 0.9 in x.csv"
    ]
    assert not list(differences(strict, other, "x.csv", filled, set()))


def test_where_something_is_does_not_make_another_recipe() -> None:
    def made(**parameters: Any) -> Recipe:
        recorded = Recorded("1", {"backend": "openai", **parameters}, pa.schema([]))
        return recipe_of({"domain": Instance("domain", "domain", recorded)}, 0.5, P50K)

    assert made(base_url="http://a") == made(base_url="http://b")
    assert made(model="a") != made(model="b")
