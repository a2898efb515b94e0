"""Hooks of the site. Links that leave docs/ become plain text, since the files that they name are not on the site. Short code and the
tables of options get names that site.css knows."""

from __future__ import annotations

import re
from typing import Any

SHORT = 30  # characters of code that a line of a telephone has room for


def on_page_markdown(markdown: str, **_: Any) -> str:
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"`\1`", markdown)


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    html = re.sub(rf"<code>([^<\n]{{1,{SHORT}}})</code>", r'<code class="short">\1</code>', html)
    return f'<div class="options">{html}</div>' if page.file.src_uri == "options.md" else html
