"""What a training run will do, computed before anything starts: steps, tokens, operations, memory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import xxhash

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.mixes.mix_file import Mix
from tagcorpus.pipelines.options.commands.mix import TrainOptions
from tagcorpus.pipelines.progress.amounts import size
from tagcorpus.pipelines.training import model_config
from tagcorpus.pipelines.training.model_config import ModelConfig

LOGGED_STEPS = 2000
"""Losses are written down for about so many steps at most."""


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides a training run, and follows from its options. It travels to the workers of Ray."""

    mix_path: str
    output: str
    model: str
    config: ModelConfig
    sequence_length: int
    steps: int
    windows: int
    seed: int
    checkpoint_every: int
    mix_key: str
    eos: int

    @property
    def tokens(self) -> int:
        return self.steps * self.config.batch * self.sequence_length

    @property
    def logging_steps(self) -> int:
        """The largest divisor of checkpoint_every that logs few enough steps: a resumed run logs the same ones."""
        most = max(1, self.steps // LOGGED_STEPS)
        return next(k for k in range(most, 0, -1) if self.checkpoint_every % k == 0)

    def identity(self) -> dict[str, Any]:
        """By key, what decides the weights."""
        batch = {"batch": self.config.batch, "learning_rate": self.config.learning_rate, "warmup": self.config.warmup}
        config = {k: v for k, v in asdict(self.config).items() if k not in batch and k != "device_batch"}
        digest = xxhash.xxh3_128_hexdigest(json.dumps(config, sort_keys=True).encode())
        return {"mix": self.mix_key, "model": digest, "seed": self.seed, **batch, "steps": self.steps}


def plan_of(options: TrainOptions, mix: Mix) -> TrainingPlan:
    """Raises ConfigError where model, mix and options do not fit."""
    config = model_config.load(options.model)
    changes: Mapping[str, Any] = {
        k: v for k in ("batch", "learning_rate", "warmup") if (v := getattr(options, k)) is not None
    }
    vocabulary = mix.value["tokenizer"]["vocabulary"]
    config = replace(config, **changes, vocabulary=config.vocabulary or vocabulary)
    assert config.vocabulary is not None
    if vocabulary > config.vocabulary:
        raise ConfigError(
            f"vocabulary: the mix has token ids up to {vocabulary - 1:,}, and the model {options.model} has {config.vocabulary:,} "
            "embeddings. Take a model with more, or leave vocabulary out of its file"
        )
    windows = mix.value["windows"]
    steps = windows // config.batch
    if not steps:
        raise ConfigError(
            f"batch: the mix has {windows:,} windows, less than one batch of {config.batch:,} sequences; lower --batch"
        )
    every = options.checkpoint_every or max(1, -(-steps // 10))
    return TrainingPlan(
        options.mix,
        options.output,
        options.model,
        config,
        mix.sequence_length,
        steps,
        windows,
        options.seed,
        every,
        mix.value["key"],
        mix.value["eos"]["id"],
    )


def lines(plan: TrainingPlan, mix: Mix, devices: int) -> list[str]:
    """The plan as text. devices: processes that train."""
    config, own = plan.config, plan.config.non_embedding_parameters
    batch_tokens = config.batch * plan.sequence_length
    n_windows = plan.steps * config.batch
    epochs = ", ".join(f"{name} {g['epochs'] * n_windows / plan.windows:.2f}" for name, g in mix.groups.items())
    rest = plan.windows - n_windows
    unused = f"; windows at the end that fill no batch: {rest:,}" if rest else ""
    needed = memory_bytes(plan, devices)
    rows = {
        "model": f"{plan.model}, {config.parameters:,} parameters, {own:,} without embeddings",
        "tokens": f"{plan.tokens:,} in {plan.steps:,} steps{unused}",
        "batch": f"{config.batch:,} sequences of {plan.sequence_length:,} tokens, {batch_tokens:,} tokens a step, on "
        f"{devices:,} process{'es' * (devices != 1)}",
        "per parameter": f"{plan.tokens / config.parameters:.3g} tokens ({plan.tokens / own:.3g} without embeddings)",
        "epochs": epochs,
        "operations": f"{6 * config.multiplied_parameters * plan.tokens:.3g} FLOPs (6 x parameters x tokens)",
        "memory": f"about {size(needed)} a process{_remedy(needed)}",
        "checkpoints": f"every {plan.checkpoint_every:,} steps",
    }
    return [f"{label:<14} {text}" for label, text in rows.items()]


def _remedy(needed: int) -> str:
    """What to do if this machine has less memory. A GPU can have less still."""
    own = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"; this machine has {size(own)}: lower --batch, or device_batch in a model file" if needed > own else ""


def sequences_at_once(plan: TrainingPlan, devices: int) -> int:
    """Sequences that a process has in memory. Raises ConfigError where the batch cannot be divided."""
    if plan.config.batch % devices:
        raise ConfigError(f"batch: {plan.config.batch:,} sequences cannot be divided among {devices:,} processes")
    share = plan.config.batch // devices
    most = plan.config.device_batch or share
    return next(k for k in range(min(most, share), 0, -1) if share % k == 0)


def memory_bytes(plan: TrainingPlan, devices: int) -> int:
    """Weights, gradients and two moments in 32 bits; logits with their gradient; about 20 numbers of the model's width a token
    and layer for the backward pass."""
    config = plan.config
    assert config.vocabulary is not None
    tokens = sequences_at_once(plan, devices) * plan.sequence_length
    activations = tokens * config.layers * (12 * config.hidden + 4 * config.ffn)
    return 16 * config.parameters + 4 * (3 * tokens * config.vocabulary + activations)
