"""The report's first section: what was run, what became of every line, what is in quarantine and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tagcorpus.pipelines.doctor.status import MEANINGS
from tagcorpus.pipelines.inputs.chunks import costs_a_row
from tagcorpus.pipelines.inputs.records import REASONS
from tagcorpus.pipelines.report.sections.folder import Output, Quarantine, RunTold, quarantine
from tagcorpus.pipelines.report.sections.html import Cell, Section, figures, number, percent, size, table, text

SHOWN_RUNS = 40
SHOWN_INPUTS = 100
_FATES = (
    ("read", "gave documents"),
    ("blank", "blank"),
    ("filter_duplicates", "the same sample under another filter"),
    ("unsampled", "not in the sample asked for"),
    ("unreadable", "behind a break in the file"),
)


def runs_section(output: Output) -> Section:
    lost = quarantine(output)
    body = [_figures(output, lost), _runs(output.runs)]
    if output.inputs:
        body.append(_accounted(output.totals(), lost))
    body.append(_quarantine(lost))
    body += [*_filtered(output), *_models(output)]
    if len(output.inputs) > 1:
        body.append(_inputs(output))
    return Section("runs", "Runs and losses", "".join(body))


def _figures(output: Output, quarantined: list[Quarantine]) -> str:
    totals = output.totals()
    rows = totals["lines"] + totals["unreadable"]
    lost = sum(q.rows for q in quarantined) + totals["unreadable"]
    return figures(
        [
            (
                f"{totals['documents']:,}",
                "documents",
                f"{size(totals['text_bytes'])} of text",
            ),
            (f"{len(output.files):,}", "input files", f"{output.rows:,} rows"),
            (f"{lost:,}", "rows lost", percent(lost / rows) if rows else ""),
            (f"{len(output.runs):,}", "runs", ""),
        ]
    )


def _runs(runs: list[RunTold]) -> str:
    rows = [
        (
            Cell(f"<b>{text(run.pipeline)}</b> <span class=dim>{text(_when(run))}</span>{_command(run)}"),
            Cell(f"<span class=whole>{text(_end(run.ledger))}</span>"),
            number(run.ledger.get("totals", {}).get("documents")),
            number(sum(run.ledger.get("totals", {}).get("quarantined", {}).values()) if run.ledger else None),
            _duration(run.ledger.get("seconds")),
            Cell(f"<span class=whole>{text(_place(run.ledger))}</span>"),
        )
        for run in reversed(runs[-SHOWN_RUNS:])
    ]
    caption = "Runs, newest first" if len(runs) <= SHOWN_RUNS else f"The newest {SHOWN_RUNS} of {len(runs):,} runs"
    header = ("Run", "How it ended", "Documents", "Quarantined", "Time", "Where")
    return f"<h3>{caption}</h3>" + table(caption, header, rows, (2, 3, 4)) + _versions(runs)


def _when(run: RunTold) -> str:
    return str(run.command.get("started") or run.name)[:16].replace("T", " ")


def _command(run: RunTold) -> str:
    command = run.command.get("command")
    return f"<code class=command>{text(command)}</code>" if command else ""


def _end(ledger: dict[str, Any]) -> str:
    if not ledger:
        return "no ledger: still running, or killed"
    code = ledger.get("exit_code")
    chunks = f", {ledger.get('ranges_done')} of {ledger.get('ranges_planned')} chunks" if code else ""
    return f"{MEANINGS.get(code, 'unknown') if isinstance(code, int) else 'unknown'} (exit {code}){chunks}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _place(ledger: dict[str, Any]) -> str:
    workers = ledger.get("workers")
    return f"{ledger.get('executor')}, {workers} worker{'s' * (workers != 1)}" if ledger else "–"


def _versions(runs: list[RunTold]) -> str:
    """Of the newest run that says so; what an earlier one had instead is said beside it."""
    told = [run.ledger["versions"] for run in runs if run.ledger.get("versions")]
    if not told:
        return ""
    rows = []
    for name, version in told[-1].items():
        others = sorted({t[name] for t in told if name in t} - {version})
        rows.append((name, version, ", ".join(others) or "–"))
    return (
        "<details><summary>Versions</summary>"
        + table("Versions", ("Package", "Newest run", "Earlier runs"), rows)
        + "</details>"
    )


def _accounted(totals: Counter[str], quarantined: list[Quarantine]) -> str:
    rows = totals["lines"] + totals["unreadable"]
    # A row that gave documents all the same, or that is missing behind a break, was counted already.
    by_reader = sum(q.rows for q in quarantined if costs_a_row(q.reason))
    fates = [(words, totals[key]) for key, words in _FATES]
    fates.insert(1, ("in quarantine", by_reader))
    told = [(words, f"{n:,}", percent(n / rows) if rows else "–") for words, n in fates if n]
    accounted = sum(n for _, n in fates)
    told.append(("all rows", f"{rows:,}", percent(accounted / rows) if rows else "–"))
    more = (
        f"<p>{totals['repaired']:,} rows held lone surrogates, which were replaced.</p>" if totals["repaired"] else ""
    )
    caption = "What became of every row"
    return f"<h3>{caption}</h3>" + table(caption, ("Rows", "Number", "Share"), told, (1, 2)) + more


def _quarantine(found: list[Quarantine]) -> str:
    if not found:
        return "<h3>Quarantine</h3><p>Empty: every row could be used.</p>"
    rows = []
    for entry in found:
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
        told = [(what, f"{n:,}", percent(n / total) if total else "–") for what, n in rows]
        caption = f"Filter: {filtered['keep']}"
        yield f"<h3>{text(caption)}</h3>" + table(caption, ("Rows", "Number", "Share"), told, (1, 2))


def _models(output: Output) -> Iterator[str]:
    """Of a run of `features`: what the filter left of each model's generations."""
    for summary in output.summaries.values():
        told = summary.get("features")
        if not isinstance(told, dict) or not told.get("groups"):
            continue
        rows = []
        for one in told["groups"]:
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
        caption = f"What the filter kept, by {told.get('grouped_by', 'model')}"
        header = (
            str(told.get("grouped_by", "model")).capitalize(),
            "Documents",
            "Kept",
            "Share",
            "Removed",
            "Empty cells",
        )
        absent = "".join(f"<li>{text(what)}: {text(why)}</li>" for what, why in told.get("absent", {}).items())
        yield (
            f"<h3>{text(caption)}</h3>"
            + table(caption, header, rows, (1, 2, 3, 5))
            + (f"<p>Not in the table:</p><ul>{absent}</ul>" if absent else "")
        )


def _inputs(output: Output) -> str:
    """Those with most in quarantine come first."""
    inputs = output.inputs
    worst = sorted(
        inputs, key=lambda n: (-inputs[n].quarantined.total() - inputs[n].counts["unreadable"], -inputs[n].open, n)
    )
    rows = []
    for name in worst[:SHOWN_INPUTS]:
        told = inputs[name]
        counts = (told.counts["lines"], told.counts["documents"], told.counts["blank"], told.quarantined.total())
        rows.append((name, *map(number, counts), f"{told.chunks - told.open} of {told.chunks}"))
    caption = (
        "By input"
        if len(worst) <= SHOWN_INPUTS
        else f"By input: {SHOWN_INPUTS} of {len(worst):,}, those with most in quarantine"
    )
    header = ("Input", "Rows", "Documents", "Blank", "Quarantined", "Chunks done")
    return f"<details><summary>{text(caption)}</summary>{table(caption, header, rows, (1, 2, 3, 4, 5))}</details>"
