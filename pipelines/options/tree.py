"""The tree of commands: each with its name, its options, and the function that it calls.

A command's fields are the keywords of its function, which returns the text to print, or text and exit code. Options and functions are
named here, and imported when a command needs them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tagcorpus.pipelines.options.declaring.common import Options

_COMMANDS = "tagcorpus.pipelines.options.commands"


def _options_at(place: str) -> type[Any]:
    """The class at module:Class, a module of `commands`."""
    module, _, name = place.partition(":")
    options: type[Any] = getattr(importlib.import_module(f"{_COMMANDS}.{module}"), name)
    return options


class OptionClasses(Mapping[str, type[Options]]):
    """Pipeline -> the class of its options, which is imported on demand."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self.places = places

    def __getitem__(self, pipeline: str) -> type[Options]:
        return _options_at(self.places[pipeline])

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

    words    its name, with the name of its group before it
    place    module:Class of its options, whose docstring says what the command does
    calls    module:function; "" for a pipeline
    is_data  its output is data for other programs, written as it is where standard output is no terminal
    alias    another spelling of the last word; not listed
    """

    words: tuple[str, ...]
    place: str
    calls: str = ""
    short: str = ""
    is_data: bool = False
    alias: str = ""

    @property
    def options(self) -> type[Any]:
        """The class of its options."""
        return _options_at(self.place)

    @property
    def pipeline(self) -> str:
        """Its name where it is a pipeline, else ""."""
        return "" if self.calls else self.words[-1]


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
CONSOLE = "tagcorpus.pipelines.doctor"
STORE = "tagcorpus.pipelines.store"
COMMANDS = (
    *(Command(("run", name), place, short=SHORT[name]) for name, place in OPTIONS.places.items()),
    Command(
        ("taggers",), "console:TaggersOptions", f"{CONSOLE}.tagger_pages:taggers", "List the taggers, or describe one."
    ),
    Command(
        ("status",),
        "console:StatusOptions",
        f"{CONSOLE}.status:report",
        "Show the progress of an output folder's runs.",
    ),
    Command(
        ("report",),
        "outputs:ReportOptions",
        "tagcorpus.pipelines.report:report",
        "Make one HTML page of an output folder.",
    ),
    Command(
        ("export",),
        "outputs:ExportOptions",
        "tagcorpus.pipelines.exporting.export:export",
        "Write documents with their tags for other programs.",
    ),
    Command(
        ("join",),
        "outputs:JoinOptions",
        "tagcorpus.pipelines.join:join",
        "Give new files the tags of the same documents.",
    ),
    Command(
        ("agreement",),
        "labels:AgreementOptions",
        "tagcorpus.pipelines.labels.agreement:agreement",
        "Measure how well labels agree with gold labels.",
    ),
    Command(
        ("shares",),
        "labels:SharesOptions",
        "tagcorpus.pipelines.labels.shares:shares",
        "Estimate each label's share of a corpus, with intervals.",
    ),
    Command(
        ("distil",),
        "labels:DistilOptions",
        "tagcorpus.pipelines.distilling.command:distil",
        "Train a small model on an LLM's labels.",
        alias="distill",
    ),
    Command(
        ("audit",),
        "outputs:AuditOptions",
        "tagcorpus.pipelines.audit.command:audit",
        "Measure what a column depends on: source, language, length.",
    ),
    Command(
        ("compare",),
        "outputs:CompareOptions",
        "tagcorpus.pipelines.comparing.command:compare",
        "Compare the documents of two outputs, column by column.",
    ),
    Command(
        ("check-features",),
        "outputs:CheckFeaturesOptions",
        "tagcorpus.pipelines.feature_table.check:report",
        "Check a per-model feature CSV.",
    ),
    Command(("store", "check"), "store:StoreCheckOptions", f"{STORE}:check"),
    Command(("store", "show"), "store:StoreShowOptions", f"{STORE}:show"),
    Command(("store", "query"), "store:StoreQueryOptions", f"{STORE}:query", is_data=True),
    Command(
        ("store", "import"),
        "store:StoreImportOptions",
        f"{STORE}:import_",
        "Import scores, annotations and feature tables.",
    ),
    Command(
        ("store", "export"),
        "store:StoreExportOptions",
        f"{STORE}:export",
        "Write DB as a .duckdb file, a directory, or its features as .csv.",
    ),
    Command(
        ("mix", "make"),
        "mix:MixMakeOptions",
        "tagcorpus.pipelines.mixes.make:make",
        "Mix groups of token files by weights or temperature.",
    ),
    Command(
        ("mix", "swarm"),
        "mix:MixSwarmOptions",
        "tagcorpus.pipelines.mixes.swarm:swarm",
        "Draw mixes for proxy models around the shares of tokens.",
    ),
    Command(
        ("train",), "mix:TrainOptions", "tagcorpus.pipelines.training.train:train", "Train a small Llama on a mix."
    ),
    Command(
        ("predict",),
        "predict:PredictOptions",
        "tagcorpus.pipelines.predict:command",
        "Predict models' scores from size, data and generations.",
    ),
    Command(
        ("mix", "fit"),
        "mix_models:MixFitOptions",
        "tagcorpus.pipelines.mix_models.fit:fit",
        "Predict outcomes of mixes from their shares, and measure the error.",
    ),
    Command(
        ("mix", "propose"),
        "mix_models:MixProposeOptions",
        "tagcorpus.pipelines.mix_models.propose:propose",
        "Propose shares with a low predicted outcome, before training.",
    ),
    Command(
        ("tasks",),
        "tokenize:TasksOptions",
        "tagcorpus.pipelines.token_files.lm_eval_tasks:write",
        "Write tasks for lm_eval: free text, held-out loss.",
    ),
    Command(
        ("doctor",),
        "console:DoctorOptions",
        f"{CONSOLE}.doctor:command",
        "Check the installation, and say how to repair it.",
    ),
    Command(
        ("config",),
        "console:ConfigOptions",
        "tagcorpus.pipelines.terminal:config",
        "Print all settings of a pipeline as YAML.",
    ),
)
