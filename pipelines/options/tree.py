"""The tree of commands: each with its name, its options, and the function that it calls.

A command's fields are the keywords of its function, which returns the text to print, or text and exit code. Options and functions are
named here, and imported when a command needs them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tagcorpus.pipelines.options.declaring.common import Options

_PIPELINES = "tagcorpus.pipelines"
_COMMANDS = f"{_PIPELINES}.options.commands"


def _at(place: str, package: str) -> Any:
    """The class or function at module:name, a module of this package."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"{package}.{module}"), name)


class OptionClasses(Mapping[str, type[Options]]):
    """Pipeline -> the class of its options, which is imported on demand."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self.places = places

    def __getitem__(self, pipeline: str) -> type[Options]:
        options: type[Options] = _at(self.places[pipeline], _COMMANDS)
        return options

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


OPTIONS = OptionClasses(
    {
        "tag": "tag:TagOptions",
        "filter": "tag:FilterOptions",
        "annotate": "domain:AnnotateOptions",
        "domain": "domain:DomainOptions",
        "entropy": "entropy:EntropyOptions",
        "features": "features:FeaturesOptions",
        "tokenize": "tokenize:TokenizeOptions",
    }
)


def pipelines() -> list[str]:
    return list(OPTIONS)


SHORT = {
    "tag": "Add columns of taggers, and a summary of each.",
    "filter": "Write kept and removed rows in the input's own format.",
    "domain": "Label every document with its domain.",
    "annotate": "Ask an LLM for properties of every document.",
    "entropy": "Measure next-token entropy of the corpus and of every document.",
    "features": "Make the per-model feature table from generations.",
    "tokenize": "Write token files for training, by group, with a held-out side.",
}


@dataclass(frozen=True)
class Command:
    """One command of the tree.

    name     with the name of its group before it
    place    module:Class of its options, whose docstring says what the command does
    calls    module:function, a module of `pipelines`; "" for a pipeline
    is_data  its output is data for other programs, written as it is where standard output is no terminal
    alias    another spelling of the last word; not listed
    """

    name: str
    place: str
    calls: str = ""
    short: str = ""
    is_data: bool = False
    alias: str = ""

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words of its name."""
        return tuple(self.name.split())

    @property
    def options(self) -> type[Any]:
        """The class of its options."""
        options: type[Any] = _at(self.place, _COMMANDS)
        return options

    @property
    def pipeline(self) -> str:
        """Its name where it is a pipeline, else ""."""
        return "" if self.calls else self.words[-1]

    @property
    def function(self) -> Callable[..., Any]:
        """What it calls."""
        function: Callable[..., Any] = _at(self.calls, _PIPELINES)
        return function


GROUP_HELP = {
    ("run",): (
        "Run a pipeline over documents.",
        "Run a pipeline: tag, filter, domain, annotate, entropy, features, tokenize.",
    ),
    ("store",): (
        "Check, query and change a store of models, their pretraining data and their scores: a DuckDB export directory, or a .duckdb file.",
        "Check, query and change a store of models and scores.",
    ),
    ("mix",): (
        "Mix token files for training by shares of tokens, and predict what a mix does to a model.",
        "Mix token files, and predict what a mix does to a model.",
    ),
}
COMMANDS = (
    *(Command(f"run {name}", place, short=SHORT[name]) for name, place in OPTIONS.places.items()),
    Command("taggers", "console:TaggersOptions", "doctor.tagger_pages:taggers", "List the taggers, or describe one."),
    Command("status", "console:StatusOptions", "doctor.status:report", "Show the progress of an output folder's runs."),
    Command("report", "outputs:ReportOptions", "report:report", "Make one HTML page of an output folder."),
    Command(
        "export",
        "outputs:ExportOptions",
        "exporting.export:export",
        "Write documents with their tags for other programs.",
    ),
    Command("join", "outputs:JoinOptions", "join:join", "Give new files the tags of the same documents."),
    Command(
        "agreement",
        "labels:AgreementOptions",
        "labels.agreement:agreement",
        "Measure how well labels agree with gold labels.",
    ),
    Command(
        "shares",
        "labels:SharesOptions",
        "labels.shares:shares",
        "Estimate each label's share of a corpus, with intervals.",
    ),
    Command(
        "distil",
        "labels:DistilOptions",
        "distilling.command:distil",
        "Train a small model on an LLM's labels.",
        alias="distill",
    ),
    Command(
        "audit",
        "outputs:AuditOptions",
        "audit.command:audit",
        "Measure what a column depends on: source, language, length.",
    ),
    Command(
        "compare",
        "outputs:CompareOptions",
        "comparing.command:compare",
        "Compare the documents of two outputs, column by column.",
    ),
    Command(
        "check-features", "outputs:CheckFeaturesOptions", "feature_table.check:report", "Check a per-model feature CSV."
    ),
    Command("store check", "store:StoreCheckOptions", "store:check"),
    Command("store show", "store:StoreShowOptions", "store:show"),
    Command("store query", "store:StoreQueryOptions", "store:query", is_data=True),
    Command(
        "store import", "store:StoreImportOptions", "store:import_", "Import scores, annotations and feature tables."
    ),
    Command(
        "store export",
        "store:StoreExportOptions",
        "store:export",
        "Write DB as a .duckdb file, a directory, or its features as .csv.",
    ),
    Command(
        "mix make", "mix:MixMakeOptions", "mixes.make:make", "Mix groups of token files by weights or temperature."
    ),
    Command(
        "mix swarm",
        "mix:MixSwarmOptions",
        "mixes.swarm:swarm",
        "Draw mixes for proxy models around the shares of tokens.",
    ),
    Command("train", "mix:TrainOptions", "training.train:train", "Train a small Llama on a mix."),
    Command(
        "predict",
        "predict:PredictOptions",
        "predict:command",
        "Predict models' scores from size, data and generations.",
    ),
    Command(
        "mix fit",
        "mix_models:MixFitOptions",
        "mix_models.fit:fit",
        "Predict outcomes of mixes from their shares, and measure the error.",
    ),
    Command(
        "mix propose",
        "mix_models:MixProposeOptions",
        "mix_models.propose:propose",
        "Propose shares with a low predicted outcome, before training.",
    ),
    Command(
        "tasks",
        "tokenize:TasksOptions",
        "token_files.lm_eval_tasks:write",
        "Write tasks for lm_eval: free text, held-out loss.",
    ),
    Command(
        "doctor", "console:DoctorOptions", "doctor.doctor:command", "Check the installation, and say how to repair it."
    ),
    Command("config", "console:ConfigOptions", "terminal:config", "Print all settings of a pipeline as YAML."),
)
