"""Shapes of models: the packaged ones (configs/models/), or a YAML file of the user."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.pipelines.storage.outputs import folder_and_name

ENDINGS = (".yaml", ".yml")


@dataclass(frozen=True)
class ModelConfig:
    """A Llama model and how it is trained.

    ffn                  width of the feed-forward layer, which has a gate (SwiGLU)
    kv_heads             heads of keys and values; None: as many as heads
    tied                 whether input and output embeddings are one matrix
    vocabulary           rows of the embeddings; None: as many as the tokenizer of the mix has
    batch                sequences of a step, on all devices together
    device_batch         sequences that one device has in memory at once; None: its part of the batch
    final_learning_rate  at the end of the cosine; None: a tenth of learning_rate
    warmup               steps
    """

    layers: int
    hidden: int
    heads: int
    ffn: int
    tied: bool
    batch: int
    learning_rate: float
    warmup: int
    kv_heads: int | None = None
    vocabulary: int | None = None
    device_batch: int | None = None
    final_learning_rate: float | None = None

    @property
    def non_embedding_parameters(self) -> int:
        width = self.hidden * (self.kv_heads or self.heads) // self.heads
        layer = 2 * self.hidden**2 + 2 * self.hidden * width + 3 * self.hidden * self.ffn + 2 * self.hidden
        return self.layers * layer + self.hidden

    @property
    def parameters(self) -> int:
        """With embeddings."""
        assert self.vocabulary is not None
        return self.non_embedding_parameters + self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def multiplied_parameters(self) -> int:
        """Those that a token is multiplied with: all but input embeddings that are not the output's, too."""
        assert self.vocabulary is not None
        return self.non_embedding_parameters + self.vocabulary * self.hidden


def names() -> list[str]:
    files = (f.name for f in (resources.files("tagcorpus.configs") / "models").iterdir())
    return sorted(f.removesuffix(".yaml") for f in files if f.endswith(".yaml"))


def load(name: str) -> ModelConfig:
    """The packaged config of this name, or that of a file. Raises ConfigError."""
    if name.endswith(ENDINGS):
        folder, file = folder_and_name(name)
        data = folder.read(file)
        if data is None:
            raise ConfigError(f"--model {name}: there is no such file")
    elif name in names():
        data = (resources.files("tagcorpus.configs") / "models" / f"{name}.yaml").read_bytes()
    else:
        raise ConfigError(unknown_name("model", name, names(), "--model, a name or a YAML file"))
    try:
        value = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ConfigError(f"--model {name} cannot be read: {' '.join(str(error).split())}") from None
    return _checked(value, f"--model {name}")


def _checked(value: Any, where: str) -> ModelConfig:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: the file must be a mapping with keys such as layers and hidden")
    hints = typing.get_type_hints(ModelConfig)
    fields = {f.name: f for f in dataclasses.fields(ModelConfig)}
    for key, given in value.items():
        if key not in fields:
            raise ConfigError(unknown_name("key", str(key), fields, where))
        kinds = typing.get_args(hints[key]) or (hints[key],)
        is_number = float in kinds and isinstance(given, int) and not isinstance(given, bool)
        if type(given) not in kinds and not is_number:
            raise ConfigError(f"{where}: {key} must be {kinds[0].__name__}, got {given!r}")
        if type(given) in (int, float) and not 0 <= given < 1 << 40:
            raise ConfigError(f"{where}: {key} must not be below 0, got {given!r}")
        if type(given) is int and not given and key != "warmup":
            raise ConfigError(f"{where}: {key} must be above 0")
    missing = [name for name, f in fields.items() if f.default is dataclasses.MISSING and name not in value]
    if missing:
        raise ConfigError(f"{where}: {missing[0]} is missing")
    config = ModelConfig(**value)
    kv_heads = config.kv_heads or config.heads
    if config.hidden % config.heads or config.hidden // config.heads % 2 or config.heads % kv_heads:
        raise ConfigError(
            f"{where}: hidden ({config.hidden}) must be a multiple of twice the heads ({config.heads}), and heads a multiple of "
            f"kv_heads ({kv_heads})"
        )
    return config
