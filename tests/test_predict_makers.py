"""Groups of models: who made what, the file of the 92, what a store says, and folds by any column."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.errors import ConfigError
from tagcorpus.predictor import makers
from tagcorpus.predictor.data import load
from tagcorpus.predictor.store import Store

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "database"


def test_the_file_names_a_source_for_every_row() -> None:
    rows = makers.table()
    models = [m for m in rows if not m.endswith("/*")]
    assert len(models) == 92
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
