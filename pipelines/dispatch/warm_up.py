"""Imported by the fork server of a large run: loads what every worker of the run needs, once, before workers are copied.

A worker that was copied finds kernels imported and the tokenizer loaded and checked. What fails here is left to the workers, which
say what is wrong.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
from typing import Any

from tagcorpus.pipelines.dispatch.early_start import WARM_UP
from tagcorpus.pipelines.execution import late_pandas
from tagcorpus.pipelines.execution.worker_processes import COUNTING
from tagcorpus.pipelines.options.tagger_names import instance_names
from tagcorpus.taggers import load
from tagcorpus.taggers._tokenizers.loading import load_early


def warm_up(shared: dict[str, Any]) -> None:
    """Load what the workers of this pipeline share. shared: the pipeline and its options."""
    late_pandas.postpone()
    if shared["pipeline"] == "tag":
        for name, tagger_name in instance_names(shared["taggers"]).items():
            with contextlib.suppress(Exception):
                tagger = load(tagger_name, shared["parameters"].get(name, {}), name)
                if hasattr(tagger, "warm_up"):
                    tagger.warm_up()
    elif shared["method"] != "lm":
        for module in (*COUNTING, "tagcorpus.pipelines.attributes.read"):
            importlib.import_module(module)
        load_early(shared["tokenizer"], shared["pattern"], shared["engine"])


if WARM_UP in os.environ:
    gc.disable()  # nothing here is garbage
    with contextlib.suppress(Exception):
        warm_up(json.loads(os.environ[WARM_UP]))
    gc.freeze()  # nor in the workers, which need not search it
    gc.enable()
