"""`tagcorpus mix make`: one mix, from weights or a temperature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.distributions.text_table import text_table
from tagcorpus.pipelines.mixes import for_trainers, tag_means, weights
from tagcorpus.pipelines.mixes.mix_file import MIX, Mix, mix_of, publish, refuse_another
from tagcorpus.pipelines.mixes.sources import Source, Sources, read_sources
from tagcorpus.pipelines.options.commands.mix import MixMakeOptions
from tagcorpus.pipelines.options.declaring.declare import check_bounds
from tagcorpus.pipelines.progress.amounts import times
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import check_folder

ROUNDING = Fraction(1, 100)
"""Written shares may miss 1 by this."""


def make(**options: Any) -> str:
    """Write the mix. The text to print."""
    return _made(MixMakeOptions(**options))


def _made(options: MixMakeOptions) -> str:
    check_bounds(options)
    folder = folder_of(options.output)
    ways = [w for w in (options.weight, options.weights, options.temperature) if w]
    if len(ways) > 1:
        raise ConfigError("--weight, --weights and --temperature exclude each other: give one of them")
    sources = read_sources(options.token_files)
    length = options.sequence_length
    known = {name: s.windows(length) for name, s in sources.groups.items()}
    shares = _weights(options, sources, known)
    whole = weights.integer_weights(shares)
    if small := next((g for g, w in whole.items() if not w), None):
        raise ConfigError(f"group {small!r} has less than one part in {weights.TOTAL:,} of all weights: leave it out")
    limit = weights.limit(shares, known, options.epochs)
    if options.tokens is None:
        n = limit.windows
        if not n:
            raise too_large(sources.groups[limit.group], 1, 0, length, options.epochs)
    else:
        n = windows_of(options.tokens, length)
        if n > limit.windows:
            needed = math.ceil(shares[limit.group] / sum(shares.values()) * n)
            raise too_large(sources.groups[limit.group], needed, limit.windows, length, options.epochs)
    check_windows(n, length)
    means, notes = means_of({s.folder.root: s.folder for s in sources.groups.values()}.values(), sources)
    mix = mix_of(folder, sources, whole, n, settings_of(options), means)
    refuse_another(mix)
    write(mix, with_trainers=True)
    notes += _odd_sum(shares)
    left_out = [name for name in sources.groups if name not in whole]
    notes += [f"not in the mix: {', '.join(left_out)}"] if left_out else []
    notes += [
        f"{' and '.join(names)} have a token file of the same content: its tokens are read once in an epoch of each group"
        for names in same_files(mix)
    ]
    return "\n".join([*table(mix), *notes])


def _odd_sum(given: Mapping[str, Fraction]) -> list[str]:
    """A sentence on weights that look like shares and do not add up to 1."""
    total = sum(given.values(), Fraction(0))
    if len(given) < 2 or max(given.values()) >= Fraction(1) or abs(total - 1) <= ROUNDING:
        return []
    return [f"weights add up to {float(total):.4g}, not to 1, and are taken in proportion"]


def folder_of(path: str) -> Folder:
    """The folder of a mix. Raises ConfigError where `mix make` may not write there."""
    return check_folder("mix make", path, (MIX, for_trainers.MEGATRON, for_trainers.OLMO_CORE))


def _weights(options: MixMakeOptions, sources: Sources, known: Mapping[str, int]) -> dict[str, Fraction]:
    if options.weight:
        chosen = weights.from_flags(options.weight, list(known))
    elif options.weights:
        chosen = weights.from_file(options.weights, list(known))
    else:
        if not any(known.values()):
            raise ConfigError(
                f"no group has a window of {options.sequence_length:,} tokens for training: give a smaller --sequence-length"
            )
        return weights.by_temperature(known, options.temperature or 1.0)
    for name in chosen:
        if not sources.groups[name].tokens:
            raise ConfigError(f"group {name!r} is empty: {sources.groups[name].folder} has no training token of it")
    return chosen


def windows_of(tokens: str, length: int) -> int:
    """Windows of a budget, rounded down. Raises ConfigError where there is none."""
    n = weights.token_count(tokens, "--tokens") // length
    if not n:
        raise ConfigError(f"--tokens {tokens} is less than one window of --sequence-length {length:,}")
    return n


def check_windows(n: int, length: int) -> None:
    if n >= weights.MOST_WINDOWS:
        raise ConfigError(
            f"{n:,} windows of {length:,} tokens are more than a mix can have ({weights.MOST_WINDOWS:,}): raise "
            "--sequence-length, or lower --tokens"
        )


def too_large(source: Source, needed: int, largest: int, length: int, epochs: float) -> ConfigError:
    """The refusal of a budget beyond the cap on epochs. needed: windows of the group; largest: windows of a mix that fits."""
    remedy = (
        f"The largest budget that fits is --tokens {largest * length}"
        if largest
        else f"No budget fits: raise --epochs, lower --sequence-length ({length:,}), or leave the group out"
    )
    return ConfigError(
        f"group {source.name!r} has {source.tokens:,} tokens, and the mix needs {needed * length:,} of it, more than --epochs "
        f"{epochs:g} allows. {remedy}"
    )


def settings_of(options: Any) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("sequence_length", "seed", "epochs")}


def means_of(folders: Any, sources: Sources) -> tuple[dict[str, tag_means.Means], list[str]]:
    """By group of the mix, its tag means; and sentences on what is missing."""
    means: dict[str, tag_means.Means] = {}
    notes: list[str] = []
    for folder in folders:
        by_group, more = tag_means.of_groups(folder)
        notes += more
        own = [s for s in sources.groups.values() if s.folder.root == folder.root]
        means |= {s.name: by_group[s.group] for s in own if s.group in by_group}
    return means, notes


def write(mix: Mix, *, with_trainers: bool) -> None:
    """Publish the files of a mix, first the manifest: from then on, the folder is that of the mix. Raises ConfigError where another
    command has written another mix at the same time."""
    publish(mix)
    if with_trainers:
        mix.folder.publish(for_trainers.MEGATRON, for_trainers.megatron(mix).encode())
        mix.folder.publish(for_trainers.OLMO_CORE, for_trainers.olmo_core(mix).encode())
    refuse_another(mix)


def same_files(mix: Mix) -> list[tuple[str, ...]]:
    """Groups that have a training file of the same content. --epochs does not see that they read the same tokens."""
    by_content: dict[str, list[str]] = {}
    for name, group in mix.groups.items():
        for digest in {file["bin"]["digest"] for file in group["files"] if file["tokens"]}:
            by_content.setdefault(digest, []).append(name)
    return sorted({tuple(names) for names in by_content.values() if len(names) > 1})


def table(mix: Mix) -> list[str]:
    """Groups with asked and realised shares."""
    value = mix.value
    head = f"{value['windows']:,} windows of {value['sequence_length']:,} tokens, {value['tokens']:,} tokens"
    header = ("group", "asked", "share", "epochs", "tokens", "available")
    rows = [
        (
            name,
            f"{g['asked_share']:.4f}",
            f"{g['share']:.4f}",
            times(g["epochs"]),
            f"{g['tokens']:,}",
            f"{g['tokens_available']:,}",
        )
        for name, g in mix.groups.items()
    ]
    return [f"{head} -> {mix.folder}", *text_table(header, rows).split("\n")]
