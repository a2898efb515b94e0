"""The training run and step of a score: the table `checkpoints` of the store, and ids made of its columns.

    id         the evaluated checkpoint: the model's name, and after an @ its revision, step or seed
    model      the name without seed and checkpoint: runs of one model share it
    revision   branch or commit, as the source has it
    seed       of the run, as the source names it
    step       of training
    corpus     name of the pretraining data
    total_params, training_tokens_billions   as the source has them; sizes such as 150M are rounded

A predictor reads models that have annotations. A checkpoint without annotations is read by `predict --decide` only.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

TABLE = "checkpoints"
VERSION = 2
COLUMNS = (
    "id VARCHAR PRIMARY KEY, model VARCHAR, revision VARCHAR, seed VARCHAR, step BIGINT, corpus VARCHAR, "
    "total_params BIGINT, training_tokens_billions DOUBLE"
)
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_STEP = re.compile(r"(?:^|[^a-z])(?:step|global_step)[-_]?(\d+)(?!\d)")
_SEED = re.compile(r"[-_]seed[-_]?(\d+)$")
_SEED_OF_BRANCH = re.compile(r"[-_]seed[-_](\w+)$")
# <model>-seed<n>/step<n>/..., as PolyPythias lays its results out.
_FOLDERS = re.compile(r"(?:^|/)(?P<model>[^/]+-seed\d+)/(?P<revision>step\d+)(?:/|$)")


def checkpoint_of(name: str, revision: str | None) -> tuple[str, dict[str, Any]]:
    """The id of a model at a revision, and the columns of its row; {} without a seed and a revision.

    A commit and `main` mean the model itself.
    Example  ("EleutherAI/pythia-14m-seed3", "step1000") ->
             ("EleutherAI/pythia-14m-seed3@step1000", model EleutherAI/pythia-14m, revision step1000, seed 3, step 1000)
    """
    is_itself = revision in (None, "", "main") or _COMMIT.fullmatch(str(revision)) is not None
    facts: dict[str, Any] = {}
    if seed := _SEED.search(name):
        facts |= {"model": name[: seed.start()], "seed": seed[1]}
    if revision not in (None, "", "main"):
        facts |= {"model": facts.get("model", name), "revision": revision}
    if not is_itself and (step := _STEP.search(str(revision))):
        facts["step"] = int(step[1])
    if not is_itself and (seed := _SEED_OF_BRANCH.search(str(revision))):
        facts["seed"] = seed[1]
    return (name if is_itself else f"{name}@{revision}"), facts


def another_model(path: Path, name: str, revision: str | None) -> str:
    """The reason why a results file is in the folder of another model; empty where the models agree or no folder names one."""
    folders = _FOLDERS.search(path.absolute().parent.as_posix())
    if folders is None:
        return ""
    own = name.rpartition("/")[2]
    expected = folders["model"]
    is_first_run = expected == f"{own}-seed0"  # the original run, whose name has no seed
    if (own == expected or is_first_run) and revision in (folders["revision"], None):
        return ""
    return f"is in the folder {expected}/{folders['revision']}, but was made with {name!r}, revision {revision!r}"


def size_in_words(text: str) -> int | None:
    """`150M` -> 150,000,000, `1.3B` -> 1,300,000,000, `7e9` -> 7,000,000,000; None for other text."""
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?(?:[eE][0-9]+)?)\s*([KMBT]?)\s*", text, re.IGNORECASE)
    if match is None:
        return None
    return round(float(match[1]) * {"": 1, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}[match[2].upper()])
