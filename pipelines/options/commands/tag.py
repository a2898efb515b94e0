"""The options of `tagcorpus run tag` and `run filter`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagcorpus.pipelines.options.declaring.common import LINES, OUTPUT, Options
from tagcorpus.pipelines.options.declaring.declare import option


@dataclass(frozen=True)
class TagOptions(Options):
    """Add tagger columns as attributes beside the documents, with a summary of every column."""

    RESULT_SUFFIXES = (*Options.RESULT_SUFFIXES, *LINES)

    taggers: list[str] = option(
        ["length", "tokens", "keywords", "language", "repetition"],
        "Comma-separated; tagcorpus taggers lists all. NAME=TAGGER gives one a name of its own.",
        flags=("--taggers", "--feature", "-t"),
        metavar="LIST",
    )
    with_text: bool = option(
        False,
        "Add the text and the input's other fields to an --output that is .jsonl, .jsonl.gz, .jsonl.zst or .parquet.",
        group=OUTPUT,
    )


@dataclass(frozen=True)
class FilterOptions(Options):
    """Write kept and removed rows in the input's own format, to DIR/filtered/; removed ones say why."""

    keep: str = option("repetition.is_kept", "The boolean column that decides.", metavar="INSTANCE.COLUMN")
    where: str | None = option(
        None,
        "Instead: a condition over the columns that are there, \"language = 'en' AND ttr > 0.2\".",
        metavar="SQL",
    )
    preset: Literal["gopher", "c4-verdict", "fineweb", "redpajama"] | None = option(
        None,
        "Instead: a published filter over the columns of the tagger signals, which are computed where they are missing.",
    )
    top: str | None = option(
        None, "Instead: the share (10%) or number of documents with the highest values of --by.", metavar="10%|N"
    )
    by: str | None = option(None, "top, tokens: the numeric column.", metavar="INSTANCE.COLUMN")
    draw: str | None = option(
        None, "Instead: a random share or number of documents, chosen by --seed.", metavar="10%|N"
    )
    weight: str | None = option(None, "draw: count documents by this column.", metavar="INSTANCE.COLUMN")
    tokens_at_most: int | None = option(
        None,
        "Instead of a share: documents, best first by --by or drawn, until they have N tokens (tokens.num_tokens).",
        flags=("--tokens",),
        metavar="N",
        unit="count",
        at_least=1,
    )
    within: str | None = option(
        None, "top, draw, tokens: so much of each value of this column.", metavar="INSTANCE.COLUMN"
    )
    removed: str | bool = option(
        True,
        "Where the removed rows go: true, beside the kept ones; false, nowhere, they are only counted; or a folder.",
        metavar="true|false|DIR",
    )
    ids: Literal["jsonl", "parquet"] | None = option(
        None,
        "Instead of copies: a list of all rows in filtered/, with file, row, id and reason; of the kept ones with --removed false.",
    )
