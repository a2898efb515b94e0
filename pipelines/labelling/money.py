"""The limits of a run in requests and in money, from its options and the bills of earlier runs."""

from __future__ import annotations

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.labelling.prices import price_needed, price_of
from tagcorpus.pipelines.options.commands.domain import AskingOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.taggers._asking.endpoint_tagger import EndpointTagger
from tagcorpus.taggers._llm.tokens import Grant, Price

UNLIMITED = 10**15
"""Requests of a run that only its money limits."""


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
