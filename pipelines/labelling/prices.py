"""The price of a model's tokens, given by the user or from the dated file of list prices, and the limits of a run in requests and in
money. An unknown price is never 0."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.options.commands.domain import AskingOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.predictor.records.plain_values import number
from tagcorpus.taggers._asking.endpoint_tagger import EndpointTagger
from tagcorpus.taggers._llm.tokens import Grant, Price
from tagcorpus.taggers._llm.url import is_official

GIVEN = "--price"
BATCH_SHARE = 0.5
"""Price of a batch at OpenAI as a share of the list price."""
UNLIMITED = 10**15
"""Requests of a run that only its money limits."""
FORM = "--price IN,OUT or IN,OUT,CACHED, in US dollars per million tokens, such as --price 0.15,0.60,0.075"


def parsed(text: str) -> Price:
    """The price that a user gives. Without a price of cached tokens they cost as much as others.

    Example  "0.15,0.6" -> Price(0.15, 0.6, 0.15, "--price")
    """
    numbers = [value for part in text.split(",") if (value := number(part)) is not None and value >= 0]
    if len(numbers) not in (2, 3) or len(numbers) <= text.count(","):
        raise ConfigError(f"--price {text!r} is not a price. The form is {FORM}")
    if len(numbers) == 3 and numbers[2] > numbers[0]:  # every bound counts all prompt tokens at IN
        raise ConfigError(f"--price {text!r}: CACHED ({numbers[2]:g}) is above IN ({numbers[0]:g}). The form is {FORM}")
    return Price(numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else numbers[0], GIVEN)


@cache
def list_prices() -> dict[str, Any]:
    """The packaged list prices by model."""
    text = resources.files("tagcorpus.configs").joinpath("prices.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


def price_of(model: str, base_url: str, given: str = "", *, is_batch: bool = False) -> Price | None:
    """The price that holds for a model at an endpoint; None where nobody knows it. The list price of a batch is half of the other."""
    if given:
        return parsed(given)
    entry = list_prices().get(model) if is_official(base_url) else None
    if entry is None:
        return None
    source = f"list price of {model} of {entry['date']}, check it"
    if is_batch:  # cached tokens have no further discount
        return Price(
            BATCH_SHARE * entry["input"],
            BATCH_SHARE * entry["output"],
            BATCH_SHARE * entry["input"],
            f"half the {source}",
        )
    return Price(entry["input"], entry["output"], entry["cached"], source)


def price_needed(model: str, base_url: str, given: str, purpose: str, *, is_batch: bool = False) -> Price:
    """The same. Raises ConfigError where the price is unknown and `purpose` needs it."""
    price = price_of(model, base_url, given, is_batch=is_batch)
    if price is None:
        raise ConfigError(f"{purpose} needs a price, and none is known for {model!r} at {base_url}: say {FORM}")
    return price


def price_for(options: Options, tagger: EndpointTagger) -> Price | None:
    """The price of the tagger's tokens; None where it is unknown."""
    if not isinstance(options, AskingOptions):
        return price_of(tagger.model, tagger.base_url)
    return price_of(tagger.model, tagger.base_url, options.price or "", is_batch=options.batch is not None)


def limits_of(options: Options, tagger: EndpointTagger) -> Grant:
    """What all runs on an output may send and spend. With a limit of money, only a number of requests that the user gives counts.

    Raises ConfigError where money is limited and cannot be counted: the price is unknown, or an answer may have any length.
    """
    if not isinstance(options, AskingOptions) or options.budget_usd is None:
        return Grant(tagger.max_requests, None, price_for(options, tagger))
    is_batch = options.batch is not None
    price = price_needed(tagger.model, tagger.base_url, options.price or "", "--budget-usd", is_batch=is_batch)
    if tagger.questions.answer_limit is None:
        raise ConfigError(
            "--budget-usd needs a limit of answer tokens, and `request` takes it away: give max_tokens or max_completion_tokens there"
        )
    is_default = tagger.max_requests == type(tagger).max_requests
    requests = UNLIMITED if is_default else tagger.max_requests
    return Grant(requests, options.budget_usd, price)
