"""The options of `tagcorpus run tokenize`, and of `tagcorpus tasks`, which reads its output."""

from __future__ import annotations

from dataclasses import dataclass

from tagcorpus.pipelines.options.declaring.common import KEY_ONLY, OUTPUT, Engine, Options, file_option
from tagcorpus.pipelines.options.declaring.declare import option, positional


@dataclass(frozen=True)
class TokenizeOptions(Options):
    """Write token files for training (Megatron's .bin and .idx) by group, with a held-out side, to DIR/token_files/."""

    tokenizer: str = option(
        "p50k_base",
        "A tiktoken encoding, a ranks file (*.tiktoken), or a Hugging Face tokenizer.json.",
        metavar="NAME-or-FILE",
    )
    pattern: str = option("p50k_base", "As `pattern` of `run entropy`.", flags=KEY_ONLY)
    engine: Engine = option("auto", "As `engine` of `run entropy`.", flags=KEY_ONLY)
    eos: str | None = option(
        None,
        "The token after each document (default: the tokenizer's own, by tokenizer_config.json or its special tokens).",
        metavar="TOKEN",
    )
    group_by: str | None = option(
        None,
        "A group for each value of an attribute column or document column, or for each folder.",
        metavar="COLUMN|level:N",
    )
    where: str | None = option(
        None, "Only documents for which this condition over attribute columns is true.", metavar="SQL"
    )
    held_out: float | None = option(
        None,
        "Hold out about this share of the documents, by a hash of the normalised text and --seed.",
        metavar="SHARE",
        above=0,
        below=1,
    )
    held_out_by: str | None = option(
        None,
        "Column with a cluster id: documents of a cluster are held out together.",
        metavar="COLUMN",
    )
    held_out_texts: bool = option(
        False, "Also write the held-out documents as JSONL, to measure bits per byte.", group=OUTPUT
    )
    file_bytes: int = option(
        4_000_000_000,
        "Bytes of a .bin at most; a longer document has a file of its own.",
        flags=KEY_ONLY,
        group=OUTPUT,
        at_least=2,
        unit="bytes",
    )


@dataclass(frozen=True)
class TasksOptions:
    """Write tasks for lm_eval to DIR: generate_only, and bits per byte of held-out documents for each group."""

    folder: str = positional("DIR")
    token_files: str | None = file_option(
        "Output of run tokenize --held-out-texts: a task held_out_GROUP for each group.", metavar="OUTPUT"
    )
