"""The summary of a finished run as a person reads it: tables that fit the terminal, with paths from the current folder."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from tagcorpus.pipelines.attributes.unread import in_words
from tagcorpus.pipelines.progress.amounts import counted, size
from tagcorpus.pipelines.progress.wrapping import NARROWEST, fitted, wrapped
from tagcorpus.pipelines.runs.result import Result

SHOWN_GROUPS = 200
SHOWN_VALUES = 6
# Without a terminal, lines are as long as their content, and bars are as long as in a terminal of this width.
NATURAL_WIDTH = 1000
PLAIN_WIDTH = 80
LONGEST_BAR = 40


def table(result: Result, result_file: str | None = None, width: int | None = None) -> str:
    """The summary as text.

    result_file  the file that has the main result, if there is one
    width        columns of the terminal; None or 0 if there is none
    """
    width = width or None
    summary = result.summary
    if extra := summary.get("dry_run"):
        return "\n\n".join([*extra.get("shown", []), _dry_run({k: v for k, v in extra.items() if k != "shown"})])
    if extra := summary.get("pilot"):
        text = "\n".join(extra["shown"])
        return fitted(text, width) if width else text
    if extra := summary.get("slurm"):
        return "\n".join(f"{k:<18} {v:,}" if isinstance(v, int) else f"{k:<18} {v}" for k, v in extra.items())
    n = result.counts.documents
    output = shown_path(result.output)
    lines = [f"{counted(n, 'document')}{_undocumented(result)} -> {output}"]
    if width:
        lines = wrapped(lines[0], width, "", "  ")
    if "domain" in summary:
        lines += [
            *_domains(summary["domain"], width),
            *_read_in_part(summary.get("instances", {}), width),
            f"  {shown_path(result_file or output + '/predicted_domains.csv')}",
        ]
        return "\n".join(lines)
    if "features" in summary:
        return "\n".join([*lines, *_features(summary["features"], width)])
    if "filtered" in summary:
        # Columns of all documents would look like those of the kept ones.
        lines += [*_filtered(summary["filtered"], output), *_read_in_part(summary.get("instances", {}), width)]
        return "\n".join([*lines, *([f"  {shown_path(result_file)}"] if result_file else [])])
    if "weighted_mean_entropy" in summary:
        lines += _entropies(summary, width)
    if "token_files" in summary:
        return "\n".join([*lines, *_token_files(summary["token_files"], output, width)])
    lines += _columns(summary.get("instances", {}), width) if n else []
    if n and width and result.pipeline == "tag":
        lines += ["", "  (units and meaning of columns: tagcorpus taggers NAME)"]
    lines += _read_in_part(summary.get("instances", {}), width)
    return "\n".join([*lines, *([f"  {shown_path(result_file)}"] if result_file else [])])


def shown_path(path: str) -> str:
    """The path from the current folder, if the file is in it."""
    if "://" in path or not os.path.isabs(path):
        return path
    try:
        relative = os.path.relpath(path)
    except OSError:  # the current folder is gone
        return path
    return path if relative.split(os.sep, 1)[0] == os.pardir else relative


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
                    f"{value['chunks']} chunk{'s' * (value['chunks'] != 1)} begun: {counted(value['rows'], 'row')}, {size(value['text_bytes'])} of text, "
                    f"{value['cpu_seconds']:.2f} s of CPU; scaled by bytes, an estimate"
                )
        elif value is None:
            shown = "not known"
        elif "bytes" in key:
            shown = size(value)
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


def _grid(
    header: Sequence[str], rows: Sequence[Sequence[str]], width: int | None, left: Sequence[int] = (0,)
) -> list[str]:
    """Lines of a table, indented by two spaces. A long name takes several lines; numbers stay whole.

    left  columns that are aligned to the left
    """
    # Not rich's table: its import takes a tenth of the CPU time of a small run.
    table = [list(header), *map(list, rows)] if any(header) else [list(row) for row in rows]
    widths = [max(_cells(row[i]) for row in table) for i in range(len(header))]
    room = (width or NATURAL_WIDTH) - 2 - sum(widths[1:]) - 2 * (len(widths) - 1)
    widths[0] = max(1, min(widths[0], room))
    lines = []
    for row in table:
        name, *more = _folded(row[0], widths[0])
        cells = [name, *row[1:]]
        padded = [_padded(c, w, i in left) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        lines += [f"  {'  '.join(padded)}".rstrip(), *(f"  {part}".rstrip() for part in more)]
    return lines


def _lines(text: str, width: int | None, rest: str | None = None) -> list[str]:
    """The text indented by two spaces; its further lines begin with `rest`."""
    return wrapped(text, width, "  ", rest) if width else [f"  {text}"]


def _padded(text: str, width: int, is_left: bool) -> str:
    space = " " * (width - _cells(text))
    return text + space if is_left else space + text


def _cells(text: str) -> int:
    """The columns of a terminal that a text takes."""
    return len(text) if text.isascii() else sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _folded(text: str, width: int) -> list[str]:
    """The text in pieces of at most `width` columns, cut behind an underscore or a dot in the second half of a piece if there is one."""
    pieces = [""]
    for character in text:
        if _cells(pieces[-1] + character) > max(width, 2):
            end = max(pieces[-1].rfind("_"), pieces[-1].rfind(".")) + 1
            kept = end if 2 * end > len(pieces[-1]) else len(pieces[-1])
            pieces[-1:] = [pieces[-1][:kept], pieces[-1][kept:]]
        pieces[-1] += character
    return pieces


def _number(value: float) -> str:
    """Four significant digits, and whole numbers below a billion in full."""
    if value == int(value) and abs(value) < 1e9:
        return f"{value:,.0f}"
    if 1000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:#.4g}"


def _columns(instances: Mapping[str, Any], width: int | None) -> list[str]:
    """A table of the numeric columns, and a line for each other column."""
    numbers: dict[str, Mapping[str, Any]] = {}
    others: dict[str, str] = {}
    for instance, value in instances.items():
        for column, statistics in value["columns"].items():
            if "mean" in statistics:
                numbers[f"{instance}.{column}"] = statistics
            else:
                others[f"{instance}.{column}"] = _values(statistics)
    lines = []
    if numbers:
        has_missing = any(s.get("missing") for s in numbers.values())
        rows = [
            [
                name,
                *(_number(s[key]) for key in ("mean", "p50", "min", "max")),
                *([f"{s['missing']:,}"] if has_missing else []),
            ]
            for name, s in numbers.items()
        ]
        header = ["column", "mean", "median", "min", "max", *(["missing"] if has_missing else [])]
        lines += ["", *_grid(header, rows, width)]
    if others:
        lines.append("")
        widest = max(map(len, others))
        for name, text in others.items():
            first = f"  {name:<{widest}}  "
            lines += wrapped(text, width, first) if width and width >= len(first) + NARROWEST else [first + text]
    return lines


def _read_in_part(instances: Mapping[str, Any], width: int | None) -> list[str]:
    """A line for each instance whose tagger read only windows of some documents."""
    lines = []
    for name, value in instances.items():
        if part := value.get("read_in_part"):
            lines += _lines(in_words(name, part), width)
    return ["", *lines] if lines else []


def _values(statistics: Mapping[str, Any]) -> str:
    """The values of a column without numbers."""
    missing = f", {statistics['missing']:,} missing" if statistics.get("missing") else ""
    if statistics.get("share_true") is not None:
        share = 100 * statistics["share_true"]
        return f"true for {statistics['true']:,} of {statistics['n']:,} ({share:.1f} %){missing}"
    if "list_values" in statistics:
        return f"{statistics['list_values']:,} values in {statistics['n']:,} lists{missing}"
    if top := statistics.get("top"):
        names = ", ".join(f"{value} {n:,}" for value, n in list(top.items())[:SHOWN_VALUES])
        left = statistics.get("distinct", len(top)) - SHOWN_VALUES
        return f"{names}{f', and {left:,} more' if left > 0 else ''}{missing}"
    return f"no values{missing}"


def _token_files(outcome: Mapping[str, Any], output: str, width: int | None) -> list[str]:
    """A line for each group and side with its documents and tokens; the overlap of both sides; the manifest."""
    ids = f"token ids of {outcome['tokenizer']['name']} as {outcome['dtype']}; each document ends with {outcome['eos']['token']}"
    lines = wrapped(f"{ids} (id {outcome['eos']['id']})", width or NATURAL_WIDTH, "  ", "    ")
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
    """Both counts, removed rows by reason, and the files with the rows."""
    removed = outcome["removed"]
    lines = [f"  kept {outcome['kept']:,}, removed {sum(removed.values()):,} (by {outcome['keep']})"]
    lines += [f"    {n:>10,}  {reason}" for reason, n in removed.items()]
    names = outcome["written"]
    if content := outcome.get("content"):
        # Removed rows may be in a folder elsewhere.
        places = {n: f"{output}/{n}" if n.startswith("filtered/") else shown_path(n) for n in names}
        return [*lines, *(f"  {content[n]}: {places[n]}" for n in names)]
    written = [f"{output}/{name}" for name in names]
    if len(written) == 1:
        return [*lines, f"  {written[0]} (kept rows: filtered_*, removed rows: removed_*)"]
    return [*lines, f"  kept rows:    {written[0]}", f"  removed rows: {written[1]}"]


def _features(outcome: Mapping[str, Any], width: int | None) -> list[str]:
    """A line for each row of the table: documents, those that are kept, empty cells."""
    groups, left = outcome["groups"][:SHOWN_GROUPS], len(outcome["groups"]) - SHOWN_GROUPS
    rows = [[g["id"], f"{g['counts']['generations']:,}", f"{g['counts']['kept']:,}", f"{g['empty']:,}"] for g in groups]
    lines = _grid(["id", "generations", "kept", "empty cells"], rows, width) if rows else []
    lines += [f"  ... and {left:,} more"] if left > 0 else []
    for role, reason in outcome["absent"].items():
        lines += _lines(f"{role}: {reason}", width, "    ")
    return [*lines, f"  {shown_path(outcome['table'])}"]


def _entropies(outcome: Mapping[str, Any], width: int | None) -> list[str]:
    if outcome["weighted_mean_entropy"] is None:
        return []
    if "n" not in outcome:
        mean = _number(outcome["weighted_mean_entropy"])
        return [f"  mean over all {outcome['total_contexts']:,} positions: {mean} bits"]
    estimates = outcome["estimates"]
    size_of_corpus = (
        f"{outcome['num_tokens']:,} tokens ({outcome['tokenizer']}), {outcome['total_contexts']:,} positions, "
        f"{outcome['num_unique_contexts']:,} distinct contexts"
    )
    lines = [*_lines(outcome["what"], width), *_lines(size_of_corpus, width)]
    rows = [
        ["mean over contexts", _number(outcome["mean_corpus_entropy"]), ""],
        ["median over contexts", _number(outcome["median_corpus_entropy"]), ""],
        ["mean over positions", _number(outcome["weighted_mean_entropy"]), "conditional entropy, plug-in"],
        ["  Miller-Madow", _number(estimates["miller_madow"]), "corrected for the corpus' size"],
        ["  Chao-Shen", _number(estimates["chao_shen"]), "corrected for the corpus' size"],
        ["  Chao-Wang-Jost", _number(estimates["chao_wang_jost"]), "corrected for the corpus' size"],
    ]
    upper = outcome.get("bracket")
    if upper and upper["cross_entropy"] is not None:
        error = "" if upper["standard_error"] is None else f", standard error {_number(upper['standard_error'])}"
        rows.append(
            [
                "  Kneser-Ney",
                _number(upper["cross_entropy"]),
                f"upper end, {upper['documents']:,} held-out documents{error}",
            ]
        )
    lines += ["", *_grid(["entropy", "bits", ""], rows, width, (0, 2))]
    lines.append(f"  sample coverage {100 * (estimates['coverage_entries'] or 0):.1f} %")
    if budget := outcome.get("token_budget"):
        share = f"{100 * budget['of_corpus']:.1f} % of the corpus each"
        rows = []
        for key, name in (
            ("mean_corpus_entropy", "mean over contexts"),
            ("weighted_mean_entropy", "mean over positions"),
        ):
            one = budget[key]
            interval = "" if one["low"] is None else f"[{_number(one['low'])}, {_number(one['high'])}]"
            rows.append([name, _number(one["mean"]), interval])
        header = [f"at {budget['tokens']:,} tokens ({budget['replicates']} samples, {share})", "bits", ""]
        return [*lines, "", *_grid(header, rows, width, (0, 2))]
    advice = "(the mean over contexts grows with the corpus: compare corpora of unequal size at one --token-budget)"
    return [*lines, *_lines(advice, width, "  ")]


def _domains(outcome: Mapping[str, Any], width: int | None) -> list[str]:
    """The labels with bars of their shares."""
    labels, shares = outcome["labels"], outcome["percentages"]
    lines = [f"  labelled by {outcome['backend']}"]
    if "agreement_with_reference" in outcome:
        for text in _agreement(outcome["agreement_with_reference"]):
            lines += wrapped(text, width or PLAIN_WIDTH, "  ", "  ")
    total = sum(labels.values())
    names = max(map(len, labels), default=0)
    room = min(LONGEST_BAR, (width or PLAIN_WIDTH) - max(names, len("label")) - 38)
    most = max(labels.values(), default=0)
    rows = []
    for label, n in labels.items():
        share = shares.get(f"domain_{label}_pct")
        bar = "█" * max(round(room * n / most), 1) if room > 0 and n else ""
        rows.append([label, f"{n:,}", f"{100 * n / total:.1f} %", "" if share is None else f"{share:.1f} %", bar])
    if shares["pct_english"] is not None:
        rows.append(["English", "", "", f"{shares['pct_english']:.1f} %", ""])
    lines += _grid(["label", "documents", "share", "domain %", ""], rows, width, (0, 4)) if rows else []
    return [*lines, "  (domain %: without unknown, incoherent and errors)"]


def _agreement(figures: Mapping[str, Any]) -> list[str]:
    """How well a model that takes the place of an LLM agrees with it; and a warning where a constant label agrees as well."""
    shown = {name: "-" if value is None else f"{value:.2f}" for name, value in figures.items()}
    sentences = [
        f"(a substitute for the LLM: on {figures['n']:,} held-out documents it agrees with the LLM's label with accuracy "
        f"{shown['accuracy']}, macro-F1 {shown['macro_f1']}, kappa {shown['kappa']} [{shown['kappa_low']}, {shown['kappa_high']}], "
        f"coverage {shown['coverage']}; accuracy of the most frequent label alone: {shown['majority_accuracy']})"
    ]
    if figures["accuracy"] <= figures["majority_accuracy"]:
        sentences.append(
            "Warning: the most frequent label alone agrees with the LLM at least as often. Do not use these labels before "
            "`tagcorpus agreement` shows that they fit your documents."
        )
    return sentences
