"""Fixtures shared by all rooms. Nothing here touches the network or the user's caches."""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import signal
import ssl
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import profiles
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

profiles.load()

# Before numpy is imported. Each test process would start as many threads as there are cores, which mostly wait for each other.
for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

# Tests end processes, not machines: no test needs that a disk has what was written. To wait for it takes a quarter of the seconds
# of small runs. The order of these calls has its test in test_storage.py.
os.fsync = lambda _: None  # type: ignore[assignment]

# A client of an endpoint loads all certificates, which takes 40 ms of CPU. The clients of a test process share them.
ssl.create_default_context = functools.cache(ssl.create_default_context)  # type: ignore[assignment]

# Where the tests are started in the background, SIGINT may be ignored, and the programs that they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need torch or a browser are end-to-end tests: to start either takes seconds in each process."""
    for item in items:
        if {"torch", "browser"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.e2e)


def pytest_sessionstart() -> None:
    """Kernels that the cache does not have are compiled at import. Two processes begin at different ends, so that neither compiles all."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    kernels = Path(__file__).resolve().parents[1] / "kernels"
    paths = sorted(kernels.rglob("*.py"), reverse=worker == "gw1") if worker else []
    for path in paths:
        parts = path.relative_to(kernels).with_suffix("").parts
        importlib.import_module(".".join(("tagcorpus.kernels", *parts)).removesuffix(".__init__"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Collecting imports everything, and nothing of that becomes garbage: searches for garbage would take an eighth of its seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()  # what was imported stays until the end
        gc.enable()


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference outputs, beside the checkout; its tests skip where it is missing."""
    if not (SHARED / "golden").is_dir():
        pytest.skip("reference outputs (../shared/golden) are not on this machine")
    return SHARED / "golden"


@pytest.fixture(scope="session")
def golden_docs(golden: Path) -> list[dict[str, Any]]:
    """docs.jsonl joined with doc_features.jsonl, lone surrogates kept."""
    docs = [json.loads(line) for line in (golden / "docs.jsonl").read_text().splitlines()]
    features = [json.loads(line) for line in (golden / "doc_features.jsonl").read_text().splitlines()]
    return [{**d, **f} for d, f in zip(docs, features, strict=True)]


@pytest.fixture(scope="session")
def labelled(golden: Path) -> Path:
    """The reference classifier's labels on real documents."""
    return golden.parent / "data" / "labelled"


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder with the published store (metadata_db) and feature tables."""
    if not (SHARED / "data" / "metadata_db").is_dir():
        pytest.skip("the published store (../shared/data/metadata_db) is not on this machine")
    return SHARED / "data"


@pytest.fixture(scope="session")
def torch() -> Any:
    """The module, for tests that make neural models."""
    return pytest.importorskip("torch", reason="needs the extra [hf]")


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests, also where pytest-xdist runs them in several processes: kernels are compiled once."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"


@pytest.fixture(autouse=True)
def own_caches(caches: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's caches or talks to a configured endpoint."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(caches))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Entropy runs write what they would draw instead of the figure: drawing takes most of a small run's seconds."""

    def written(summary: dict[str, Any]) -> dict[str, bytes]:
        return {form: json.dumps([form, summary], sort_keys=True).encode() for form in ("png", "svg")}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tagcorpus.pipelines.entropy.drawn", written)
        yield
