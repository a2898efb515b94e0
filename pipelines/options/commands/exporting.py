"""The options of `tagcorpus export` and `tagcorpus join`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagcorpus.pipelines.options.declaring.common import INPUT, OUTPUT, url_options, workers_option
from tagcorpus.pipelines.options.declaring.declare import REQUIRED, option, positional


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


@dataclass(frozen=True)
class JoinOptions:
    """Give NEWDATA the tags that the output folder TAGS has for the same documents: after a deduplication, a reshuffle, or a cut
    into other files. Exit 3 where no document joined."""

    data: str = positional("NEWDATA")
    tags: str = positional("TAGS")
    output: str = option(
        REQUIRED,
        "The new output folder.",
        flags=("--output", "-o"),
        metavar="DIR",
        group=OUTPUT,
        is_path=True,
    )
    by: Literal["text", "id"] = option("text", "What tells documents apart.", group=INPUT)
    taggers: list[str] = option(
        [], "Only the tags of these instances (default: all).", flags=("--taggers", "-t"), metavar="LIST", group=INPUT
    )
    text_column: str = option("", "Where the text of NEWDATA is.", metavar="NAME", group=INPUT)
    id_column: str = option("", "Where the id of NEWDATA is.", metavar="NAME", group=INPUT)
    workers: int | None = workers_option()
