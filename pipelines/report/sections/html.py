"""Pieces of the report's HTML: tables, bars, figures, shell lines.

Every value from outside (id, name, command, document) goes into the page through `text` or `as_json`, and in no other way.
"""

from __future__ import annotations

import html
import json
import math
import shlex
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tagcorpus.pipelines.inputs.records import repair
from tagcorpus.pipelines.progress.heartbeat import json_object
from tagcorpus.pipelines.storage.folder import Folder

# Control characters are shown as Unicode's symbols for them, so that an escape sequence in a file name is visible.
_VISIBLE = {i: 0x2400 + i for i in range(32) if chr(i) not in "\n\t"} | {0x7F: 0x2421}

# Longer commands have a line for each option.
SHORT_COMMAND = 60


def documents_in(folder: Folder, under: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and contents of the JSON files below a folder of the output, by name; damaged ones are left out."""
    names = sorted(n for n in folder.files(under) if n.endswith(".json"))
    return [(n, document) for n in names if (document := json_object(folder, n))]


class Section(NamedTuple):
    """A part of the page. `body` is HTML. `data` is for the page's script, under the key `id`."""

    id: str
    title: str
    body: str
    data: Any = None


class Cell(NamedTuple):
    """A table cell whose body is HTML."""

    body: str


def text(value: object) -> str:
    """The value as HTML text, or as the value of a quoted attribute."""
    return html.escape(repair(str(value)).translate(_VISIBLE), quote=True)


def as_json(value: Any) -> str:
    """JSON for a script element. It has no `<`, so that no tag and no comment can begin or end in it."""
    encoded = json.dumps(_repaired(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        encoded = encoded.replace(character, f"\\u{ord(character):04x}")
    return encoded


def _repaired(value: Any) -> Any:
    """The value without lone surrogates, and with None for numbers that JSON does not have."""
    if isinstance(value, str):
        return repair(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {repair(str(k)): _repaired(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_repaired(v) for v in value]
    return value


def number(value: float | None, digits: int = 4) -> str:
    """Significant digits, and whole from 1,000 on; a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}".replace("-", "−")


def percent(share: float | None) -> str:
    if share is None:
        return "–"
    return "under 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    numeric: Iterable[int] = (),
    *,
    is_shown: bool = False,
    css: str = "",
) -> str:
    """A table in a box that scrolls sideways. The first cell of each row is that row's header.

    numeric    columns that are aligned to the right
    is_shown   show the caption; otherwise it is for screen readers only
    css        more classes of the box: `tall` limits its height, `frozen` keeps the header and the first column in view
    """
    right = set(numeric)

    def cell(i: int, value: object) -> str:
        body = value.body if isinstance(value, Cell) else text(value)
        align = ' class="n"' if i in right else ""
        return f'<th scope="row"{align}>{body}</th>' if i == 0 else f"<td{align}>{body}</td>"

    head = "".join(
        f'<th scope="col"{" class=n" if i in right else ""}>{text(name)}</th>' for i, name in enumerate(header)
    )
    body = "".join(f"<tr>{''.join(cell(i, v) for i, v in enumerate(row))}</tr>" for row in rows)
    hidden = "" if is_shown else ' class="unseen"'
    return (
        f'<div class="{f"scroll {css}".rstrip()}" tabindex="0" role="region" aria-label="{text(caption)}"><table>'
        f"<caption{hidden}>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


class Bar(NamedTuple):
    """A row of `bars`: a label, its percentage (None: unknown), the percentage's 95 % interval, and more cells."""

    label: str
    percent: float | None
    interval: tuple[float, float] | None = None
    cells: Sequence[object] = ()


def bars(caption: str, header: Sequence[str], rows: Sequence[Bar]) -> str:
    """A table with a horizontal bar in each row. header: of the label, the share, and the more cells. All bars have one scale,
    from zero to the highest value. If a row has an interval, a line on its bar and a column show it."""
    highest = max((r.interval[1] if r.interval else r.percent or 0 for r in rows), default=0) or 1
    has_intervals = any(r.interval for r in rows)
    label, share, *others = header
    return table(
        caption,
        (label, share, *(["95 % interval"] * has_intervals), *others),
        [
            (
                Cell(f"<span class=barred><span>{text(r.label)}</span>{_bar(r, 100 / highest)}</span>"),
                percent(None if r.percent is None else r.percent / 100),
                *([_interval(r.interval)] * has_intervals),
                *r.cells,
            )
            for r in rows
        ],
        range(1, len(header) + has_intervals),
    )


def _bar(row: Bar, scale: float) -> str:
    width = (row.percent or 0) * scale
    drawn = f'<rect width="{width:.2f}" height="10"/>'
    if row.interval:
        low, high = (value * scale for value in row.interval)
        drawn += f'<path d="M{low:.2f} 5H{high:.2f}M{low:.2f} 2V8M{high:.2f} 2V8"/>'
    return f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{drawn}</svg>'


def _interval(interval: tuple[float, float] | None) -> str:
    return "–" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f} %"


def shell(command: str) -> str:
    """A command with a button that copies it. The button copies the visible text, so that nothing hidden gets into a shell."""
    return (
        '<div class="shell"><button type="button" class="copy" hidden>Copy</button>'
        f"<pre><code>{text(in_lines(command))}</code></pre></div>"
    )


def in_lines(command: str) -> str:
    """The command with a line for each option, if it is long. A command that a shell cannot split stays as it is."""
    if len(command) <= SHORT_COMMAND:
        return command
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("-") and len(word) > 1:
            lines.append([])
        lines[-1].append(shlex.quote(word))
    return " \\\n  ".join(" ".join(line) for line in lines if line)


def chart(id_: str, label: str, alternative: str) -> str:
    """A place for a chart, and a table with the same numbers as HTML. `label` says what the chart shows."""
    return (
        f'<figure class=""><div class="chart" id="{id_}" role="img" aria-label="{text(label)}"></div>'
        f"<figcaption>{text(label)}</figcaption>"
        f"<details><summary>As a table</summary>{alternative}</details></figure>"
    )


def figures(entries: Iterable[tuple[str, str, str]]) -> str:
    """Large numbers: (value, name, remark)."""
    body = "".join(
        f"<div><dt>{text(name)}</dt><dd><b>{text(value)}</b>{f'<small>{text(remark)}</small>' if remark else ''}</dd></div>"
        for value, name, remark in entries
    )
    return f'<dl class="figures">{body}</dl>'
