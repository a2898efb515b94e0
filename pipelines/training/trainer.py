"""The Trainer of transformers over the windows of a mix. Only `train` imports this module: it imports torch.

Sample i of the mix is sequence i of the training, so a step reads the same tokens whatever happened before. The loss is the mean
over the targets of a batch, and is written down for each group.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import set_seed
from transformers.utils import logging

from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines.training import checkpoints
from tagcorpus.pipelines.training.held_out import over_processes
from tagcorpus.pipelines.training.training_plan import TrainingPlan, sequences_at_once
from tagcorpus.pipelines.training.windows import Windows

SHOWN_DOCUMENTS = 20
OutOfMemory = torch.OutOfMemoryError


class MixTrainer(Trainer):
    """A Trainer that keeps the loss of each group, and ends at a loss that is not a number."""

    def __init__(self, windows: Windows, **more: Any) -> None:
        super().__init__(train_dataset=windows, **more)
        self.model_accepts_loss_kwargs = False
        self.windows = windows
        self.sums = torch.zeros(len(windows.streams), 2, dtype=torch.float64)
        """By group, the sum of the losses of sequences and the number of them, since the last log entry."""

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,  # noqa: ARG002
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> Any:
        losses = sequence_losses(model, inputs["ids"])
        own = losses.detach().double().cpu()
        if not torch.isfinite(own).all():
            raise self._not_a_number(inputs["sample"][~torch.isfinite(own)].tolist(), len(own))
        groups = inputs["group"].cpu()
        self.sums[:, 0].index_add_(0, groups, own)
        self.sums[:, 1].index_add_(0, groups, torch.ones_like(own))
        return losses.mean()

    def _not_a_number(self, samples: list[int], n_sequences: int) -> TagcorpusError:
        documents = [place for i in samples for place in self.windows.documents(i)]
        by_file: dict[str, list[int]] = {}
        for place in documents:
            by_file.setdefault(f"group {place.group!r} ({place.prefix})", []).append(place.number)
        shown = [
            f"{file}: {', '.join(map(str, numbers[:SHOWN_DOCUMENTS]))}{', ...' * (len(numbers) > SHOWN_DOCUMENTS)}"
            for file, numbers in ((f, sorted(set(own))) for f, own in by_file.items())
        ]
        return TagcorpusError(
            f"the loss of step {self.state.global_step + 1} is not a number, in {len(samples)} of {n_sequences} sequences. "
            f"Document numbers of these sequences, from 0: {'; '.join(shown)}"
        )

    def log(self, logs: dict[str, float], *more: Any, **others: Any) -> None:
        """With the mean loss of each group since the last entry."""
        if "loss" in logs:
            if not math.isfinite(logs.get("grad_norm", 0.0)):
                raise TagcorpusError(
                    f"the gradient of step {self.state.global_step} is not a number: try a lower --learning-rate"
                )
            sums = over_processes(self.sums, self.accelerator).clone()
            self.sums.zero_()
            for stream, (total, n) in zip(self.windows.streams, sums.tolist(), strict=True):
                if n:
                    logs[f"loss/{stream.group}"] = total / n
        super().log(logs, *more, **others)


def sequence_losses(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """The mean loss of each sequence, whose last id is a target only. ids: [sequences, length + 1]."""
    logits = model(input_ids=ids[:, :-1]).logits.float()
    return cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none").mean(1)


class Progress(TrainerCallback):
    """Says how far the training is, and seals each checkpoint when all processes have written their part."""

    def __init__(self, output: str, say: Callable[[str], None]) -> None:
        self.output, self.say = output, say

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:  # noqa: ARG002
        step, steps = state.global_step, state.max_steps
        if (
            state.is_world_process_zero
            and "loss" in (logs or {})
            and (step == 1 or step * 20 // steps > (step - 1) * 20 // steps)
        ):
            self.say(f"step {step:,} of {steps:,}: loss {logs['loss']:.4f}")

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:  # noqa: ARG002
        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            checkpoints.seal(self.output, state.global_step)


def llama(plan: TrainingPlan) -> LlamaForCausalLM:
    """The model with its first weights."""
    own = plan.config
    assert own.vocabulary is not None
    config = LlamaConfig(
        vocab_size=own.vocabulary,
        hidden_size=own.hidden,
        intermediate_size=own.ffn,
        num_hidden_layers=own.layers,
        num_attention_heads=own.heads,
        num_key_value_heads=own.kv_heads or own.heads,
        max_position_embeddings=plan.sequence_length,
        tie_word_embeddings=own.tied,
        bos_token_id=plan.eos,  # a text begins after the end of another one
        eos_token_id=plan.eos,
        pad_token_id=None,
        use_cache=True,
    )
    set_seed(plan.seed)
    return LlamaForCausalLM(config)


def trainer_of(plan: TrainingPlan, windows: Windows, say: Callable[[str], None]) -> MixTrainer:
    """The Trainer of this process, which finds the others by the environment variables of its launcher."""
    own = plan.config
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    at_once = sequences_at_once(plan, devices)
    has_gpu = torch.cuda.is_available()
    final = own.final_learning_rate if own.final_learning_rate is not None else own.learning_rate / 10
    arguments = TrainingArguments(
        output_dir=checkpoints.folder_of(plan.output),
        max_steps=plan.steps,
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=own.batch // devices // at_once,
        learning_rate=own.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr": min(final, own.learning_rate)},
        warmup_steps=own.warmup,
        weight_decay=0.01,
        adam_beta1=0.9,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        train_sampling_strategy="sequential",
        seed=plan.seed,
        bf16=has_gpu and torch.cuda.is_bf16_supported(),
        use_cpu=not has_gpu,
        logging_steps=plan.logging_steps,
        logging_nan_inf_filter=False,
        save_steps=plan.checkpoint_every,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=has_gpu,
    )
    transformers_log: Any = logging
    transformers_log.disable_progress_bar()
    transformers_log.set_verbosity_error()  # else it names tied weights as missing when a run continues
    trainer = MixTrainer(
        windows, model=llama(plan), args=arguments, data_collator=collate, callbacks=[Progress(plan.output, say)]
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def collate(samples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    return {
        "ids": torch.stack([torch.from_numpy(s["ids"]) for s in samples]),
        "group": torch.tensor([s["group"] for s in samples]),
        "sample": torch.tensor([s["sample"] for s in samples]),
    }
