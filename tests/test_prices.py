"""Prices of tokens: given, listed, or unknown and never 0."""

from __future__ import annotations

import datetime

import pytest

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.labelling.backend import settle_backend
from tagcorpus.pipelines.labelling.prices import list_prices, parsed, price_needed, price_of
from tagcorpus.pipelines.options.commands.domain import DomainOptions
from tagcorpus.taggers._llm.tokens import Price, Tokens
from tagcorpus.taggers._llm.url import OFFICIAL


def test_money_of_tokens() -> None:
    price = parsed("0.15,0.60,0.075")
    # 1,000,000 fresh + 1,000,000 cached prompt tokens + 500,000 of answers: 0.15 + 0.075 + 0.30
    assert price.usd(Tokens(prompt=2_000_000, cached=1_000_000, completion=500_000)) == pytest.approx(0.525)
    assert price.usd_of({"prompt_tokens": 2_000_000, "completion_tokens": 0}) == pytest.approx(0.30)
    assert parsed("1,2").cached == parsed("1,2,1").cached == 1


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4", "a,b", "-1,2", "nan,1", "inf,1", "1;2", "0.15,0.6,0.9"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="IN,OUT"):
        parsed(text)


@pytest.mark.parametrize("name", ["price", "budget_usd", "pilot", "batch"])
def test_the_embedded_model_takes_no_option_about_money(name: str) -> None:
    value = {"price": "1,2", "budget_usd": 1.0, "pilot": 50, "batch": "send"}[name]
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')}: for an LLM"):
        settle_backend(DomainOptions(parameters={"domain": {"backend": "fasttext"}}, **{name: value}))  # type: ignore[arg-type]
    settle_backend(DomainOptions(parameters={"domain": {"backend": "fasttext"}}))


def test_list_prices_hold_at_openai_only_and_are_dated() -> None:
    assert price_of("gpt-4o-mini", OFFICIAL) == Price(
        0.15, 0.60, 0.075, "list price of gpt-4o-mini of 2024-10-01, check it"
    )
    assert price_of("gpt-4o-mini", "http://localhost:8000/v1") is None
    assert price_of("gpt-4o-2024-05-13", OFFICIAL) is None  # a snapshot with a price of its own
    with pytest.raises(ConfigError, match="needs a price, and none is known for 'mine'"):
        price_needed("mine", OFFICIAL, "", "--budget-usd")
    for entry in list_prices().values():
        assert isinstance(entry["date"], datetime.date)
        assert 0 < entry["cached"] <= entry["input"] < entry["output"]
