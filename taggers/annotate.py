"""annotate: the properties of a document that a schema declares, by any OpenAI-compatible endpoint.

The schema (a YAML file of ours, JSON Schema, or a packaged one) says what is asked and which values are answers. An answer that
misses the schema is asked for again. Long documents are asked about at several places, and a rule makes one value of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tagcorpus.errors import ConfigError
from tagcorpus.taggers._annotation.probabilities import has_likelihood
from tagcorpus.taggers._annotation.properties import RULES_OF, Property
from tagcorpus.taggers._annotation.read import parse_schema, read_schema, read_text
from tagcorpus.taggers._annotation.schema import Inquiry, Schema
from tagcorpus.taggers._asking.endpoint_tagger import EndpointTagger
from tagcorpus.taggers._interface.base import OURS, column, columns_from
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._interface.windows import bytes_read

PROBABILITY, MARGIN = "_probability", "_margin"
OWN = ("n_calls", "is_truncated", "answered_by", "error")
_UNITS = {
    "enum": "label",
    "ordinal": "score",
    "number": "number",
    "boolean": "flag",
    "text": "text",
    "enums": "labels",
}


@dataclass(frozen=True)
class Annotate(EndpointTagger):
    """Properties of a document that an LLM answers.

    schema           path of a schema, or the name of a packaged one; run annotate has no default
    prompt           path of a user message with {text}; "" = the schema's
    probabilities    whether enum, ordinal and boolean properties have columns `_probability` and `_margin`
    model            model name; "" = the schema's
    base_url         endpoint; "" = OPENAI_BASE_URL where the tagger is built, else OpenAI's own
    concurrency      calls in flight; this and what follows do not change the output
    max_requests     no more than so many calls in a run, retries included
    max_attempts     of one call
    timeout_seconds  of one attempt
    backoff_seconds  pause before the second attempt at a call when the server names none; doubled for each further one
    patience         seconds without any answer after which a run gives up on a busy or absent server; null = 600, and
                     5 for a server that has not answered this run yet
    rpm              requests a minute; 0 = no limit of ours
    tpm              tokens of prompts (estimated) a minute; 0 = no limit of ours
    llm_cache        path of the cache of answers; "" = in the user's cache folder, none = no cache

    ConfigError when the schema, the URL or a number is wrong; `tag` raises what the tagger domain raises."""

    schema: str = "educational_value"
    prompt: str = ""
    probabilities: bool = False
    model: str = ""
    base_url: str = ""
    concurrency: int = 64
    max_requests: int = 10_000
    max_attempts: int = 6
    timeout_seconds: float = 60.0
    backoff_seconds: float = 0.5
    patience: float | None = None
    rpm: int = 0
    tpm: int = 0
    llm_cache: str = ""

    version: ClassVar[str] = "1"

    def __post_init__(self) -> None:
        self.check_numbers("annotate")
        # Read once, here: the files may change during a run, and may be missing on a worker.
        self.__dict__["_texts"] = (
            read_schema(self.schema),
            read_text(self.prompt, "--prompt") if self.prompt else None,
        )
        self.settle_endpoint()
        names = [*(p.name for p in self.questions.properties), *OWN]
        if self.probabilities and (taken := {n + e for n in names for e in (PROBABILITY, MARGIN)} & {*names}):
            raise ConfigError(f"annotate: probabilities needs the column {min(taken)}, and a property has this name")

    def __getstate__(self) -> dict[str, Any]:
        names = [name for name in ("_texts", "_granted") if name in self.__dict__]
        return {**super().__getstate__(), **{name: self.__dict__[name] for name in names}}

    @cached_property
    def questions(self) -> Schema:
        """The schema in use."""
        text, prompt = self.__dict__["_texts"]
        schema = parse_schema(text, self.schema, prompt)
        return replace(schema, has_probabilities=True) if self.probabilities else schema

    @property
    def subject(self) -> str:
        n = len(self.questions.properties)
        return f"{n} {'property' if n == 1 else 'properties'} of {self.questions.name} by {self.answered_by}"

    def calls_at_most(self, text: str) -> int:
        return len(self.questions.spans(len(text)))

    @property
    def worst_case_calls(self) -> int:
        """Most calls one document can cost, retries not counted."""
        return len(self.questions.windows)

    @cached_property
    def columns(self) -> pa.Schema:
        """The schema's properties, and columns that say how they came about."""
        return columns_from(
            OURS,
            *(_column(p, self.questions.windows) for p in self.questions.properties),
            *(c for p in self.questions.properties if self.probabilities and has_likelihood(p) for c in _likely(p)),
            column("n_calls", pa.int64(), "questions asked, answers from the cache included", "calls"),
            column("is_truncated", pa.bool_(), "the windows do not have the whole document", "flag"),
            column("answered_by", pa.string(), "model that answered, as the endpoint names it", "name"),
            column("error", pa.string(), "why there are no values; missing when there are", "text"),
        )

    def fingerprint(self) -> dict[str, Any]:
        more = {"probabilities": True} if self.probabilities else {}
        return {"model": self.model, "base_url": self.base_url, "schema": self.questions.digest, **more}

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        rows = [i for i, text in enumerate(batch.texts) if not self.questions.is_short(text)]
        inquiries = self.inquire([batch.texts[i] for i in rows])
        names = self.columns.names
        by_name: dict[str, list[Any]] = {name: [None] * batch.num_rows for name in names}
        by_name["n_calls"] = [0] * batch.num_rows
        by_name["is_truncated"] = [False] * batch.num_rows
        for i, inquiry in zip(rows, inquiries, strict=True):
            values = {
                **inquiry.values(),
                "n_calls": inquiry.n_calls,
                "is_truncated": inquiry.is_truncated,
                "answered_by": ", ".join(inquiry.models) or None,
                "error": inquiry.error,
            }
            for name, likelihood in inquiry.likelihoods().items() if self.probabilities else ():
                values[name + PROBABILITY] = likelihood.probability if likelihood else None
                values[name + MARGIN] = likelihood.margin if likelihood else None
            for name in names:
                by_name[name][i] = values[name]
        return pa.record_batch([pa.array(by_name[f.name], f.type) for f in self.columns], schema=self.columns)

    def bytes_read(self, batch: DocumentBatch) -> npt.NDArray[np.int64]:
        """Bytes of each document that the windows show to the model."""
        return bytes_read(batch, self.questions.max_text_chars, self.questions.windows)

    def inquire(self, texts: Sequence[str]) -> list[Inquiry]:
        """The inquiries about these texts, each carried to its end."""
        return self._caller.finish([self.questions.start(text) for text in texts]) if texts else []


def _likely(each: Property) -> tuple[pa.Field, pa.Field]:
    """The columns of the probability of a property's value."""
    return (
        column(each.name + PROBABILITY, pa.float64(), f"probability of {each.name} by the model's own tokens", "share"),
        column(each.name + MARGIN, pa.float64(), f"probability of {each.name} less that of the second value", "share"),
    )


def _column(each: Property, windows: Sequence[str]) -> pa.Field:
    """The column of a property. Its metadata name the rule that makes one value of several windows."""
    rule = each.rule or RULES_OF[each.kind][0]
    is_whole = each.kind == "ordinal" or (each.kind == "number" and each.is_integer)
    types = {"enum": pa.string(), "boolean": pa.bool_(), "text": pa.string(), "enums": pa.list_(pa.string())}
    type_ = types.get(each.kind, pa.int64() if is_whole and rule != "mean" else pa.float64())
    field = column(each.name, type_, " ".join(each.description.split()) or each.name, _UNITS[each.kind])
    more = {"windows": ", ".join(windows)} | ({"aggregation": rule} if len(windows) > 1 else {})
    return field.with_metadata({**field.metadata, **more})


TAGGER = Annotate
