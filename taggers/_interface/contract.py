"""Checks a foreign tagger before a run, so that the run does not fail in the midst of a pipeline.

The checks cover what would end in a traceback. `tagcorpus.testing.check_tagger` checks far more.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

from tagcorpus.errors import ConfigError, TagcorpusError


def built(name: str, build: Callable[[], Any]) -> Any:
    """The tagger that `build` makes. ConfigError where `build` raises, or its result cannot be used."""
    try:
        tagger = build()
    except TagcorpusError:
        raise
    except Exception as error:  # a foreign class may raise anything
        raise ConfigError(f"the tagger {name!r} cannot be made: {type(error).__name__}: {error}") from error
    if fault := _fault(tagger):
        raise ConfigError(f"the tagger {name!r} cannot be used: {fault}")
    return tagger


def _fault(tagger: Any) -> str:
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
        pass  # a missing parameter: the run names it where it needs it
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
