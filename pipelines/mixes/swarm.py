"""`tagcorpus mix swarm`: mixes for proxy models, with shares drawn around the shares of tokens.

Each mix has a strength, log-uniform between LEAST and MOST as in RegMix (Liu et al. 2025), and its shares are a draw of the
Dirichlet distribution with the parameters strength * share of tokens. A draw that needs more epochs than allowed is drawn
again, so small groups have smaller shares in the swarm than in the distribution.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.mixes import weights
from tagcorpus.pipelines.mixes.make import (
    check_windows,
    folder_of,
    means_of,
    settings_of,
    windows_of,
    write,
)
from tagcorpus.pipelines.mixes.mix_file import Mix, mix_of, refuse_another
from tagcorpus.pipelines.mixes.sources import read_sources
from tagcorpus.pipelines.options.commands.mix import MixSwarmOptions
from tagcorpus.pipelines.options.declaring.declare import check_bounds
from tagcorpus.pipelines.storage.outputs import check_folder

LEAST, MOST = 0.1, 5.0
DRAWS = 2000
"""Draws for one mix before the command gives up."""
TABLE = "swarm.csv"


def swarm(**options: Any) -> str:
    """Write the mixes. The text to print."""
    return _written(MixSwarmOptions(**options))


def _written(options: MixSwarmOptions) -> str:
    check_bounds(options)
    output = check_folder("mix swarm", options.output, [TABLE])
    n_windows = windows_of(options.tokens, options.sequence_length)
    check_windows(n_windows, options.sequence_length)
    sources = read_sources(options.token_files)
    known = {
        name: n for name, s in sources.groups.items() if (n := s.windows(options.sequence_length))
    }  # without groups that have no window
    if len(known) < 2:
        raise ConfigError(f"a swarm needs two groups with windows for training, and there are {len(known)}")
    total = sum(known.values())
    largest = int(Fraction(str(options.epochs)) * total)
    if n_windows > largest:
        most = f"{largest * options.sequence_length:,} tokens" if largest else "less than one window. Raise --epochs"
        raise ConfigError(
            f"--tokens {options.tokens} is more than all groups together have in {options.epochs:g} epochs: {most}"
        )
    folders = {s.folder.root: s.folder for s in sources.groups.values()}
    means, notes = means_of(folders.values(), sources)
    mixes: list[Mix] = []
    refused: Counter[str] = Counter()
    for i in range(options.n):
        whole = _drawn(i, known, n_windows, options, refused)
        if whole is None:
            group, _ = refused.most_common(1)[0]
            raise ConfigError(
                f"mix {i}: none of {DRAWS:,} draws fits --epochs {options.epochs:g} with --tokens {options.tokens}. Group "
                f"{group!r}, with {sources.groups[group].tokens:,} tokens, is the most frequent cause: lower --tokens, or raise "
                "--epochs"
            )
        folder = folder_of(f"{options.output.rstrip('/')}/{name_of(i, options.n)}")
        mix = mix_of(folder, sources, whole, n_windows, settings_of(options), means)
        refuse_another(mix)
        mixes.append(mix)
    data = _csv(mixes, list(known), options.n)
    stored = output.read(TABLE)
    if stored is not None and not data.startswith(stored):  # a larger N adds mixes
        raise ConfigError(f"{output} already has the {TABLE} of another swarm: name another --output")
    for mix in mixes:
        write(mix, with_trainers=False)
    output.publish(TABLE, data)
    n_refused = sum(refused.values())
    draws = f"{n_refused:,} of {n_refused + options.n:,} draws needed more than --epochs {options.epochs:g} allows"
    counts = ", ".join(f"{group} {n:,}" for group, n in refused.most_common(5))
    head = f"{options.n:,} mixes of {n_windows:,} windows of {options.sequence_length:,} tokens -> {output}"
    return "\n".join([head, f"{draws}{f' ({counts})' if counts else ''}; {TABLE} has the shares", *notes])


def name_of(i: int, n: int) -> str:
    return f"mix-{i:0{max(len(str(n - 1)), 4)}d}"


def _drawn(
    i: int, known: Mapping[str, int], n_windows: int, options: MixSwarmOptions, refused: Counter[str]
) -> dict[str, int] | None:
    """Integer weights of mix i, above 0; None where no draw fits. The number of the mix and the seed decide the draws."""
    random = np.random.default_rng([options.seed, i])
    prior = np.array(list(known.values()), float)
    prior /= prior.sum()
    for _ in range(DRAWS):
        strength = math.exp(random.uniform(math.log(LEAST), math.log(MOST)))
        shares = random.dirichlet(strength * prior)
        if not np.isfinite(shares).all():  # all gamma draws were 0: the strength is too small for floats
            continue
        chosen = {g: Fraction(float(s)) for g, s in zip(known, shares, strict=True) if s > 0}
        whole = {g: w for g, w in weights.integer_weights(chosen).items() if w}
        limit = weights.limit({g: chosen[g] for g in whole}, known, options.epochs)
        if n_windows <= limit.windows:
            return whole
        refused[limit.group] += 1
    return None


def _csv(mixes: list[Mix], groups: list[str], n: int) -> bytes:
    """Realised shares, a row for each mix and a column for each group."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(["mix", *groups])
    for i, mix in enumerate(mixes):
        writer.writerow([name_of(i, n), *(repr(mix.shares.get(g, 0.0)) for g in groups)])
    return sink.getvalue().encode()
