"""`tagcorpus train`: the plan, the checks, the training of this process or of workers of Ray, and the folder of the model."""

from __future__ import annotations

import importlib
import os
from typing import Any

from tagcorpus.errors import ConfigError, TagcorpusError
from tagcorpus.pipelines.mixes.mix_file import read_mix
from tagcorpus.pipelines.mixes.sources import prove
from tagcorpus.pipelines.options.commands.mix import TrainOptions
from tagcorpus.pipelines.options.declaring.declare import check_bounds
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import check_folder
from tagcorpus.pipelines.storage.sealed import opened, sealed
from tagcorpus.pipelines.training import checkpoints, hub_folder
from tagcorpus.pipelines.training.in_process import RUN, train_here
from tagcorpus.pipelines.training.training_plan import TrainingPlan, lines, plan_of, sequences_at_once
from tagcorpus.pipelines.training.windows import files_of_mix
from tagcorpus.requirements import how_to_install

NAMES = (RUN, *hub_folder.TOKENIZER, *hub_folder.MODEL, checkpoints.FOLDER)


def train(**options: Any) -> str:
    """Train a model, or print the plan. The text to print; "" in all processes but the first."""
    return _trained(TrainOptions(**options))


def _trained(options: TrainOptions) -> str:
    check_bounds(options)
    output = check_folder("train", options.output, NAMES)
    if not output.is_local:
        raise ConfigError(f"--output {options.output}: training needs a local folder")
    mix = read_mix(options.mix)
    plan = plan_of(options, mix)
    is_first = int(os.environ.get("RANK", "0")) == 0
    devices = options.workers if options.executor == "ray" else int(os.environ.get("WORLD_SIZE", "1"))
    sequences_at_once(plan, devices)
    text = "\n".join(lines(plan, mix, devices))
    if options.dry_run:
        return text if is_first else ""
    stored = opened(output.read(RUN))
    if stored is None and output.exists(RUN):
        raise ConfigError(f"{output}/{RUN} is damaged: name another --output")
    if stored is not None:
        _check_same(output, stored, plan)
    if (
        stored is not None
        and (result := stored["result"])
        and checkpoints.digests(output, result["files"]) == result["files"]
    ):
        return _as_text(output, plan, result["held_out"]) if is_first else ""
    _require()
    hub_folder.check_tokenizer(mix)
    say = Display().say if is_first else _silent
    if is_first:
        for line in text.split("\n"):
            say(line)
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        for group, files in files_of_mix(mix):
            prove(mix.token_folder(group), files)
    if is_first:
        output.publish(RUN, sealed({"identity": plan.identity(), "model": plan.model, "result": None}))
        for name, data in hub_folder.tokenizer_files(mix, plan.sequence_length).items():
            output.publish(name, data)
    if options.executor == "ray":
        from tagcorpus.pipelines.training import on_ray_train

        on_ray_train.train(plan, options.workers, say)
    else:
        train_here(plan, say)
    if not is_first:
        return ""
    stored = opened(output.read(RUN))
    if stored is None or stored["result"] is None:
        raise TagcorpusError(f"{output} has no result of the training: see the messages above")
    return _as_text(output, plan, stored["result"]["held_out"])


def _silent(_: str) -> None:
    pass


def _require() -> None:
    for package in ("torch", "transformers", "accelerate"):
        try:
            importlib.import_module(package)
        except ImportError:
            raise ConfigError(f"train needs {package}: {how_to_install('train')}") from None


def _check_same(output: Folder, stored: dict[str, Any], plan: TrainingPlan) -> None:
    """Raise ConfigError where the output has the run of another plan."""
    for key, value in plan.identity().items():
        before = stored["identity"].get(key)
        if before != value:
            shown = f"{stored['model']} with other settings" if key == "model" else before
            raise ConfigError(
                f"{key}: {output} has a run with {key} {shown}, and this one has {plan.model if key == 'model' else value}. Name "
                "another --output"
            )


def _as_text(output: Folder, plan: TrainingPlan, figures: dict[str, Any]) -> str:
    head = f"{hub_folder.model_id(plan.output)}: {plan.tokens:,} tokens in {plan.steps:,} steps -> {output}"
    rows = []
    for name, own in figures.items():
        bits = "" if own["bits_per_byte"] is None else f", {own['bits_per_byte']:.4f} bits per byte"
        rows.append(f"  {name}: held-out loss {own['loss']:.4f} nats a token{bits}")
    return "\n".join([head, *rows])
