"""Loss of a model on the held-out side of each group, and bits per byte where the held-out texts are known.

All processes take part, each with its share of the windows, as a model that is sharded over devices needs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy

from tagcorpus.pipelines.mixes.mix_file import Mix
from tagcorpus.pipelines.training.windows import TokenStream, check_ids


def losses(trainer: Any, mix: Mix, at_once: int, vocabulary: int) -> dict[str, dict[str, Any]]:
    """By group: `loss` in nats a token, `tokens`, and `bits_per_byte` (None without texts). Groups without a held-out
    target are left out."""
    model, accelerator = trainer.model_wrapped, trainer.accelerator
    model.eval()
    result = {}
    for name, group in mix.groups.items():
        if not group["held_out"] or group["held_out"]["tokens"] < 2:  # the first token is not a target
            continue
        stream = TokenStream(mix, name, group["held_out"]["files"])
        sums = torch.zeros(2, dtype=torch.float64)
        for batch, weight in _own(list(_spans(len(stream), mix.sequence_length, at_once)), accelerator):
            ids = np.stack([stream.ids(start, end) for start, end in batch])
            check_ids(ids, vocabulary, f"held-out tokens of group {name!r}")
            sums += weight * _summed(model, ids, accelerator)
        total, n = over_processes(sums, accelerator).tolist()
        n_bytes = text_bytes(mix, name)
        bits = total / math.log(2) / n_bytes if n_bytes else None
        result[name] = {"loss": total / n, "tokens": int(n), "bits_per_byte": bits}
    return result


def over_processes(sums: torch.Tensor, accelerator: Any) -> torch.Tensor:
    """The sums of all processes. They stay float64, since float32 cannot count beyond 2**24; a device without float64 has one process."""
    if accelerator.num_processes == 1:
        return sums
    reduced: torch.Tensor = accelerator.reduce(sums.to(accelerator.device)).cpu()
    return reduced


def _spans(n: int, length: int, at_once: int) -> Iterator[list[tuple[int, int]]]:
    """Batches of windows, each with the token after it. The rest is a batch of its own."""
    whole = [(start, start + length + 1) for start in range(0, n - length, length)]
    for i in range(0, len(whole), at_once):
        yield whole[i : i + at_once]
    start = len(whole) * length
    if n - start > 1:
        yield [(start, n)]


def _own(batches: list[Any], accelerator: Any) -> Iterator[tuple[Any, float]]:
    """The batches of this process. Where there are fewer for it than for others, it repeats the last one with weight 0."""
    step = accelerator.num_processes
    for i in range(0, len(batches), step):
        own = i + accelerator.process_index
        yield batches[min(own, len(batches) - 1)], float(own < len(batches))


def _summed(model: Any, ids: npt.NDArray[np.int64], accelerator: Any) -> torch.Tensor:
    """Sum of the losses of all targets, and their number."""
    tensor = torch.from_numpy(ids).to(accelerator.device)
    with torch.no_grad(), accelerator.autocast():
        logits = model(input_ids=tensor[:, :-1]).logits.float()
        nats = cross_entropy(logits.transpose(1, 2), tensor[:, 1:], reduction="sum")
    return torch.tensor([float(nats), tensor[:, 1:].numel()], dtype=torch.float64)


def text_bytes(mix: Mix, group: str) -> int:
    """Bytes of the held-out texts of a group as UTF-8; 0 where the token files have no texts."""
    held_out = mix.groups[group]["held_out"]
    if "texts" not in held_out:
        return 0
    total = 0
    with mix.token_folder(group).open(held_out["texts"]["name"]) as file:
        for line in file:
            total += len(json.loads(line)["text"].encode("utf-8", "replace"))
    return total
