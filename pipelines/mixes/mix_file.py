"""The manifest of a mix, `mix.json`: groups, shares, windows, and the token files with their digests.

docs/mixes.md describes every entry. Shares, sizes, order and files of a mix follow from the entries that `key` covers;
tag statistics are not among them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import xxhash

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.mixes.order import Order
from tagcorpus.pipelines.mixes.sources import Source, Sources
from tagcorpus.pipelines.mixes.tag_means import Means, of_mix
from tagcorpus.pipelines.mixes.weights import TOTAL
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import opened, proven, sealed
from tagcorpus.pipelines.token_files.sides import HELD_OUT, TRAIN

MIX = "mix.json"
FORMAT = 1
_DECIDING = ("format", "tokenizer", "eos", "dtype", "sequence_length", "seed", "windows")


@dataclass(frozen=True)
class Mix:
    """A mix as its manifest says. folder: where the manifest is."""

    folder: Folder
    value: dict[str, Any]

    @property
    def groups(self) -> dict[str, dict[str, Any]]:
        groups: dict[str, dict[str, Any]] = self.value["groups"]
        return groups

    @property
    def sequence_length(self) -> int:
        return int(self.value["sequence_length"])

    @property
    def shares(self) -> dict[str, float]:
        """Realised shares of tokens, by group."""
        return {name: group["share"] for name, group in self.groups.items()}

    @cached_property
    def order(self) -> Order:
        groups = self.groups.values()
        windows, weights = [g["windows_available"] for g in groups], [g["weight"] for g in groups]
        return Order(list(self.groups), windows, weights, self.value["windows"], self.value["seed"])

    def token_folder(self, group: str) -> Folder:
        """The output of `run tokenize` that has a group."""
        path = self.groups[group]["folder"]
        is_relative = self.folder.is_local and "://" not in path
        return Folder(os.path.normpath(os.path.join(self.folder.root, path)) if is_relative else path)


def mix_of(
    folder: Folder,
    sources: Sources,
    weights: Mapping[str, int],
    windows: int,
    settings: Mapping[str, Any],
    means: Mapping[str, Means],
) -> Mix:
    """The mix of these groups. weights: integers above 0 that sum to TOTAL; settings: `sequence_length`, `seed`, `epochs`."""
    length = settings["sequence_length"]
    chosen = [sources.groups[name] for name in weights]
    order = Order(list(weights), [s.windows(length) for s in chosen], list(weights.values()), windows, settings["seed"])
    for source, n in zip(chosen, order.counts(), strict=True):
        if n > Fraction(str(settings["epochs"])) * source.windows(length):
            raise ConfigError(
                f"group {source.name!r} would be read {n / source.windows(length)} times: lower --tokens by one window"
            )
    groups = {
        s.name: _group(folder, s, weights[s.name], n, windows, length)
        for s, n in zip(chosen, order.counts(), strict=True)
    }
    value = {
        "format": FORMAT,
        **sources.common,
        "sequence_length": length,
        "seed": settings["seed"],
        "windows": windows,
        "tokens": windows * length,
        "epochs_allowed": settings["epochs"],
    }
    for name, group in groups.items():
        group["statistics"] = dict(means.get(name, {}))
    shares = {name: group["share"] for name, group in groups.items()}
    return Mix(folder, {"key": _key(value, groups), **value, "statistics": of_mix(shares, means), "groups": groups})


def _group(folder: Folder, source: Source, weight: int, n: int, windows: int, length: int) -> dict[str, Any]:
    available = source.windows(length)
    train = source.sides[TRAIN]
    is_relative = folder.is_local and source.folder.is_local
    return {
        "asked_share": weight / TOTAL,
        "share": n / windows,
        "weight": weight,
        "windows": n,
        "windows_available": available,
        "epochs": n / available,
        "tokens": n * length,
        "tokens_available": train["tokens"],
        "documents_available": train["documents"],
        "folder": os.path.relpath(source.folder.root, folder.root) if is_relative else str(source.folder),
        "group": source.group,
        "files": train["files"],
        "held_out": source.sides.get(HELD_OUT),
    }


def _key(value: Mapping[str, Any], groups: Mapping[str, Any]) -> str:
    """Of everything that decides which tokens are read in which order, wherever they are stored."""
    deciding = {k: v for k, v in value.items() if k in _DECIDING and k not in ("tokenizer", "eos")}
    own = [
        [name, g["weight"], g["windows_available"], [[f["tokens"], f["bin"], f["idx"]] for f in g["files"]]]
        for name, g in groups.items()
    ]
    tokens = [value["tokenizer"]["fingerprint"], value["eos"]["id"]]
    return xxhash.xxh3_128_hexdigest(json.dumps([deciding, tokens, own], sort_keys=True).encode())


def refuse_another(mix: Mix) -> None:
    """Raise ConfigError where the folder has another mix."""
    folder = mix.folder
    if not folder.exists(MIX):
        return
    stored = opened(folder.read(MIX))
    if stored is None:
        raise ConfigError(f"{folder}/{MIX} is damaged: remove that file, or name another --output")
    if stored.get("key") == mix.value["key"]:
        return
    for key in ("tokenizer", "eos", "sequence_length", "seed", "windows", "groups"):
        before, now = stored.get(key), mix.value[key]
        if key == "groups" and _shown(before) == _shown(now):
            raise ConfigError(
                f"{folder} already has a mix of other token files with these shares: name another --output"
            )
        if before != now:
            names = [f"{key} {_shown(v)}" for v in (before, now)]
            raise ConfigError(
                f"{folder} already has a mix with {names[0]}, and this one has {names[1]}: name another --output"
            )
    raise ConfigError(f"{folder} already has a mix of another format: name another --output")


def _shown(value: Any) -> str:
    if isinstance(value, dict) and ("name" in value or "token" in value):
        return str(value.get("name", value.get("token")))
    if isinstance(value, dict):
        return ", ".join(f"{name} {g.get('asked_share', 0):.4f}" for name, g in value.items())
    return str(value)


def publish(mix: Mix) -> None:
    mix.folder.publish(MIX, sealed(mix.value, allow_nan=False))


def read_mix(path: str) -> Mix:
    """Raises ConfigError where a folder has no mix; InputError for a manifest that is damaged or of a later format."""
    folder = Folder(path)
    data = folder.read(MIX)
    if data is None:
        raise ConfigError(f"{folder} has no {MIX}: first run `tagcorpus mix make --output {path}`")
    value = proven(data)
    if value is None:
        raise InputError(f"{folder}/{MIX} is damaged or was edited: make the mix again in another folder")
    if value.get("format") != FORMAT:
        raise InputError(f"{folder}/{MIX} has format {value.get('format')}, and this version reads {FORMAT}")
    if _key(value, value["groups"]) != value["key"]:
        raise InputError(f"{folder}/{MIX} was edited: its key does not fit its entries. Make the mix again")
    return Mix(folder, value)
