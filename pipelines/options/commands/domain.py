"""The options of `tagcorpus run domain` and `run annotate`, which ask an endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagcorpus.pipelines.options.declaring.common import (
    BACKENDS,
    ENDPOINT,
    OUTPUT,
    Options,
    calling_options,
    endpoint_options,
    retry_errors_option,
)
from tagcorpus.pipelines.options.declaring.declare import option, shorthand


@dataclass(frozen=True)
class AskingOptions(Options):
    """Options of the pipelines that ask an endpoint about documents: money, and the same questions once more."""

    price: str | None = option(
        None,
        "USD per million tokens of prompts, answers and cached prompts (default: the list price of the model at OpenAI).",
        flags=("--price",),
        metavar="IN,OUT[,CACHED]",
    )
    budget_usd: float | None = option(
        None,
        "Stop with exit 5 before all runs of this output together have cost more; replaces --max-requests.",
        metavar="USD",
        at_least=0,
    )
    pilot: int = option(
        0,
        "Label N random documents (30 or more), forecast the cost of all documents, and stop.",
        metavar="N",
        at_least=0,
        unit="count",
    )
    batch: Literal["send", "files"] | None = option(
        None,
        "Ask in batches. send: OpenAI's Batch API, and wait. files: write OUTPUT/batches/ for vllm run-batch, and read "
        "results there.",
    )
    batch_tokens: int = option(
        2_000_000,
        "Most tokens of prompts in unfinished batches; the endpoint shows your organisation's limit.",
        metavar="N",
        at_least=1,
        unit="count",
    )
    retry_errors: bool = retry_errors_option()


@dataclass(frozen=True)
class DomainOptions(AskingOptions):
    """Label every document with its domain."""

    SHORTHANDS = (
        shorthand(
            "domain.backend",
            str,
            "auto: openai if an endpoint is configured, else the embedded fastText model. DIR: a student that `tagcorpus distil` "
            "wrote. For more than 1,000 calls, name openai or --base-url: an environment variable does not suffice.",
            default="auto",
            metavar=BACKENDS,
        ),
        *ENDPOINT,
        shorthand("domain.tree", str, "YAML of your own stage tree.", metavar="FILE", is_path=True),
        *calling_options("domain"),
    )
    PARAMETERS = {"domain": {"backend": "auto"}}  # noqa: RUF012 - read only

    with_text: bool = option(False, "Add the text to predicted_domains.csv.", group=OUTPUT)


@dataclass(frozen=True)
class AnnotateOptions(AskingOptions):
    """Ask an LLM for properties of every document, which a schema declares."""

    SHORTHANDS = (
        shorthand(
            "annotate.schema",
            str,
            "The properties: a YAML file, a JSON Schema, or the name of a packaged schema.",
            metavar="FILE-or-NAME",
            is_path=True,
        ),
        shorthand(
            "annotate.prompt",
            str,
            "File with your own user message; {text} is the document.",
            metavar="FILE",
            is_path=True,
        ),
        *endpoint_options("annotate", "the schema's, gpt-4o-mini"),
        *calling_options("annotate"),
    )

    show: int = option(0, "Print the prompts of the first N documents, and stop.", metavar="N", at_least=0)
    ask: bool = option(False, "With --show: also ask about these documents, and print the answers.")

    def __post_init__(self) -> None:
        if self.show:  # nothing is written
            object.__setattr__(self, "dry_run", True)
