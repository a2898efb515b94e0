"""The options of `tagcorpus taggers`, `status`, `doctor` and `config`."""

from __future__ import annotations

from dataclasses import dataclass

from tagcorpus.pipelines.options.declaring.common import CLUSTER, INPUT, OUTPUT, RUNNING, url_options
from tagcorpus.pipelines.options.declaring.declare import as_json, option, positional


@dataclass(frozen=True)
class TaggersOptions:
    """List the taggers, or describe one: columns with units and sources, parameters."""

    name: str | None = positional("[NAME]", None, is_path=False)
    tagger_module: list[str] = option(
        [], "Also the tagger in this file; repeatable.", metavar="FILE.py", group=INPUT, is_path=True
    )


@dataclass(frozen=True)
class StatusOptions:
    """Say how far the runs of an output folder are: chunks done, what is running, how the last run ended."""

    output: str = positional("DIR")
    storage_options: list[str] = url_options(INPUT)
    as_json: bool = as_json("As JSON.")


@dataclass(frozen=True)
class DoctorOptions:
    """Check the installation, and what you name: EXTRAs, an output, an endpoint, a cluster. Exit 1 if it is broken."""

    extras: list[str] = positional("[EXTRA]...", [], is_path=False)
    output: str | None = option(
        None,
        "Also: can this folder be written, and is there space?",
        flags=("--output", "-o"),
        metavar="DIR",
        group=OUTPUT,
        is_path=True,
    )
    storage_options: list[str] = url_options(OUTPUT)
    as_json: bool = as_json("As JSON.")
    base_url: str | None = option(
        None,
        "Also: does this LLM endpoint answer? (Else OPENAI_BASE_URL, where it is set.)",
        metavar="URL",
        group=RUNNING,
    )
    llm_cache: str | None = option(
        None,
        "Where LLM answers are kept (default: the user's cache folder).",
        metavar="FILE",
        group=RUNNING,
        is_path=True,
    )
    offline: bool = option(False, "No network checks.", group=RUNNING)
    ray: bool = option(False, "Also: is a Ray cluster there, with the same versions on every node?", group=CLUSTER)
    ray_address: str | None = option(
        None, "The cluster to look at (else RAY_ADDRESS, or auto).", metavar="ADDRESS", group=CLUSTER
    )


@dataclass(frozen=True)
class ConfigOptions:
    """Print the effective configuration of PIPELINE (tag, filter, domain, entropy, features) as YAML, for --config."""

    pipeline: str = positional("PIPELINE", is_path=False)
    config_file: str | None = option(
        None,
        "Settings of a file over the packaged ones.",
        flags=("--config",),
        metavar="FILE",
        group=INPUT,
        is_path=True,
    )
    sets: list[str] = option(
        [], "A setting over these; repeatable.", flags=("--set",), metavar="KEY=VALUE", group=INPUT
    )
