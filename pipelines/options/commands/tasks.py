"""The options of `tagcorpus tasks`."""

from __future__ import annotations

from dataclasses import dataclass

from tagcorpus.pipelines.options.declaring.common import INPUT
from tagcorpus.pipelines.options.declaring.declare import option, positional


@dataclass(frozen=True)
class TasksOptions:
    """Write tasks for lm_eval to DIR: generate_only, and bits per byte of held-out documents for each group."""

    folder: str = positional("DIR")
    token_files: str | None = option(
        None,
        "Output of run tokenize --held-out-texts: a task held_out_GROUP for each group.",
        metavar="OUTPUT",
        group=INPUT,
        is_path=True,
    )
