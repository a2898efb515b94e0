"""What the attributes of a group's documents come to: one row of the feature table, with a reason for every cell left empty.

Only documents that the filter keeps count. A feature with a value per document is left empty where less than a share of
the documents that have a value was kept. Sums are exact integers (moments.py), so a row does not depend on chunks,
workers or the other rows. Reads parts, a chunk and a tagger at a time, and the group's entropy file; no text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tagcorpus.errors import InputError
from tagcorpus.pipelines.attributes.parts import Instance, replaced
from tagcorpus.pipelines.counting.intervals import around, wilson
from tagcorpus.pipelines.feature_table.columns import DOMAINS, SOURCES, STEMS, Stem, extended_columns, numeric_columns
from tagcorpus.pipelines.group_statistics.groups import Group, entropies_name, entropy_name, values_of
from tagcorpus.pipelines.group_statistics.medians import medians_of
from tagcorpus.pipelines.group_statistics.moments import Moments, ratio, ratio_error
from tagcorpus.pipelines.group_statistics.partials import Partial, add_chunk
from tagcorpus.pipelines.group_statistics.rows import KEYWORDS, ChunkRows
from tagcorpus.pipelines.labelling.label_counts import LEFT_OUT, percentages
from tagcorpus.pipelines.readers.plan import Plan, PlannedFile
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import opened

MIN_KEPT_SHARE = 0.5
# What the keyword ratios are per.
PER_CHARACTERS = 100_000
# Of so many rows the values of a column are in memory at once for its medians, 8 bytes each.
KEPT_ROWS = 4_000_000
BY_RULE = "one value for all generations has no deviation"


@dataclass(frozen=True)
class GroupStatistics:
    """One row of the table.

    values    every published column but `id`, in order; None: an empty cell
    reasons   column -> why it is empty, for each of those
    counts    documents (rows, kept, removed by reason, with a value per stem), labels, tokens: for the provenance
    extended  the columns of `extended_columns`, or nothing
    """

    id: str
    values: dict[str, float | None]
    reasons: dict[str, str]
    counts: dict[str, Any]
    extended: dict[str, float | None] = field(default_factory=dict)


def statistics(
    output: Folder,
    plan: Plan,
    groups: Sequence[Group],
    instances: Mapping[str, Instance],
    *,
    min_kept_share: float = MIN_KEPT_SHARE,
    absent: Mapping[str, str] | None = None,
    is_extended: bool = False,
    kept_rows: int = KEPT_ROWS,
    entropy_keys: Mapping[str, str] | None = None,
) -> list[GroupStatistics]:
    """The row of each group, in the order given. Groups that share chunks are best asked for together: each is read once.

    instances  by role, a tagger's name as in SOURCES, keywords, domain, and at least the filter or another one; a role that is not
               there leaves its columns empty
    absent     why a role, or `entropy`, is not there: what the reason of its columns says
    kept_rows  of so many rows the values of a column are held in memory for its medians
    entropy_keys  by group, the key that its entropy must have
    Raises InputError where a part is missing or does not fit the others, ReplacedError for what another run has made.
    """
    absent = absent or {}
    partials = {group.id: Partial() for group in groups}
    by_chunk: dict[tuple[str, int], tuple[PlannedFile, int, list[Group]]] = {}
    of_files: dict[tuple[str, ...], list[Group]] = {}
    for group in groups:
        of_files.setdefault(group.files, []).append(group)
    for same_files in of_files.values():
        for planned, k in same_files[0].chunks(plan):
            by_chunk.setdefault((planned.file.name, k), (planned, k, []))[2].extend(same_files)
    for planned, k, of in by_chunk.values():
        add_chunk(ChunkRows(output, planned, k, instances), instances, of, partials)
    medians: dict[str, dict[str, float]] | None = None
    if is_extended:
        chunks = [(ChunkRows(output, planned, k, instances), of) for planned, k, of in by_chunk.values()]
        medians = medians_of(chunks, instances, kept_rows=kept_rows)
    rows = []
    entropies: Mapping[str, dict[str, Any]] = {} if "entropy" in absent else _entropies(output, groups)
    for group in groups:
        entropy = entropies.get(group.id)
        if entropy is not None and entropy_keys is not None and entropy["key"] != entropy_keys[group.id]:
            raise replaced(output, entropy_name(group.id))
        medians_of_group = None if medians is None else medians.get(group.id, {})
        rows.append(
            _row(group, partials[group.id], instances, entropy, Fraction(str(min_kept_share)), absent, medians_of_group)
        )
    return rows


def _entropies(output: Folder, groups: Sequence[Group]) -> dict[str, dict[str, Any]]:
    """What is published of the groups' entropies, by id."""
    values = values_of(groups)
    if values is not None:
        every = _json(output, entropies_name(values.instance.name)) or {}
        groups_of: dict[str, dict[str, Any]] = every.get("groups", {})
        return groups_of
    each = {group.id: _json(output, entropy_name(group.id)) for group in groups}
    return {group_id: value for group_id, value in each.items() if value is not None}


def _json(output: Folder, name: str) -> dict[str, Any] | None:
    data = output.read(name)
    value = opened(data)
    if data is not None and value is None:
        raise InputError(f"{output}/{name} is damaged: run the pipeline again, which makes it anew")
    return value


class _Cells:
    """Values and reasons as they come to be known."""

    def __init__(self) -> None:
        self.values: dict[str, float | None] = dict.fromkeys(numeric_columns())
        self.reasons: dict[str, str] = {}

    def put(self, column: str, value: float | None, reason: str) -> None:
        self.values[column] = value
        if value is None:
            self.reasons[column] = reason


def _row(
    group: Group,
    partial: Partial,
    instances: Mapping[str, Instance],
    entropy: dict[str, Any] | None,
    share: Fraction,
    absent: Mapping[str, str],
    medians: Mapping[str, float] | None,
) -> GroupStatistics:
    cells = _Cells()
    extended: dict[str, float | None] = dict.fromkeys(extended_columns()) if medians is not None else {}

    def why_absent(role: str) -> str:
        return absent.get(role, f"not computed: {role} was not asked for")

    for stem in STEMS:
        mean, std = f"{stem.name}_mean", f"{stem.name}_std"
        if stem.ddof is None:
            cells.put(std, None, BY_RULE)
            continue
        role = SOURCES[stem.name][0]
        reason = _unfit(stem, partial, share) if role in instances else why_absent(role)
        moments = partial.moments.get(stem.name, Moments()) if not reason else Moments()
        cells.put(mean, moments.mean(), reason)
        cells.put(std, moments.deviation(stem.ddof), reason or "one generation with a value: no deviation with ddof 1")
        if medians is not None and not reason:
            extended |= _extended(stem, moments, medians.get(stem.name))
    shares: dict[str, float | None] = {}
    reason = "no generation that passed the filter has a label" if "domain" in instances else why_absent("domain")
    # Of no generations at all the shares are 0 by definition; of generations that have no label yet they are not known.
    if "domain" in instances and (partial.labels or not (partial.failed or partial.not_selected)):
        shares = percentages(partial.labels, partial.english)
        reason = "no generation has a label other than unknown and incoherent"
    for name in (*(f"domain_{d}_pct" for d in DOMAINS), "pct_english"):
        cells.put(f"{name}_mean", shares.get(name), reason)
    reason = why_absent("entropy") if entropy is None else "no generation that passed the filter has two tokens"
    cells.put("entropy_mean", (entropy or {}).get("mean_corpus_entropy"), reason)
    for name in KEYWORDS:
        missing = [r for r in ("keywords", "length") if r not in instances]
        matches, characters, _ = partial.keywords.get(name, (Moments(), Moments(), Moments()))
        reason = why_absent(missing[0]) if missing else "no generation that passed the filter has a character"
        cells.put(name, ratio(matches, characters, PER_CHARACTERS), reason)
    if medians is not None:
        extended |= {"generations": partial.rows, "generations_kept": partial.kept}
        extended |= _extended_shares(partial) if shares else {}
        extended |= _further_entropy(entropy or {})
        for name, sums in partial.keywords.items():
            error = ratio_error(*sums, scale=PER_CHARACTERS)
            extended[f"{name}_se"] = error
            extended[f"{name}_low95"], extended[f"{name}_high95"] = around(cells.values[name], error, sums[0].n)
    counts = {
        "generations": partial.rows,
        "kept": partial.kept,
        "removed": dict(sorted(partial.removed.items())),
        "with_a_value": {s: partial.tagged[s] for s in SOURCES if SOURCES[s][0] in instances},
        "with_a_value_and_kept": {s: m.n for s, m in partial.moments.items()},
        "labels": dict(sorted(partial.labels.items())),
        "without_label": {"not_selected": partial.not_selected, "failed": partial.failed},
        "entropy_tokens": (entropy or {}).get("num_tokens"),
    }
    for name in (n for n, value in extended.items() if value is None):
        cells.reasons[name] = _why_not_extended(name, cells)
    values = {name: None if value is None else float(value) for name, value in cells.values.items()}
    extended_values = {name: None if value is None else float(value) for name, value in extended.items()}
    return GroupStatistics(group.id, values, cells.reasons, counts, extended_values)


def _unfit(stem: Stem, partial: Partial, share: Fraction) -> str:
    """Why a feature with a value per document has none for the group; "" where it has."""
    tagged, kept = partial.tagged[stem.name], partial.moments.get(stem.name, Moments()).n
    if not tagged:
        return "no generation has a value"
    if kept < share * tagged:
        return (
            f"{kept:,} of the {tagged:,} generations with a value passed the filter, a smaller share than "
            f"--min-kept-share {float(share):g}"
        )
    return "" if kept else "no generation with a value passed the filter"


def _extended(stem: Stem, moments: Moments, median: float | None) -> dict[str, float | None]:
    error = moments.standard_error()
    low, high = around(moments.mean(), error, moments.n)
    named = {"n": moments.n, "median": median, "se": error, "low95": low, "high95": high}
    return {f"{stem.name}_{name}": value for name, value in named.items()}


def _extended_shares(partial: Partial) -> dict[str, float | None]:
    n = sum(count for label, count in partial.labels.items() if label not in LEFT_OUT)
    counts = {f"domain_{d}_pct": partial.labels[d] for d in DOMAINS} | {"pct_english": partial.english}
    more: dict[str, float | None] = {"domain_n": n}
    for name, count in counts.items():
        low, high = wilson(count, n)
        more |= {f"{name}_low95": low, f"{name}_high95": high}
    return more


def _further_entropy(entropy: Mapping[str, Any]) -> dict[str, float | None]:
    estimates, budget = entropy.get("estimates") or {}, entropy.get("token_budget") or {}
    more = {
        "num_tokens": entropy.get("num_tokens"),
        "num_contexts": entropy.get("num_unique_contexts"),
        "median": entropy.get("median_corpus_entropy"),
        "weighted": entropy.get("weighted_mean_entropy"),
        **{name: estimates.get(name) for name in ("miller_madow", "chao_shen", "chao_wang_jost")},
        "coverage": estimates.get("coverage_entries"),
        "budget_tokens": budget.get("tokens"),
    }
    for name, figure in (("at_budget", "mean_corpus_entropy"), ("weighted_at_budget", "weighted_mean_entropy")):
        at = budget.get(figure) or {}
        more |= {name: at.get("mean"), f"{name}_low95": at.get("low"), f"{name}_high95": at.get("high")}
    return {f"entropy_{name}": value for name, value in more.items()}


def _why_not_extended(name: str, cells: _Cells) -> str:
    """Why a column of `extended_columns` is empty: as its mean is, or for a reason of its own."""
    stem = extended_columns()[name].stem
    column = "pct_english_mean" if stem == "domain" else stem if stem in KEYWORDS else f"{stem}_mean"
    if stem in SOURCES or stem in KEYWORDS:
        return cells.reasons.get(column, "one generation with a value: no standard error")
    if column in cells.reasons:
        return cells.reasons[column]
    return "no token budget was asked for" if "budget" in name else "not to be told from so few tokens"
