"""The options of `tagcorpus taggers`, `status`, `doctor` and `config`."""

from __future__ import annotations

from dataclasses import dataclass

from tagcorpus.pipelines.options.declaring.common import (
    CLUSTER,
    INPUT,
    OUTPUT,
    RUNNING,
    file_option,
    output_option,
    url_options,
)
from tagcorpus.pipelines.options.declaring.declare import as_json, option, positional


@dataclass(frozen=True)
class TaggersOptions:
    """List the taggers, or describe one: columns with units and sources, parameters."""

    name: str | None = positional("[NAME]", None, is_path=False)
    tagger_module: list[str] = option(
        [], "Also list the tagger in this file; repeatable.", metavar="FILE.py", group=INPUT, is_path=True
    )


@dataclass(frozen=True)
class StatusOptions:
    """Show the progress of an output folder's runs: chunks done, active workers, and how the last run ended."""

    output: str = positional("DIR")
    storage_options: list[str] = url_options(INPUT)
    as_json: bool = as_json("As JSON.")


@dataclass(frozen=True)
class DoctorOptions:
    """Check the installation, and what you name: EXTRAs, an output, an endpoint, a cluster. Exit 1 if a check fails."""

    extras: list[str] = positional("[EXTRA]...", [], is_path=False)
    output: str | None = output_option("Also check that this folder can be written and has space.", None)
    storage_options: list[str] = url_options(OUTPUT)
    as_json: bool = as_json("As JSON.")
    base_url: str | None = option(
        None,
        "Also check that this LLM endpoint answers (default: OPENAI_BASE_URL, if set).",
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
    ray: bool = option(
        False, "Also check that a Ray cluster runs, with the same versions on every node.", group=CLUSTER
    )
    ray_address: str | None = option(
        None, "Address of the Ray cluster (default: RAY_ADDRESS, else auto).", metavar="ADDRESS", group=CLUSTER
    )


@dataclass(frozen=True)
class ConfigOptions:
    """Print the effective configuration of PIPELINE (tag, filter, domain, ...) as YAML, for --config."""

    pipeline: str = positional("PIPELINE", is_path=False)
    config_file: str | None = file_option(
        "YAML file whose settings replace the packaged ones.", metavar="FILE", flags=("--config",)
    )
    sets: list[str] = option(
        [],
        "A setting that replaces those of the files; repeatable.",
        flags=("--set",),
        metavar="KEY=VALUE",
        group=INPUT,
    )
