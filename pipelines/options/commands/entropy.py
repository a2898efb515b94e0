"""The options of `tagcorpus run entropy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagcorpus.pipelines.options.declaring.common import KEY_ONLY, OUTPUT, RUNNING, Engine, Options
from tagcorpus.pipelines.options.declaring.declare import option, shorthand


@dataclass(frozen=True)
class EntropyOptions(Options):
    """Measure next-token entropy of the corpus, by n-gram context, and of every document. --ngram 1 is bigram entropy."""

    SHORTHANDS = (
        shorthand("token_cache", bool, "Keep no token ids in the output.", constant=False, flags=("--no-token-cache",)),
        shorthand(
            "entropy-lm.model", str, "With --method lm: a Hugging Face model's name, or its folder.", metavar="NAME"
        ),
    )

    ngram: int = option(
        1,
        "Tokens of context: 1 is bigram entropy, 2 trigram entropy.",
        flags=("--ngram", "-n"),
        metavar="N",
        at_least=1,
    )
    method: Literal["counts", "lm"] = option(
        "counts",
        "counts: entropy of the corpus's n-grams; lm: of a causal language model's predictions (section entropy-lm).",
    )
    tokenizer: str = option(
        "p50k_base",
        "A tiktoken encoding, a ranks file (*.tiktoken), or a Hugging Face tokenizer.json.",
        metavar="NAME-or-FILE",
    )
    pattern: str = option("p50k_base", "For a ranks file: the encoding whose split pattern it uses.", flags=KEY_ONLY)
    engine: Engine = option("auto", "What computes the token ids; both give the same ids.", flags=KEY_ONLY)
    memory: str = option("1GB", "Resident memory of a worker, for any size of corpus.", metavar="SIZE", group=RUNNING)
    contexts: bool = option(False, "Also write the table of all contexts, as Parquet.", group=OUTPUT)
    token_budget: int | None = option(
        None,
        "Also compute the figures on random samples of T tokens (whole documents), to compare corpora of unequal size.",
        metavar="T",
        at_least=1,
        unit="count",
    )
    replicates: int = option(5, "Samples for --token-budget.", at_least=1)
    bracket: float | None = option(
        None,
        "Also compute an upper bound: cross-entropy of this held-out share of the documents under a Kneser-Ney model of the others.",
        metavar="SHARE",
        above=0,
        below=1,
    )
    token_cache: bool = option(
        True, "Keep token ids in <output>/tokens, for other n and other runs.", flags=KEY_ONLY, group=OUTPUT
    )
    chunk_positions: int | None = option(
        None,
        "n-grams counted at a time; null: as many as `memory` allows. No result depends on it.",
        flags=KEY_ONLY,
        group=RUNNING,
        at_least=1,
    )
    interval_entries: int | None = option(
        None,
        "Entries merged at a time; null: as many as `memory` allows. No result depends on it.",
        flags=KEY_ONLY,
        group=RUNNING,
        at_least=1,
    )
