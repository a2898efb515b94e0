"""The options of `tagcorpus mix fit` and `tagcorpus mix propose`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tagcorpus.pipelines.options.declaring.common import INPUT, file_option, output_option, workers_option
from tagcorpus.pipelines.options.declaring.declare import as_json, option, positional


@dataclass(frozen=True)
class MixFitOptions:
    """Predict outcomes of mixes from their shares, and measure the error.

    SHARES is a CSV with an id and a share for each source, or a folder of mixes. OUTCOMES is a CSV with an id and a column for
    each outcome, or a folder of models that train wrote. RegMix's pairs of CSVs and olmix's ratios.csv and metrics.csv are read as
    they are.
    """

    shares: str = positional("SHARES")
    outcomes: str = positional("OUTCOMES")
    new_mixes: str | None = file_option(
        "Also predict the mixes of this file, which has a form of SHARES.", metavar="FILE", flags=("--for",)
    )
    id_column: str | None = option(
        None,
        "The column of ids (default: run, run_id, mix, id, index or name).",
        flags=("--id",),
        metavar="COLUMN",
        group=INPUT,
    )
    outcome: Sequence[str] = option(
        [], "A column of OUTCOMES to predict; repeatable (default: all numeric columns).", metavar="COLUMN"
    )
    statistics: str | None = file_option(
        "Statistics of each source, weighted by tokens: a CSV with the column source.", metavar="CSV"
    )
    column: Sequence[str] = option(
        [], "A column of --statistics (default: all), or a tag of the mixes; at most five; repeatable.", metavar="NAME"
    )
    permutations: int = option(
        19, "Fits with the statistics of other sources, to test whether the right ones matter.", at_least=0
    )
    seed: int = option(0, "Seed of the folds, the draws and the permutations.", at_least=0)
    output: str | None = output_option("Folder of the fit (default: ./mix-fit).", None)
    as_json: bool = as_json("As JSON.")
    workers: int | None = workers_option()


@dataclass(frozen=True)
class MixProposeOptions:
    """Propose the shares with the best predicted outcome within bounds. FIT is the folder of a mix fit.

    Give --lowest or --highest: the fit does not know which outcomes are better. The file has the predicted outcomes, so that you
    can compare them with those of the trained model.
    """

    fit: str = positional("FIT")
    outcome: Sequence[str] = option([], "An outcome of the fit; repeatable (default: the mean of all).", metavar="NAME")
    is_lowest: bool = option(False, "Lower outcomes are better, such as losses.", flags=("--lowest",))
    is_highest: bool = option(False, "Higher outcomes are better, such as accuracies.", flags=("--highest",))
    at_most: Sequence[str] = option([], "Largest share of a source; repeatable.", metavar="SOURCE=X")
    tokens: str | None = file_option("Tokens of each source: a CSV with the columns source and tokens.", metavar="CSV")
    budget: int | None = option(
        None, "Tokens of the training run, such as 20M or 1.5B.", metavar="TOKENS", at_least=1, unit="count"
    )
    epochs: float = option(
        4.0, "Times that a source may be repeated within --budget; inf: no limit.", above=0, allows_infinity=True
    )
    kl: float = option(
        0.0, "Weight of the Kullback-Leibler divergence from the natural mix (that of --tokens), in nats.", at_least=0
    )
    seed: int = option(0, "Seed of the starting points of the search.", at_least=0)
    output: str | None = output_option("File of the proposal (default: FIT/proposal.json).", None, metavar="FILE.json")
    as_json: bool = as_json("As JSON.")
