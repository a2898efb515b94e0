"""The options of `tagcorpus mix make`, `tagcorpus mix swarm`, and `tagcorpus train`, which reads their output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tagcorpus.pipelines.options.declaring.common import RUNNING, output_option
from tagcorpus.pipelines.options.declaring.declare import REQUIRED, option, positional

TOKEN_FILES = "[LABEL=]TOKENS..."


def epochs_option() -> float:
    number: float = option(1.0, "Most times that a group is read.", metavar="E", above=0, at_most=1000)
    return number


def sequence_option() -> int:
    number: int = option(2048, "Tokens of a window, the unit of a mix.", metavar="L", at_least=2, at_most=1 << 24)
    return number


@dataclass(frozen=True)
class MixMakeOptions:
    """Mix the groups of token files (TOKENS: outputs of run tokenize) by shares of tokens. Nothing is copied.

    DIR gets a manifest and two files for other trainers. `dolma mix` copies documents; this command lists the windows of the
    token files in the order in which a trainer reads them.
    """

    token_files: list[str] = positional(TOKEN_FILES)
    output: str = output_option("Folder of the mix.")
    weight: list[str] = option(
        [],
        "Weight of a group, a number, a percentage, or a fraction such as 1/4; repeatable. Groups without a weight are left out.",
        metavar="GROUP=W",
    )
    weights: str | None = option(
        None,
        "Weights in a file: YAML (group: weight), CSV (group,weight), or the proposal.json of mix propose.",
        metavar="FILE",
        is_path=True,
    )
    temperature: float | None = option(
        None,
        "Shares proportional to tokens ** (1/T); 1, the default, is the natural mix; inf: equal shares.",
        metavar="T",
        above=0,
        allows_infinity=True,
    )
    tokens: str | None = option(
        None, "Tokens of the mix, such as 300000, 20M or 1.5B (default: as many as --epochs allows).", metavar="N"
    )
    epochs: float = epochs_option()
    sequence_length: int = sequence_option()
    seed: int = option(0, "Seed of the order of the windows.", at_least=0)


@dataclass(frozen=True)
class MixSwarmOptions:
    """Draw N mixes for proxy models, with shares from Dirichlet distributions around the shares of tokens.

    Their strengths are log-uniform from 0.1 to 5, as in RegMix. DIR gets a folder for each mix, like that of mix make,
    and swarm.csv with all shares. Draws that need more than --epochs are drawn again.
    """

    n: int = positional("N", is_path=False, at_least=1)
    token_files: list[str] = positional(TOKEN_FILES)
    output: str = output_option("Folder of the mixes.")
    tokens: str = option(REQUIRED, "Tokens of each mix, such as 300000, 20M or 1.5B.", metavar="N")
    epochs: float = epochs_option()
    sequence_length: int = sequence_option()
    seed: int = option(0, "Seed of the shares and the order of the windows.", at_least=0)


@dataclass(frozen=True)
class TrainOptions:
    """Train a Llama model on a mix with the Trainer of transformers, and write it as a folder of the model hub to DIR.

    First, the command prints steps, tokens, operations and memory. The same command continues a killed run.
    """

    mix: str = positional("MIX")
    output: str = output_option("Folder of the model; its last two names are the model's id.")
    model: str = option(
        REQUIRED,
        "llama-toy, llama-14m (-60m, -150m, -530m, -1b), paper-220m (-460m, -1b), or a YAML file.",
        metavar="NAME-or-FILE",
    )
    batch: int | None = option(None, "Sequences per step, summed over processes (default: the model's).", at_least=1)
    learning_rate: float | None = option(None, "Peak of the learning rate (default: the model's).", above=0, below=10)
    warmup: int | None = option(None, "Steps of warm-up (default: the model's).", at_least=0)
    seed: int = option(0, "Seed of the first weights.", at_least=0, below=1 << 32)
    checkpoint_every: int | None = option(
        None, "Steps between two checkpoints (default: a tenth of all steps).", group=RUNNING, at_least=1
    )
    executor: Literal["local", "ray"] = option(
        "local", "local: this process, or those of torchrun. ray: workers of Ray Train.", group=RUNNING
    )
    workers: int = option(
        1, "ray: training processes, each with a GPU if the cluster has any.", group=RUNNING, at_least=1
    )
    dry_run: bool = option(False, "Print the plan and stop.", group=RUNNING)
