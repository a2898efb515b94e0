"""Mixes, trained models and a fit in a folder: what `mix make`, `mix swarm`, `train`, `mix fit` and `mix propose` wrote.

They are in the folder itself, or in folders up to two levels below, as in a swarm or a folder of models. Damaged files are left
out, and `damaged` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tagcorpus.pipelines.attributes.results import file_digest
from tagcorpus.pipelines.progress.heartbeat import json_object
from tagcorpus.pipelines.storage.folder import Folder

Document = dict[str, Any]
MIX, LOSSES, FIT, PROPOSAL = "mix.json", "losses.json", "fit.json", "proposal.json"
DEPTH = 2


@dataclass(frozen=True)
class Model:
    """A folder of `train`: losses, the record of the run, annotations."""

    losses: Document
    run: Document
    annotation: Document


@dataclass(frozen=True)
class Trained:
    """Mixes, models and fits by the path below the folder, "" for the folder itself. proposals: by the path of their fit."""

    mixes: Mapping[str, Document] = field(default_factory=dict)
    models: Mapping[str, Model] = field(default_factory=dict)
    fits: Mapping[str, Document] = field(default_factory=dict)
    proposals: Mapping[str, Document] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.mixes or self.models or self.fits or self.damaged)


def read_trained(folder: Folder, is_output: bool) -> Trained:
    """is_output: the folder is the output of a pipeline, so only the folder itself is looked at, not the folders below."""
    if is_output:
        names = [name for name in (MIX, LOSSES, FIT) if folder.exists(name)]
    else:
        names = [name for name in folder.files() if name.count("/") <= DEPTH]
    damaged: list[str] = []

    def whole(file: str, is_right: Callable[[Document], bool]) -> dict[str, Document]:
        documents = {}
        for name in names:
            place, _, last = name.rpartition("/")
            if last != file:
                continue
            document = json_object(folder, name)
            if is_right(document):
                documents[place] = document
            else:
                damaged.append(name)
        return documents

    losses = whole(LOSSES, lambda d: "training" in d and "held_out" in d)
    for place in [place for place in losses if not _is_of_its_run(folder, place)]:
        del losses[place]
        damaged.append(_in(place, LOSSES))
    fits = whole(FIT, lambda d: "on_folds" in d)
    proposals = {}
    for place in fits:
        if folder.exists(name := _in(place, PROPOSAL)):
            proposal = json_object(folder, name)
            if proposal.get("shares") and _is_of_its_fit(folder, place, proposal):
                proposals[place] = proposal
            else:
                damaged.append(name)
    return Trained(
        whole(MIX, lambda d: "groups" in d),
        {at: Model(d, *(json_object(folder, _in(at, n)) for n in ("run.json", "annotation.json"))) for at, d in losses.items()},
        fits,
        proposals,
        tuple(damaged),
    )  # fmt: skip


def _is_of_its_run(folder: Folder, place: str) -> bool:
    """Whether the losses are those that the run beside them has written, where the run has their digest."""
    result = json_object(folder, _in(place, "run.json")).get("result")
    digest = result.get("files", {}).get(LOSSES) if isinstance(result, Mapping) else None
    if digest is None:
        return True
    with folder.open(_in(place, LOSSES)) as file:
        return bool(file_digest(file) == digest)


def _is_of_its_fit(folder: Folder, place: str, proposal: Document) -> bool:
    """Whether a proposal is of the fit beside it, where the proposal has the fit's digest."""
    inputs = proposal.get("inputs")
    digest = inputs.get("fit", {}).get(FIT) if isinstance(inputs, Mapping) else None
    if digest is None:
        return True
    with folder.open(_in(place, FIT)) as file:
        return bool(file_digest(file) == digest)


def _in(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name
