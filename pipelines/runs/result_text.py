"""The summary of a finished run as a person reads it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from tagcorpus.pipelines.runs.run import Result

SHOWN_GROUPS = 200


def table(result: Result, result_file: str | None = None) -> str:
    """The summary as a person reads it. `result_file`: the file that the main result went to, if it did."""
    summary = result.summary
    if extra := summary.get("dry_run"):
        return _dry_run(extra)
    if extra := summary.get("slurm"):
        return "\n".join(f"{k:<18} {v:,}" if isinstance(v, int) else f"{k:<18} {v}" for k, v in extra.items())
    n = result.counts.documents
    lines = [f"{n:,} document{'s' * (n != 1)}{_undocumented(result)} -> {result.output}"]
    if "domain" in summary:
        return "\n".join(
            [*lines, *_domains(summary["domain"]), f"  {result_file or result.output + '/predicted_domains.csv'}"]
        )
    if "features" in summary:
        return "\n".join([*lines, *_features(summary["features"])])
    if "filtered" in summary:
        lines += _filtered(summary["filtered"], result.output)
    if "weighted_mean_entropy" in summary:
        lines += _entropies(summary)
    if "token_files" in summary:
        return "\n".join([*lines, *_token_files(summary["token_files"], result.output)])
    for instance, value in summary.get("instances", {}).items():
        for column, statistics in value["columns"].items():
            lines.append(f"  {instance + '.' + column:<36} {_shown(statistics)}")
    return "\n".join([*lines, *([f"  {result_file}"] if result_file else [])])


def _undocumented(result: Result) -> str:
    """The rows without a document, where there are any: with them, rows and documents add up."""
    counts = result.counts
    fates = [
        (counts.blank, "blank"),
        (counts.refused_rows, "in quarantine"),
        (counts.filter_duplicates, "the same sample again"),
        (counts.unsampled, "not in the sample"),
        (counts.unreadable, "behind a break in the file"),
    ]
    phrases = [f"{n:,} {fate}" for n, fate in fates if n]
    return f" ({', '.join(phrases)}, of {counts.lines + counts.unreadable:,} rows)" if phrases else ""


def _dry_run(estimate: Mapping[str, Any]) -> str:
    lines = []
    for key, value in estimate.items():
        if key == "probe":
            shown = "none, so that bytes to write and CPU-hours are not known"
            if value is not None:
                shown = (
                    f"{value['ranges']} chunk{'s' * (value['ranges'] != 1)} begun: {value['rows']:,} row{'s' * (value['rows'] != 1)}, {_sized(value['text_bytes'])} of text, "
                    f"{value['cpu_seconds']:.2f} s of CPU; scaled by bytes, an estimate"
                )
        elif value is None:
            shown = "not known"
        elif "bytes" in key:
            shown = _sized(value)
        elif key == "cpu_hours":
            seconds = value * 3600
            short = f"{value:.2g} ({seconds:,.0f} s)" if seconds >= 1 else "under 1 s"
            shown = f"{value:.2f}" if value >= 1 else short
        elif isinstance(value, list):
            shown = ", ".join(map(str, value))
        else:
            shown = f"{value:,}" if isinstance(value, int) else str(value)
        lines.append(f"{key:<18} {shown}")
    return "\n".join(lines)


def _sized(n_bytes: float) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return f"{n_bytes:,.0f} bytes"


def _token_files(outcome: Mapping[str, Any], output: str) -> list[str]:
    """A line for each group and side with its documents and tokens; the overlap of both sides; the manifest."""
    lines = [
        f"  tokens of {outcome['tokenizer']['name']} as {outcome['dtype']}, each document with {outcome['eos']['token']} "
        f"(id {outcome['eos']['id']}) at its end"
    ]
    rows = [(group, side, v) for group, sides in outcome["groups"].items() for side, v in sides.items()]
    wide = max((len(group) for group, _, _ in rows), default=0)
    lines += [
        f"  {group:<{wide}}  {side:<8}{v['documents']:>12,} document{'s' if v['documents'] != 1 else ' '}{v['tokens']:>16,} tokens"
        for group, side, v in rows[:SHOWN_GROUPS]
    ]
    if len(rows) > SHOWN_GROUPS:
        lines.append(f"  ... and {len(rows) - SHOWN_GROUPS:,} more")
    if n := outcome["documents"]["left_out"]:
        lines.append(f"  {n:,} document{'s are' if n != 1 else ' is'} left out by --where")
    overlap = outcome["overlap"]
    if overlap and overlap["share"] is not None:
        error = "" if overlap["is_exact"] else f" (a sample; standard error {100 * overlap['standard_error']:.2g})"
        lines.append(
            f"  {100 * overlap['share']:.2f} %{error} of the distinct held-out {overlap['ngram']}-grams occur in training documents"
        )
    return [*lines, f"  {output}/{outcome['manifest']}"]


def _filtered(outcome: Mapping[str, Any], output: str) -> list[str]:
    """Both counts, how many were removed for which reason, and where all those rows are."""
    removed = outcome["removed"]
    lines = [f"  kept {outcome['kept']:,}, removed {sum(removed.values()):,} (by {outcome['keep']})"]
    lines += [f"    {n:>10,}  {reason}" for reason, n in removed.items()]
    written = [f"{output}/{name}" for name in outcome["written"]]
    if len(written) == 1:
        return [*lines, f"  {written[0]} (kept rows: filtered_*, removed rows: removed_*)"]
    return [*lines, f"  kept rows:    {written[0]}", f"  removed rows: {written[1]}"]


def _features(outcome: Mapping[str, Any]) -> list[str]:
    """A line for each row of the table: documents, those that are kept, empty cells."""
    groups, left = outcome["groups"][:SHOWN_GROUPS], len(outcome["groups"]) - SHOWN_GROUPS
    wide = max((len(g["id"]) for g in groups), default=0)
    rows = [
        f"  {g['id']:<{wide}}{g['counts']['generations']:>12,}{g['counts']['kept']:>10,}{g['empty']:>14}"
        for g in groups
    ]
    absent = [f"  {role}: {why}" for role, why in outcome["absent"].items()]
    header = f"  {'id':<{wide}}{'generations':>12}{'kept':>10}{'empty cells':>14}"
    more = [f"  ... and {left:,} more"] if left > 0 else []
    return [header, *rows, *more, *absent, f"  {outcome['table']}"]


def _entropies(outcome: Mapping[str, Any]) -> list[str]:
    if outcome["weighted_mean_entropy"] is None:
        return []
    if "n" not in outcome:
        return [f"  mean over all {outcome['total_contexts']:,} positions: {outcome['weighted_mean_entropy']:.6f} bits"]
    estimates = outcome["estimates"]
    lines = [
        f"  {outcome['what']}",
        f"  {outcome['num_tokens']:,} tokens ({outcome['tokenizer']}), {outcome['total_contexts']:,} positions, "
        f"{outcome['num_unique_contexts']:,} distinct contexts",
        f"  mean over contexts        {outcome['mean_corpus_entropy']:.6f} bits (median {outcome['median_corpus_entropy']:.6f})",
        f"  mean over positions       {outcome['weighted_mean_entropy']:.6f} bits (conditional entropy, plug-in)",
        f"  corrected for its size    {estimates['miller_madow']:.6f} (Miller-Madow), {estimates['chao_shen']:.6f} (Chao-Shen), "
        f"{estimates['chao_wang_jost']:.6f} (Chao-Wang-Jost); sample coverage {100 * (estimates['coverage_entries'] or 0):.1f} %",
    ]
    upper = outcome.get("bracket")
    if upper and upper["cross_entropy"] is not None:
        error = "" if upper["standard_error"] is None else f" (standard error {upper['standard_error']:.6f})"
        lines.append(
            f"  bracket                   {estimates['plug_in']:.6f} to {upper['cross_entropy']:.6f}{error}: plug-in, and Kneser-Ney on "
            f"{upper['documents']:,} held-out documents"
        )
    if budget := outcome.get("token_budget"):
        lines.append(
            f"  at {budget['tokens']:,} tokens ({budget['replicates']} samples, {100 * budget['of_corpus']:.1f} % of the corpus each)"
        )
        for key, label in (
            ("mean_corpus_entropy", "mean over contexts"),
            ("weighted_mean_entropy", "mean over positions"),
        ):
            one = budget[key]
            between = "" if one["low"] is None else f" [{one['low']:.6f}, {one['high']:.6f}]"
            lines.append(f"    {label:<24}{one['mean']:.6f}{between}")
    else:
        lines.append(
            "  (the mean over contexts grows with the corpus: compare corpora of unequal size at one --token-budget)"
        )
    return lines


def _domains(outcome: Mapping[str, Any]) -> list[str]:
    labels, shares = outcome["labels"], outcome["percentages"]
    lines = [f"  labelled by {outcome['backend']}"]
    if "agreement_with_reference" in outcome:
        f = outcome["agreement_with_reference"]
        lines += _wrapped(
            f"(a substitute for the LLM: on {f['n']} held-out web documents it agrees with the LLM's label with "
            f"accuracy {f['accuracy']:.2f}, macro-F1 {f['macro_f1']:.2f}, kappa {f['kappa']:.2f} [{f['kappa_low']:.2f}, {f['kappa_high']:.2f}], "
            f"coverage {f['coverage']:.2f}; always saying the commonest label: {f['majority_accuracy']:.2f})"
        )
    total = sum(labels.values())
    lines.append(f"  {'label':<20}{'documents':>10}{'share':>9}{'domain %':>10}")
    for label, n in labels.items():
        share = shares.get(f"domain_{label}_pct")
        lines.append(f"  {label:<20}{n:>10,}{100 * n / total:>8.1f}%{'' if share is None else f'{share:>9.1f}%'}")
    english = shares["pct_english"]
    if english is not None:
        lines.append(f"  {'English':<20}{'':>19}{english:>9.1f}%")
    return [*lines, "  (domain %: without unknown, incoherent and errors)"]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 80, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _shown(statistics: Mapping[str, Any]) -> str:
    missing = f", {statistics['missing']:,} missing" if statistics.get("missing") else ""
    if "mean" in statistics:
        return f"mean {statistics['mean']:.6g}, median {statistics['p50']:.6g}, {statistics['min']:.6g} to {statistics['max']:.6g}{missing}"
    if "share_true" in statistics and statistics["share_true"] is not None:
        return f"{statistics['true']:,} of {statistics['n']:,} ({100 * statistics['share_true']:.1f} %){missing}"
    if "list_values" in statistics:
        return f"{statistics['list_values']:,} values in {statistics['n']:,} lists{missing}"
    if statistics.get("top"):
        return ", ".join(f"{k} {n:,}" for k, n in list(statistics["top"].items())[:6]) + missing
    return f"no values{missing}"
