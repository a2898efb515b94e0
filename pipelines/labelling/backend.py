"""Which backend labels the domains: an LLM or the embedded model, decided once before anything is read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.pipelines.options.of_pipelines import Options
from tagcorpus.taggers.domain import Domain

BACKENDS = ("auto", "openai", "fasttext")
# Parameters that only the openai backend looks at; the embedded model has its own labels, and asks nobody.
OF_AN_LLM = ("base_url", "model", "tree", "concurrency", "max_requests", "max_attempts", "timeout_seconds", "backoff_seconds", "patience", "rpm", "tpm", "llm_cache")  # fmt: skip
# Chunks that are asked about at once: enough that the end of one does not leave the endpoint idle.
CHUNKS_AT_ONCE = 4


def refuse_what_is_of_an_llm(parameters: Mapping[str, Any]) -> None:
    """Raise ConfigError where the embedded model is to heed what only an LLM would."""
    defaults = {f.name: f.default for f in fields(Domain)}
    if given := [n for n in OF_AN_LLM if n in parameters and parameters[n] != defaults[n]]:
        named = ", ".join(f"--{n.replace('_', '-')}" for n in given)
        raise ConfigError(
            f"{named} ({', '.join(f'domain.{n}' for n in given)}): only an LLM would heed that, and the embedded fasttext model "
            "was chosen. Name an endpoint (--backend openai, --base-url URL, OPENAI_BASE_URL or OPENAI_API_KEY), or leave it out"
        )


def decided(parameters: Mapping[str, Any]) -> str:
    """The backend: as given, or by whether an endpoint is configured."""
    given = parameters.get("backend", "auto")
    if given not in BACKENDS:
        raise ConfigError(unknown_name("backend", str(given), BACKENDS, "--backend, domain.backend"))
    if given != "auto":
        return str(given)
    is_configured = parameters.get("base_url") or os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_KEY")
    return "openai" if is_configured else "fasttext"


def workers_asking(options: Options, *, is_asking: bool) -> int | None:
    """How many chunks are computed at once while an LLM is asked; None where none is."""
    return options.workers or CHUNKS_AT_ONCE if is_asking else None
