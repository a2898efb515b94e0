"""Which backend labels the domains: an LLM or the embedded model, decided once before anything is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.pipelines.options.commands.domain import AskingOptions
from tagcorpus.pipelines.options.declaring.common import Options
from tagcorpus.taggers.domain import Domain

BACKENDS = ("auto", "openai", "fasttext")
BACKEND = "domain.backend"
BASE_URL = "annotate.base_url"
# Parameters of the openai backend. The embedded model has its own labels and sends no requests.
LLM_PARAMETERS = ("base_url", "model", "tree", "concurrency", "max_requests", "max_attempts", "timeout_seconds", "backoff_seconds", "patience", "rpm", "tpm", "llm_cache")  # fmt: skip


def refuse_llm_parameters(parameters: Mapping[str, Any]) -> None:
    """Raise ConfigError where the embedded model gets a parameter of the openai backend."""
    defaults = {f.name: f.default for f in fields(Domain)}
    if given := [n for n in LLM_PARAMETERS if n in parameters and parameters[n] != defaults[n]]:
        named = ", ".join(f"--{n.replace('_', '-')}" for n in given)
        raise ConfigError(
            f"{named} ({', '.join(f'domain.{n}' for n in given)}): these are for an LLM, and the embedded fasttext model was "
            "chosen. Name an endpoint (--backend openai, --base-url URL, OPENAI_BASE_URL or OPENAI_API_KEY), or leave it out"
        )


def refuse_money(options: Options) -> None:
    """Raise ConfigError where the embedded model, which costs nothing, gets an option about money or batches."""
    names = ("price", "budget_usd", "pilot", "batch") if isinstance(options, AskingOptions) else ()
    if given := [name for name in names if getattr(options, name)]:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(
            f"{named}: for an LLM, and the embedded fasttext model, which costs nothing, was chosen. Name an endpoint (--backend openai, "
            "--base-url URL, OPENAI_BASE_URL or OPENAI_API_KEY), or leave it out"
        )


def decided(parameters: Mapping[str, Any]) -> str:
    """The backend: as given (a name, or a student's folder), or by whether an endpoint is configured."""
    given = parameters.get("backend", "auto")
    if given not in BACKENDS and not os.path.isdir(str(given)):
        known = (*BACKENDS, "the folder of a student (tagcorpus distil)")
        raise ConfigError(unknown_name("backend", str(given), known, "--backend, domain.backend"))
    if given != "auto":
        return str(given)
    is_configured = parameters.get("base_url") or os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_KEY")
    return "openai" if is_configured else "fasttext"


def note_endpoint(options: Options, parameters: Mapping[str, Any]) -> None:
    """Note that only the environment names the endpoint of `annotate`, where this is so."""
    if not parameters.get("base_url"):
        options.from_environment.append(BASE_URL)


def settle_backend(options: Options, decide: Callable[[Mapping[str, Any]], str | None] = decided) -> None:
    """Put the backend that `decide` gives into the parameters of `domain`, and refuse parameters that do not fit it."""
    parameters = options.parameters.setdefault("domain", {})
    # No option names a backend or an endpoint: the environment decides between LLM and model.
    if parameters.get("backend", "auto") == "auto" and not parameters.get("base_url"):
        options.from_environment.append(BACKEND)
    parameters["backend"] = decide(parameters)
    if parameters["backend"] != "openai":
        refuse_llm_parameters(parameters)
        refuse_money(options)
