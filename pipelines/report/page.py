"""The page around the report's sections: style, script, data and the plotting library in one file that loads nothing.

A Content-Security-Policy allows only the scripts whose digests are in it, and no request. So a document that got into the page
as markup could neither run nor send anything. The library (plotly.js, from the installed package plotly) is deflated, which
makes it 2 MB instead of 5. The page unpacks it after it is shown.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.progress.amounts import size
from tagcorpus.pipelines.report.sections.html import Section, as_json, text
from tagcorpus.requirements import how_to_install

_SIZE = "(size of page)"
BEGINNING = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\''
)
"""How every page begins."""


def page(title: str, introduction: str, sections: Sequence[Section], versions: dict[str, Any]) -> bytes:
    """The whole file. Equal arguments give equal bytes with equal versions of plotly and zlib.

    introduction  HTML below the title
    versions      programs that made the page

    Raises ConfigError if plotly is not installed.
    """
    library, library_digest = _library()
    script = _asset("page.js")
    policy = (
        f"'{_digest(script)}' '{library_digest}'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    links = "".join(f'<li><a href="#{s.id}">{text(s.title)}</a></li>' for s in sections)
    body = "".join(
        f'<section id="{s.id}" aria-labelledby="{s.id}-title"><h2 id="{s.id}-title">{text(s.title)}</h2>{s.body}</section>'
        for s in sections
    )
    data = as_json({s.id: s.data for s in sections if s.data is not None})
    made = ", ".join(f"{name} {version}" for name, version in versions.items())
    whole = (
        f'{BEGINNING}; script-src {policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{text(title)}</title>"
        '<link rel="icon" href="data:,">'
        f"<style>{_asset('page.css')}</style></head><body>"
        '<a class="skip" href="#content">To the content</a>'
        f'<header><div class="wide"><h1>{text(title)}</h1><p>{introduction}</p>'
        '<button type="button" id="theme" hidden>Dark theme</button></div></header>'
        f'<nav aria-label="Sections"><ul class="wide">{links}</ul></nav>'
        f'<main id="content" class="wide">'
        '<noscript><p class="note">Charts, sorting and sampled documents need JavaScript. The script is in this page, and loads nothing.</p></noscript>'
        f"{body}</main>"
        f'<footer><div class="wide"><p>Made by {text(made)}. {_SIZE}, with its charts and documents. It loads nothing.</p></div></footer>'
        f'<script type="application/json" id="data">{data}</script>'
        f'<script type="application/octet-stream" id="library">{library}</script>'
        f"<script>{script}</script></body></html>\n"
    ).encode("utf-8", "replace")
    return whole.replace(_SIZE.encode(), f"This page has {size(len(whole))}".encode(), 1)


def check_library() -> None:
    """Raises ConfigError if plotly is not installed."""
    try:
        import plotly.offline  # noqa: F401 - only to see whether it is installed
    except ImportError as error:
        raise ConfigError(f"the report needs plotly for its charts: {how_to_install('report', 'plotly')}") from error


@cache
def _library() -> tuple[str, str]:
    """plotly.js, deflated and in base64, and the digest for the page's policy."""
    check_library()
    import plotly.offline

    source: str = plotly.offline.get_plotlyjs()
    return base64.b64encode(zlib.compress(source.encode(), 9)).decode(), _digest(source)


def _asset(name: str) -> str:
    return (files("tagcorpus.pipelines.report") / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
