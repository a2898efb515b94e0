"""The report's last section: unusable rows and their reasons, what became of every row, and the runs with their commands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tagcorpus.pipelines.doctor.status import MEANINGS
from tagcorpus.pipelines.inputs.chunks import costs_a_row
from tagcorpus.pipelines.inputs.records import REASONS
from tagcorpus.pipelines.progress.amounts import counted, duration, size
from tagcorpus.pipelines.report.contents.contents import Contents
from tagcorpus.pipelines.report.contents.folder import Output, Quarantine, RecordedRun, quarantine
from tagcorpus.pipelines.report.sections.html import (
    Cell,
    Section,
    figures,
    number,
    percent,
    shell,
    table,
    text,
)

SHOWN_RUNS = 40
# The other runs are folded.
OPEN_RUNS = 8
SHOWN_INPUTS = 100
_FATES = (
    ("read", "gave documents"),
    ("blank", "blank"),
    ("filter_duplicates", "the same sample under another filter"),
    ("unsampled", "not in the sample (--sample)"),
    ("unreadable", "behind a break in the file"),
)


def runs_section(contents: Contents) -> Section | None:
    output = contents.output
    if not output.is_of_pipeline:
        return None
    quarantined = quarantine(output)
    body = [_figures(output, quarantined)]
    if output.inputs:
        body.append(_accounted(output.totals(), quarantined))
    body.append(_quarantine(quarantined))
    body += [*_filtered(output), *_models(output)]
    if len(output.inputs) > 1:
        body.append(_inputs(output))
    body.append(_runs(output.runs))
    return Section("runs", "Runs and unusable rows", "".join(body))


def unusable_rows(output: Output) -> int:
    """Rows in quarantine, and rows that could not be read."""
    rows = sum(counts.quarantined.total() for counts in output.inputs.values())
    return rows + output.totals()["unreadable"]


def _figures(output: Output, quarantined: list[Quarantine]) -> str:
    totals = output.totals()
    rows = totals["lines"] + totals["unreadable"]
    lost = sum(q.rows for q in quarantined) + totals["unreadable"]
    return figures(
        [
            (f"{totals['documents']:,}", "documents", f"{size(totals['text_bytes'])} of text"),
            (f"{len(output.files):,}", "input files", counted(output.rows, "row")),
            (f"{lost:,}", "unusable rows", percent(lost / rows) if rows else ""),
            (f"{len(output.runs):,}", "runs", ""),
        ]
    )


def _runs(runs: list[RecordedRun]) -> str:
    newest = list(reversed(runs[-SHOWN_RUNS:]))
    caption = "Runs, newest first" if len(runs) <= SHOWN_RUNS else f"The newest {SHOWN_RUNS} of {len(runs):,} runs"
    earlier = "".join(map(_run, newest[OPEN_RUNS:]))
    if earlier:
        earlier = f"<details><summary>{counted(len(newest) - OPEN_RUNS, 'earlier run')}</summary>{earlier}</details>"
    return f"<h3>{caption}</h3>{''.join(map(_run, newest[:OPEN_RUNS]))}{earlier}{_versions(runs)}"


def _run(run: RecordedRun) -> str:
    """One run, with its command."""
    ledger = run.ledger
    remarks = [_end(ledger)]
    if ledger:
        totals = ledger.get("totals", {})
        remarks.append(counted(totals.get("documents", 0), "document"))
        remarks.append(f"{sum(totals.get('quarantined', {}).values()):,} quarantined")
        remarks += [duration(ledger.get("seconds") or 0.0), _place(ledger)]
    command = run.command.get("command")
    return (
        f"<article class=run><h4>{text(run.pipeline)} <span class=dim>{text(_when(run))}</span></h4>"
        f"<p class=dim>{''.join(f'<span>{text(remark)}</span>' for remark in remarks)}</p>"
        f"{shell(command) if command else ''}</article>"
    )


def _when(run: RecordedRun) -> str:
    return str(run.command.get("started") or run.name)[:16].replace("T", " ")


def _end(ledger: dict[str, Any]) -> str:
    if not ledger:
        return "no ledger: still running, or killed"
    code = ledger.get("exit_code")
    chunks = f", {ledger.get('ranges_done')} of {ledger.get('ranges_planned')} chunks" if code else ""
    return f"{MEANINGS.get(code, 'unknown') if isinstance(code, int) else 'unknown'} (exit {code}){chunks}"


def _place(ledger: dict[str, Any]) -> str:
    workers = ledger.get("workers")
    return f"{ledger.get('executor')}, {workers} worker{'s' * (workers != 1)}"


def _versions(runs: list[RecordedRun]) -> str:
    """Versions of the newest run that has them, and other versions of earlier runs."""
    versions = [run.ledger["versions"] for run in runs if run.ledger.get("versions")]
    if not versions:
        return ""
    rows = []
    for name, version in versions[-1].items():
        others = sorted({own[name] for own in versions if name in own} - {version})
        rows.append((name, version, ", ".join(others) or "–"))
    return (
        "<details><summary>Versions</summary>"
        + table("Versions", ("Package", "Newest run", "Earlier runs"), rows)
        + "</details>"
    )


def _accounted(totals: Counter[str], quarantined: list[Quarantine]) -> str:
    rows = totals["lines"] + totals["unreadable"]
    # Rows that gave documents all the same, and rows behind a break, are in another line already.
    by_reader = sum(q.rows for q in quarantined if costs_a_row(q.reason))
    fates = [(words, totals[key]) for key, words in _FATES]
    fates.insert(1, ("in quarantine", by_reader))
    lines = [(words, f"{n:,}", percent(n / rows) if rows else "–") for words, n in fates if n]
    accounted = sum(n for _, n in fates)
    lines.append(("all rows", f"{rows:,}", percent(accounted / rows) if rows else "–"))
    more = f"<p>{totals['repaired']:,} rows had lone surrogates, which were replaced.</p>" if totals["repaired"] else ""
    caption = "What became of every row"
    return f"<h3>{caption}</h3>" + table(caption, ("Rows", "Number", "Share"), lines, (1, 2)) + more


def _quarantine(quarantined: list[Quarantine]) -> str:
    if not quarantined:
        return "<h3>Quarantine</h3><p>Empty: every row is usable.</p>"
    rows = []
    for entry in quarantined:
        shown = "".join(
            f"<li><span class=dim>{text(name)}, row {row:,}</span> <code><bdi>{text(head)}</bdi></code></li>"
            for name, row, head in entry.shown
        )
        rows.append(
            (Cell(f"<b>{text(entry.reason)}</b> <span class=dim>{text(_meaning(entry.reason))}</span>"), f"{entry.rows:,}",
             Cell(f"<ul class=heads>{shown}</ul>" if shown else "–"))
        )  # fmt: skip
    caption = "Quarantine by reason, with the first rows of each"
    return f"<h3>{caption}</h3>" + table(caption, ("Reason", "Rows", "First rows"), rows, (1,))


def _meaning(reason: str) -> str:
    if reason.startswith("tagger:"):
        instance, _, error = reason.removeprefix("tagger:").partition(":")
        return f"{instance} raised {error}"
    return REASONS.get(reason, "")


def _filtered(output: Output) -> Iterator[str]:
    for summary in output.summaries.values():
        filtered = summary.get("filtered")
        if not isinstance(filtered, dict):
            continue
        total = filtered["kept"] + sum(filtered["removed"].values())
        rows = [("kept", filtered["kept"]), *(filtered["removed"].items())]
        lines = [(reason, f"{n:,}", percent(n / total) if total else "–") for reason, n in rows]
        caption = f"Filter: {filtered['keep']}"
        yield f"<h3>{text(caption)}</h3>" + table(caption, ("Rows", "Number", "Share"), lines, (1, 2))


def _models(output: Output) -> Iterator[str]:
    """The documents of each model that the filter kept in `run features`."""
    for summary in output.summaries.values():
        result = summary.get("features")
        if not isinstance(result, dict) or not result.get("groups"):
            continue
        rows = []
        for one in result["groups"]:
            counts = one["counts"]
            n, kept = counts["generations"], counts["kept"]
            removed = ", ".join(f"{k:,} {reason}" for reason, k in counts["removed"].items())
            rows.append(
                (
                    one["id"],
                    number(n),
                    number(kept),
                    percent(kept / n) if n else "–",
                    removed or "–",
                    number(one["empty"]),
                )
            )
        group = str(result.get("grouped_by", "model"))
        caption = f"Documents that the filter kept, by {group}"
        header = (group.capitalize(), "Documents", "Kept", "Share", "Removed", "Empty cells")
        absent = "".join(f"<li>{text(name)}: {text(why)}</li>" for name, why in result.get("absent", {}).items())
        yield (
            f"<h3>{text(caption)}</h3>"
            + table(caption, header, rows, (1, 2, 3, 5))
            + (f"<p>Not in the table:</p><ul>{absent}</ul>" if absent else "")
        )


def _inputs(output: Output) -> str:
    """A table of inputs; those with most rows in quarantine come first."""
    inputs = output.inputs
    worst = sorted(
        inputs, key=lambda n: (-inputs[n].quarantined.total() - inputs[n].counts["unreadable"], -inputs[n].open, n)
    )
    rows = []
    for name in worst[:SHOWN_INPUTS]:
        own = inputs[name]
        counts = (own.counts["lines"], own.counts["documents"], own.counts["blank"], own.quarantined.total())
        rows.append((name, *map(number, counts), f"{own.chunks - own.open} of {own.chunks}"))
    caption = (
        "By input"
        if len(worst) <= SHOWN_INPUTS
        else f"By input: {SHOWN_INPUTS} of {len(worst):,}, those with most in quarantine"
    )
    header = ("Input", "Rows", "Documents", "Blank", "Quarantined", "Chunks done")
    return f"<details><summary>{text(caption)}</summary>{table(caption, header, rows, (1, 2, 3, 4, 5))}</details>"
