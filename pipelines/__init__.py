"""Everything that composes: inputs, plan, steps, executors, attributes, ledger, summaries.

TagDocuments   our taggers as a step of a datatrove pipeline of your own
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name != "TagDocuments":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tagcorpus.pipelines.in_datatrove import TagDocuments

    return TagDocuments
