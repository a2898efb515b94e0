"""The options of `tagcorpus run domain`."""

from __future__ import annotations

from dataclasses import dataclass

from tagcorpus.pipelines.options.declaring.common import (
    ENDPOINT,
    OUTPUT,
    Backend,
    Options,
    calling_options,
    retry_errors_option,
)
from tagcorpus.pipelines.options.declaring.declare import option, shorthand


@dataclass(frozen=True)
class DomainOptions(Options):
    """Label every document with its domain."""

    SHORTHANDS = (
        shorthand(
            "domain.backend",
            Backend,
            "auto: openai when an endpoint is configured, else the embedded fastText model. With more than 1,000 calls to make, "
            "name openai, or an endpoint: a variable of the environment is not enough.",
            default="auto",
        ),
        *ENDPOINT,
        shorthand("domain.tree", str, "A stage tree of your own (YAML).", metavar="FILE", is_path=True),
        *calling_options("domain"),
    )
    PARAMETERS = {"domain": {"backend": "auto"}}  # noqa: RUF012 - read only

    with_text: bool = option(False, "Add the text to predicted_domains.csv.", group=OUTPUT)
    retry_errors: bool = retry_errors_option()
