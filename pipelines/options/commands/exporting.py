"""The options of `tagcorpus export`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagcorpus.pipelines.options.declaring.common import INPUT, OUTPUT, url_options
from tagcorpus.pipelines.options.declaring.declare import option, positional


@dataclass(frozen=True)
class ExportOptions:
    """Write the documents of an output folder with their tags: to OUT.jsonl, OUT.jsonl.zst, OUT.jsonl.gz or OUT.parquet, or to a
    folder that Hugging Face datasets or Dolma reads."""

    output: str = positional("DIR")
    target: str = positional("OUT")
    form: Literal["dataset", "dolma"] = option(
        "",
        "dataset: a folder with Parquet and a card, for load_dataset; dolma: attributes in Dolma's format.",
        flags=("--format",),
        group=OUTPUT,
    )
    taggers: list[str] = option(
        [], "Only the tags of these instances (default: all).", flags=("--taggers", "-t"), metavar="LIST", group=INPUT
    )
    storage_options: list[str] = url_options(OUTPUT)
