"""What a tagger of somebody else's must be like before a run begins with it: said at once, not in the midst of a pipeline.

`tagcorpus.testing.check_tagger` looks much closer; this is only what would end in a traceback.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

from tagcorpus.errors import ConfigError, TagcorpusError


def built(name: str, build: Callable[[], Any]) -> Any:
    """The tagger that `build` makes. ConfigError where that raises, or makes what cannot be used."""
    try:
        tagger = build()
    except TagcorpusError:
        raise
    except Exception as error:  # whatever a class raises that somebody else wrote
        raise ConfigError(f"the tagger {name!r} cannot be made: {type(error).__name__}: {error}") from error
    if wrong := _what_is_wrong(tagger):
        raise ConfigError(f"the tagger {name!r} cannot be used: {wrong}")
    return tagger


def _what_is_wrong(tagger: Any) -> str:
    import pyarrow as pa

    version = getattr(tagger, "version", None)
    if not (isinstance(version, str) and version):
        return f"version must be a text that is not empty, got {version!r}"
    columns = getattr(tagger, "columns", None)
    if not (isinstance(columns, pa.Schema) and len(columns)):
        return f"columns must be a pyarrow.Schema with columns, got {columns!r}"
    missing = [name for name in ("tag", "fingerprint") if not callable(getattr(tagger, name, None))]
    if missing:
        return f"it has no {' and no '.join(missing)}(): derive it from tagcorpus.taggers.Parameters"
    try:
        json.dumps(tagger.fingerprint())
    except TagcorpusError:
        pass  # a parameter that is still to be given: a run says so where it needs it
    except Exception as error:
        return f"fingerprint() must be made of JSON values: {type(error).__name__}: {error}"
    try:
        pickle.dumps(tagger)
    except Exception as error:
        return (
            f"it cannot be pickled, and so not travel to a worker: {type(error).__name__}: {error}. Derive it from "
            "tagcorpus.taggers.Parameters, and keep what cannot travel in a functools.cached_property"
        )
    return ""
