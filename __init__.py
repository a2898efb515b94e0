"""tagcorpus: tag corpora and model generations, lose nothing, and say what the tags are worth.

tag(texts_or_table, taggers)      a table of tags, in memory
run(pipeline, **options)          what `tagcorpus run PIPELINE` does
read(output, instances, text)     the sidecars of an output, joined, as an Arrow dataset
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tagcorpus.errors import TagcorpusError
    from tagcorpus.pipelines.memory import tag
    from tagcorpus.pipelines.outputs.reading import read
    from tagcorpus.pipelines.run import run

__version__ = "0.1.0"
__all__ = ["TagcorpusError", "__version__", "read", "run", "tag"]

_HOMES = {
    "TagcorpusError": "tagcorpus.errors",
    "read": "tagcorpus.pipelines.outputs.reading",
    "run": "tagcorpus.pipelines.run",
    "tag": "tagcorpus.pipelines.memory",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
