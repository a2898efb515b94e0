"""The training of one process, be it alone, of torchrun, or of Ray; and what the first process writes at the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines.mixes.mix_file import Mix, read_mix
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import sealed
from tagcorpus.pipelines.training import checkpoints, hub_folder
from tagcorpus.pipelines.training.training_plan import TrainingPlan, sequences_at_once
from tagcorpus.pipelines.training.windows import Windows

RUN = "run.json"
FINAL = "final"


def train_here(plan: TrainingPlan, say: Callable[[str], None]) -> None:
    """Train in this process, with the others of its launcher. The first one writes the model's folder."""
    from tagcorpus.pipelines.training import held_out, trainer  # they import torch

    mix = read_mix(plan.mix_path)
    assert plan.config.vocabulary is not None
    windows = Windows(mix, plan.steps * plan.config.batch, plan.config.vocabulary)
    own: Any = trainer.trainer_of(plan, windows, say)
    checkpoint = checkpoints.latest(plan.output)
    if checkpoint is not None:
        say(f"continues from {checkpoint}")
    try:
        own.train(resume_from_checkpoint=checkpoint)
    except trainer.OutOfMemory as error:
        at_once = own.args.per_device_train_batch_size
        raise TagcorpusError(
            f"the device has too little memory for {at_once:,} sequences at once: give --model a file with a device_batch below "
            f"{at_once:,}. The batch stays the same"
        ) from error
    figures = held_out.losses(own, mix, sequences_at_once(plan, own.accelerator.num_processes), plan.config.vocabulary)
    final = f"{checkpoints.folder_of(plan.output)}/{FINAL}"
    own.model.config.use_cache = True  # the Trainer switches it off
    own.save_model(final)
    if own.is_world_process_zero():
        _publish(plan, mix, final, own.state.log_history, figures)


def _publish(plan: TrainingPlan, mix: Mix, final: str, history: Any, figures: dict[str, Any]) -> None:
    output = Folder(plan.output)
    losses = {"training": hub_folder.training_losses(history), "held_out": figures}
    names = hub_folder.publish(output, final, plan, mix, losses)
    files = checkpoints.digests(output, names)
    result = {"steps": plan.steps, "tokens": plan.tokens, "held_out": figures, "files": files}
    value = {"identity": plan.identity(), "model": plan.model, "result": {**result, "versions": _versions()}}
    output.publish(RUN, sealed(value, allow_nan=False))
    shutil.rmtree(checkpoints.folder_of(plan.output), ignore_errors=True)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("tagcorpus", "torch", "transformers", "accelerate")}
