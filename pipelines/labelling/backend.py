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
# Parameters of the openai backend. The embedded model has its own labels and sends no requests.
LLM_PARAMETERS = ("base_url", "model", "tree", "concurrency", "max_requests", "max_attempts", "timeout_seconds", "backoff_seconds", "patience", "rpm", "tpm", "llm_cache")  # fmt: skip
# Chunks labelled at once: the endpoint stays busy at the end of each.
CHUNKS_AT_ONCE = 4


def refuse_llm_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ConfigError where the embedded model gets a parameter of the openai backend."""
    defaults = {f.name: f.default for f in fields(Domain)}
    if given := [n for n in LLM_PARAMETERS if n in parameters and parameters[n] != defaults[n]]:
        named = ", ".join(f"--{n.replace('_', '-')}" for n in given)
        raise ConfigError(
            f"{named} ({', '.join(f'domain.{n}' for n in given)}): these are for an LLM, and the embedded fasttext model was "
            "chosen. Name an endpoint (--backend openai, --base-url URL, OPENAI_BASE_URL or OPENAI_API_KEY), or leave it out"
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
    """Number of chunks labelled at once by an LLM; None without an LLM."""
    return options.workers or CHUNKS_AT_ONCE if is_asking else None
