"""The folder of a trained model: as the model hub has it, with losses, annotations and the record of the run."""

from __future__ import annotations

import csv
import importlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.mixes.mix_file import Mix
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.training.training_plan import TrainingPlan
from tagcorpus.taggers._tokenizers.loading import fingerprint

GROUP_LOSS = "loss/"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
MODEL = ("config.json", "model.safetensors", "generation_config.json", "annotation.json", "losses.json", "losses.csv")


def model_id(output: str) -> str:
    """The last two names of the output's path."""
    return "/".join(part for part in Path(output).parts[-2:] if part not in ("/", ".", ".."))


def check_tokenizer(mix: Mix) -> None:
    """Raise ConfigError where the tokenizer of the mix is not at its place, or cannot be written for the hub."""
    own = mix.value["tokenizer"]
    name = own["name"]
    if name.endswith(".tiktoken"):
        raise ConfigError(
            f"tokenizer: the mix has tokens of {name}, a ranks file, which has no form for the model hub. Tokenize with a "
            "tokenizer.json or an encoding of tiktoken"
        )
    if name.endswith(".json") and not Path(name).is_file():
        raise ConfigError(
            f"tokenizer: {name} is not there. Run the command in the folder where run tokenize found the file"
        )
    if fingerprint(name) != own["fingerprint"]:
        raise ConfigError(f"tokenizer: {name} has changed since the token files were written")


def tokenizer_files(mix: Mix, sequence_length: int) -> dict[str, bytes]:
    """tokenizer.json and tokenizer_config.json."""
    name, eos = mix.value["tokenizer"]["name"], mix.value["eos"]["token"]
    text = Path(name).read_bytes() if name.endswith(".json") else _of_encoding(name)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": eos,
        "eos_token": eos,
        "model_max_length": sequence_length,
        "clean_up_tokenization_spaces": False,
    }
    return dict(zip(TOKENIZER, (text, json.dumps(config, indent=1).encode()), strict=True))


def _of_encoding(name: str) -> bytes:
    """The tokenizer.json of an encoding of tiktoken."""
    import tempfile
    from base64 import b64encode

    from tagcorpus.taggers._tokenizers.encodings import encoding_of

    encoding = encoding_of(name)
    ranks = sorted(encoding._mergeable_ranks.items(), key=lambda item: item[1])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ranks.tiktoken"
        path.write_bytes(b"".join(b64encode(token) + b" %d\n" % rank for token, rank in ranks))
        converter = importlib.import_module("transformers.convert_slow_tokenizer").TikTokenConverter(
            str(path), pattern=encoding._pat_str, extra_special_tokens=encoding._special_tokens
        )
        tokenizer = converter.converted()
    probe = "An 'example' of 3 lines,\n\n  with naïve words\tand 12345 signs: ÿ 漢字 🙂."
    if tokenizer.encode(probe).ids != encoding.encode(probe):
        raise ConfigError(
            f"tokenizer: {name} cannot be converted to a tokenizer.json with the same ids; tokenize with such a file"
        )
    return str(tokenizer.to_str()).encode()


def annotation(plan: TrainingPlan, mix: Mix) -> dict[str, Any]:
    """Annotations of the model for `store import`."""
    own = plan.config
    kv_heads = own.kv_heads or own.heads
    return {
        "id": model_id(plan.output),
        "total_params": own.parameters,
        "dimension": own.hidden,
        "num_heads": own.heads,
        "mlp_ratio": own.ffn / own.hidden,
        "layer_norm_type": "rmsnorm",
        "positional_embeddings": "rope",
        "attention_variant": "full" if kv_heads == own.heads else "mqa" if kv_heads == 1 else "gqa",
        "biases": "none",
        "block_type": "sequential",
        "activation": "silu",
        "sequence_length": plan.sequence_length,
        "batch_instances": own.batch,
        "batch_tokens": own.batch * plan.sequence_length,
        "weight_tying": own.tied,
        "is_instruction_tuned": False,
        "is_preference_tuned": False,
        "pretraining_summary_total_tokens_billions": plan.tokens / 1e9,
        "seed": str(plan.seed),
        "step": plan.steps,
        "corpus": Path(plan.mix_path).name,
        "metadata": {"mix": mix.value["key"], "shares": mix.shares},
    }


def training_losses(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Step, loss and loss of each group, for each log entry of the Trainer."""
    return [
        {
            "step": entry["step"],
            "loss": entry["loss"],
            "groups": {k.removeprefix(GROUP_LOSS): entry[k] for k in sorted(entry) if k.startswith(GROUP_LOSS)},
        }
        for entry in history
        if "loss" in entry
    ]


def losses_csv(losses: dict[str, Any], mix: Mix) -> bytes:
    """A row for each group: mean training loss of the last tenth of the log entries, and held-out figures."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["group", "share", "training_loss", "held_out_loss", "held_out_bits_per_byte", "held_out_tokens"])
    entries = losses["training"]
    last = entries[-max(1, len(entries) // 10) :]
    for name in mix.groups:
        own = [e["groups"][name] for e in last if name in e["groups"]]
        held_out = losses["held_out"].get(name, {})
        figures = [held_out.get(k) for k in ("loss", "bits_per_byte", "tokens")]
        row = [mix.shares[name], sum(own) / len(own) if own else None, *figures]
        writer.writerow([name, *("" if v is None else repr(v) for v in row)])
    return sink.getvalue().encode()


def publish(output: Folder, model_files: str, plan: TrainingPlan, mix: Mix, losses: dict[str, Any]) -> list[str]:
    """Write everything but run.json and the tokenizer. model_files: a folder with what the Trainer saved. All names."""
    generation = {"bos_token_id": plan.eos, "eos_token_id": plan.eos, "do_sample": True, "temperature": 1.0, "top_k": 0}
    files = {
        "generation_config.json": json.dumps(generation, indent=1).encode(),
        "annotation.json": json.dumps(annotation(plan, mix), indent=1).encode(),
        "losses.json": json.dumps(losses, indent=1, allow_nan=False).encode(),
        "losses.csv": losses_csv(losses, mix),
    }
    saved = [
        p for p in sorted(Path(model_files).iterdir()) if p.suffix == ".safetensors" or ".safetensors.index" in p.name
    ]
    for path in [Path(model_files) / "config.json", *saved]:
        with output.publishing(path.name) as sink, open(path, "rb") as source:
            while block := source.read(1 << 24):
                sink.write(block)
    for name, data in files.items():
        output.publish(name, data)
    return sorted(["config.json", *(p.name for p in saved), *files, *TOKENIZER])
