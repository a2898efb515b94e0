"""Pieces of the report's HTML. Everything that comes from outside (ids, names, commands, documents) goes through `text`
or `as_json`, and nothing else: a value is never put into markup in any other way.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tagcorpus.pipelines.inputs.records import repair

# Control characters as the symbols Unicode has for them: a terminal's escape sequence in a file name shows as what it is.
_VISIBLE = {i: 0x2400 + i for i in range(32) if chr(i) not in "\n\t"} | {0x7F: 0x2421}


class Section(NamedTuple):
    """A part of the page: `body` is HTML, `data` goes into the page's JSON under `id`."""

    id: str
    title: str
    body: str
    data: Any = None


class Cell(NamedTuple):
    """A table cell whose body is HTML already."""

    body: str


def text(value: object) -> str:
    """As HTML text or the value of a quoted attribute."""
    return html.escape(repair(str(value)).translate(_VISIBLE), quote=True)


def as_json(value: Any) -> str:
    """As JSON that may stand in a script element: no `<` is left in it, so no tag and no comment can begin or end there."""
    told = json.dumps(_repaired(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        told = told.replace(character, f"\\u{ord(character):04x}")
    return told


def _repaired(value: Any) -> Any:
    """The same without lone surrogates, and with None for what JSON has no number for."""
    if isinstance(value, str):
        return repair(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {repair(str(k)): _repaired(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_repaired(v) for v in value]
    return value


def number(value: float | None) -> str:
    """To four significant digits, whole from 1,000 on; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}".replace("-", "−")


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def size(n_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000 or unit == "GB":
            break
        n_bytes /= 1000
    return f"{n_bytes:,.0f} bytes" if unit == "bytes" else f"{n_bytes:,.1f} {unit}"


def table(
    caption: str,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    numeric: Iterable[int] = (),
    is_shown: bool = False,
) -> str:
    """A table whose first cell of each row is that row's header. Columns in `numeric` are aligned to the right. The
    caption is for screen readers alone unless `is_shown`."""
    right = set(numeric)

    def cell(i: int, value: object) -> str:
        body = value.body if isinstance(value, Cell) else text(value)
        css = ' class="n"' if i in right else ""
        return f'<th scope="row"{css}>{body}</th>' if i == 0 else f"<td{css}>{body}</td>"

    head = "".join(
        f'<th scope="col"{" class=n" if i in right else ""}>{text(name)}</th>' for i, name in enumerate(header)
    )
    body = "".join(f"<tr>{''.join(cell(i, v) for i, v in enumerate(row))}</tr>" for row in rows)
    hidden = "" if is_shown else ' class="unseen"'
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(caption)}"><table><caption{hidden}>{text(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def chart(id_: str, label: str, alternative: str, css: str = "") -> str:
    """A place for a chart, and the table that says the same. `alternative` is HTML; `label` says what the chart shows."""
    return (
        f'<figure class="{css}"><div class="chart" id="{id_}" role="img" aria-label="{text(label)}"></div>'
        f"<figcaption>{text(label)}</figcaption>"
        f"<details><summary>As a table</summary>{alternative}</details></figure>"
    )


def figures(pairs: Iterable[tuple[str, str, str]]) -> str:
    """Large numbers: (value, what it is, and a word on it)."""
    found = "".join(
        f"<div><dt>{text(what)}</dt><dd><b>{text(value)}</b>{f'<small>{text(more)}</small>' if more else ''}</dd></div>"
        for value, what, more in pairs
    )
    return f'<dl class="figures">{found}</dl>'
