"""From the options `--top`, `--tokens`, `--draw`, `--by`, `--within` and `--weight` to the rule."""

from __future__ import annotations

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.resuming import ResumeState
from tagcorpus.pipelines.filtering import where
from tagcorpus.pipelines.filtering.best import TOKENS, Amount, Best
from tagcorpus.pipelines.options.commands.tag import FilterOptions
from tagcorpus.pipelines.readers.plan import Plan
from tagcorpus.pipelines.readers.reader import ReaderOptions
from tagcorpus.pipelines.storage.folder import Folder


def is_choice(options: FilterOptions) -> bool:
    """Whether a number of documents is chosen, and none judged by itself."""
    given = (options.top, options.draw, options.tokens_at_most, options.by, options.weight, options.within)
    return any(value is not None for value in given)


def check_choice(options: FilterOptions) -> None:
    """Raise ConfigError for options that do not go together."""
    amounts = {"--top": options.top, "--draw": options.draw, "--tokens": options.tokens_at_most}
    given = [name for name, value in amounts.items() if value is not None]
    if len(given) != 1:
        said = " and ".join(given) if given else "none of them"
        raise ConfigError(f"give one of --top, --draw and --tokens for how much is kept, got {said}")
    if options.where is not None or options.preset is not None or options.keep != FilterOptions.keep:
        other = "--where" if options.where is not None else "--preset" if options.preset is not None else "--keep"
        raise ConfigError(f"{given[0]} and {other} are two rules; filter by one, and its result by the other")
    if options.parameters:
        raise ConfigError(f"{given[0]} computes nothing; give parameters of taggers to tagcorpus run tag")
    if given[0] == "--top" and options.by is None:
        raise ConfigError("--top needs --by INSTANCE.COLUMN: the numeric column whose highest values are kept")
    if options.draw is not None and options.by is not None:
        raise ConfigError("--draw chooses at random, so --by changes nothing; use --top, or --weight")
    if options.weight is not None and (options.by is not None or options.top is not None):
        raise ConfigError("--weight goes with --draw, or with --tokens without --by")
    amount(options)


def amount(options: FilterOptions) -> Amount:
    """How much is kept."""
    if options.tokens_at_most is not None:
        return Amount(tokens=options.tokens_at_most)
    name, text = ("--top", options.top) if options.top is not None else ("--draw", options.draw)
    return Amount.read(text or "", name)


def choice(
    output: Folder, plan: Plan, reader_options: ReaderOptions, options: FilterOptions
) -> tuple[Best, ResumeState]:
    """The rule without thresholds, and the parts that it looks at, which all fit the plan. Raises as `where.look_up` does."""
    known = where.known_columns(output)

    def owner(name: str | None, option: str) -> tuple[str, str] | None:
        if name is None:
            return None
        ((instance, columns),) = where.resolve([name.split(".", 1)], known, output, options, option).items()
        if not columns:
            raise ConfigError(f"{name} is not an attribute column; name one as INSTANCE.COLUMN")
        return instance, columns[0]

    by, within = owner(options.by, "--by"), owner(options.within, "--within")
    weight = owner(options.weight, "--weight")
    counted = owner(".".join(TOKENS), "--tokens") if options.tokens_at_most is not None else None
    columns: dict[str, list[str]] = {}
    for place in (by, within, weight, counted):
        if place is not None:
            columns.setdefault(place[0], []).append(place[1])
    if not columns:  # a plain draw looks at the documents of any instance
        columns = where.resolve([], known, output, options, "--draw")
    option = "--top" if options.top is not None else "--draw" if options.draw is not None else "--tokens"
    instances, before = where.look_up(output, plan, reader_options, columns, options, option)
    return Best(instances, amount(options), by, within, weight, options.seed), before
