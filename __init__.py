"""tagcorpus: tag corpora and model generations at scale.

tag(texts_or_table, taggers)      a table of tags, in memory
TextTagger(taggers)               the same as an object, which is built once
run(pipeline, **options)          what `tagcorpus run PIPELINE` does
read(output, instances, text)     the attributes of an output, joined, as an Arrow dataset
"""

import os
import sys

# `python -m tagcorpus` puts the current folder first on sys.path, and a folder of data may hold a queue.py. No import before
# these lines but of modules that Python has loaded itself; `from __future__` would import a file, too.
_is_searched = sys.argv[:1] == ["-m"] and not sys.flags.safe_path  # Python is looking for the module named by -m
if _is_searched and sys.orig_argv[-len(sys.argv)].removeprefix("-m").partition(".")[0] == __name__:
    _first = sys.path.pop(0)
    if os.path.realpath(_first) == os.path.realpath(os.path.dirname(os.path.dirname(__file__))):
        sys.path.append(_first)  # the package itself is there, not installed

import importlib  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
    from tagcorpus.errors import TagcorpusError
    from tagcorpus.pipelines.attributes.read import read
    from tagcorpus.pipelines.in_memory import TextTagger, tag
    from tagcorpus.pipelines.run import run

__version__ = "0.1.0"
__all__ = ["TagcorpusError", "TextTagger", "__version__", "read", "run", "tag"]

_HOMES = {
    "TagcorpusError": "tagcorpus.errors",
    "TextTagger": "tagcorpus.pipelines.in_memory",
    "read": "tagcorpus.pipelines.attributes.read",
    "run": "tagcorpus.pipelines.run",
    "tag": "tagcorpus.pipelines.in_memory",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
