"""Groups of models: who made what, the file of the 92, what a store says, and folds by any column."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.predictor.learners.data import load
from tagcorpus.predictor.records import makers
from tagcorpus.predictor.store import check
from tagcorpus.predictor.store.load import import_files
from tagcorpus.predictor.store.store import Store

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "database"


def test_the_file_names_a_source_for_every_row() -> None:
    rows = makers.table()
    models = [m for m in rows if not m.endswith("/*")]
    assert len(models) == 93  # and one that has Brier scores only
    assert len({rows[m].maker for m in models}) == 20
    assert all(r.maker and r.source.startswith("https://") for r in rows.values())
    # A row for a whole namespace says what its models' own rows say.
    for name in (n for n in rows if n.endswith("/*")):
        assert {rows[m].maker for m in models if m.startswith(name[:-1])} <= {rows[name].maker}


def test_what_is_one_maker() -> None:
    assert {makers.maker(m) for m in ("facebook/opt-125m", "meta-llama/Llama-2-13b-hf", "huggyllama/llama-7b")} == {
        "Meta"
    }
    assert makers.maker("facebook/a-model-of-tomorrow") == "Meta"
    assert makers.maker("AbacusResearch/Jallabi-34B") == makers.maker("01-ai/Yi-34B") == "01.AI"
    assert makers.maker("AbacusResearch/another") == "AbacusResearch"
    assert makers.maker("acme/new-7b") == "acme"
    # A store's own words come first, and a tune belongs to the maker of what it began from.
    assert makers.maker("facebook/opt-125m", {"facebook/opt-125m": "mine"}) == "mine"
    bases = {"me/merge": "me/tune", "me/tune": "Qwen/Qwen2-72B"}
    assert makers.maker("me/merge", {}, bases) == "Alibaba"
    assert makers.maker("me/merge", {"me/tune": "me"}, bases) == "me"
    assert makers.maker("a/b", {}, {"a/b": "c/d", "c/d": "a/b"}) in ("a", "c")


@given(st.text(alphabet="ab/-_", min_size=1, max_size=8))
def test_every_id_has_a_maker(model: str) -> None:
    assert makers.maker(model) == makers.organisation(model)


def test_folds_by_any_column_of_the_store() -> None:
    with Store.from_existing(EXAMPLE) as store:
        by_maker = load(store.con, "hellaswag", None)
        assert by_maker.grouped_by == "maker"
        assert by_maker.organisations == load(store.con, "hellaswag", None, groups="organisation").organisations
        by_activation = load(store.con, "hellaswag", None, groups="activation")
        cells = by_activation.frame["activation"]
        assert by_activation.organisations == tuple(
            m if c is None else c for m, c in zip(by_activation.ids, cells, strict=True)
        )
        with pytest.raises(ConfigError, match=r"unknown column 'activaton' \(--groups\): did you mean 'activation'"):
            load(store.con, "hellaswag", None, groups="activaton")
        first, second = by_maker.ids[0], by_maker.ids[-1]
        store.con.execute("ALTER TABLE model_annotations ADD COLUMN IF NOT EXISTS maker VARCHAR")
        store.con.execute("UPDATE model_annotations SET maker = 'the same' WHERE id IN (?, ?)", [first, second])
        declared = load(store.con, "hellaswag", None)
    assert declared.organisations[0] == declared.organisations[-1] == "the same"
    assert declared.organisations[1:-1] == by_maker.organisations[1:-1]


def test_words_for_groups() -> None:
    assert [makers.group_word(c) for c in ("maker", "organisation", "corpus")] == [
        "makers",
        "organisations",
        "groups by corpus",
    ]


def test_models_of_different_makers_that_share_what_copies_share_are_named() -> None:
    with Store.from_existing(EXAMPLE) as store:
        quiet = [f.check for f in check.check(store)]
        a, b, c = [
            r[0]
            for r in store.con.execute(
                "SELECT min(id) FROM model_annotations GROUP BY split_part(id, '/', 1) ORDER BY 1 LIMIT 3"
            ).fetchall()
        ]
        store.con.execute("DELETE FROM evaluation_results WHERE id = ?", [b])
        store.con.execute(
            "INSERT INTO evaluation_results SELECT ?, benchmark, setting, metric, metric_value, metric_stderr "
            "FROM evaluation_results WHERE id = ?",
            [b, a],
        )
        store.con.execute("UPDATE model_annotations SET total_params = 6921720704 WHERE id IN (?, ?)", [a, c])
        store.con.execute("UPDATE model_annotations SET total_params = 7000000000 WHERE id = ?", [b])
        found = {f.check: f for f in check.check(store)}
        assert found["shared_scores"].where[0].startswith(f"{a} and {b}: ")
        assert found["shared_parameters"].where == (f"{a} and {c}: 6,921,720,704",)
        assert found["shared_scores"].severity == "warning"
        # Once a store says that they are one maker's, nothing is odd.
        store.con.execute(f"CREATE TABLE makers({makers.COLUMNS})")
        store.con.execute("INSERT INTO makers VALUES (?, 'one', NULL), (?, NULL, ?), (?, 'one', NULL)", [a, b, a, c])
        found = {f.check: f for f in check.check(store)}
        assert "shared_scores" not in found
        assert "shared_parameters" not in found
        data = load(store.con, "hellaswag", None)
    assert "shared_scores" not in quiet
    assert "shared_parameters" not in quiet
    assert {o for m, o in zip(data.ids, data.organisations, strict=True) if m in (a, b, c)} == {"one"}


def test_makers_are_imported_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "models.csv"
    path.write_text("id,maker,base_model\nme/tune,,Qwen/Qwen2-72B\nacme/one,Acme Labs,\n")
    db = tmp_path / "s.duckdb"
    done = import_files(db, [path], create=True)
    assert done[0].n_new == 2
    with Store.from_existing(db) as store:
        assert store.model("acme/one")["annotations"] == {"maker": "Acme Labs"}
        assert makers.groups_of(store.con, ["me/tune", "acme/one", "acme/two"], "maker") == (
            "Alibaba",
            "Acme Labs",
            "acme",
        )
    path.write_text("id,maker,base_model\nacme/one,Acme, a/b/c\n")
    with pytest.raises(InputError, match="field 'base_model': must be organisation/name"):
        import_files(db, [path])
