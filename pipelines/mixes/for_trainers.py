"""A mix as files of other trainers: Megatron's data path with weights, and OLMo-core's list of sources."""

from __future__ import annotations

import math

import yaml

from tagcorpus.pipelines.mixes.mix_file import Mix

MEGATRON = "megatron.txt"
OLMO_CORE = "olmo_core.yaml"


def megatron(mix: Mix) -> str:
    """Lines `weight prefix`. A group with several files divides its share by their tokens."""
    lines = []
    for name, group in mix.groups.items():
        folder = mix.token_folder(name)
        for file in group["files"]:
            share = group["asked_share"] * file["tokens"] / group["tokens_available"]
            lines.append(f"{share!r} {folder.path(file['prefix'])}\n")
    return "".join(lines)


def olmo_core(mix: Mix) -> str:
    """The `sources` of a source mixture. OLMo-core reads a .bin as flat ids of the mix's dtype."""
    sources = []
    for name, group in mix.groups.items():
        folder = mix.token_folder(name)
        sources.append(
            {
                "source_name": name,
                "target_ratio": group["asked_share"],
                "max_repetition_ratio": float(max(math.ceil(group["epochs"]), 1)),
                "paths": [
                    folder.path(f["prefix"] + ".bin") if folder.is_local else f"{folder}/{f['prefix']}.bin"
                    for f in group["files"]
                ],
            }
        )
    return yaml.safe_dump({"sources": sources}, sort_keys=False, allow_unicode=True, width=4096)
