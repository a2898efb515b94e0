"""Files of the repository that are made from declarations. `python tests/derived.py` writes them again.

docs/options.md                  tables of all options
pipelines/options/keywords.py    keyword arguments of `tagcorpus.run`
docs/signals.md                  the table of columns
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tagcorpus.pipelines.options.pages import keywords_module, options_page
from tagcorpus.taggers.signals import Signals

ROOT = Path(__file__).resolve().parents[1]


def signals_page() -> str:
    """docs/signals.md with its table made anew from the columns of the tagger."""
    page = (ROOT / "docs/signals.md").read_text(encoding="utf-8")
    before, begin, rest = page.partition("<!-- columns: python tests/derived.py -->\n")
    _, end, after = rest.partition("<!-- end of columns -->\n")
    by_source: dict[str, list[str]] = {}
    for field in Signals.columns:
        meaning, unit, source = (
            field.metadata[key].decode().replace("|", "\\|") for key in (b"meaning", b"unit", b"source")
        )
        by_source.setdefault(source, []).append(f"| `{field.name}` | {field.type} | {meaning} | {unit} |")
    lines = []
    for source, rows in by_source.items():
        lines += ["", f"**{source}**", "", "| column | type | what | unit |", "|---|---|---|---|", *rows]
    lines.append("")
    return before + begin + "".join(f"{line}\n" for line in lines) + end + after


FILES: dict[str, Callable[[], str]] = {
    "docs/options.md": options_page,
    "pipelines/options/keywords.py": keywords_module,
    "docs/signals.md": signals_page,
}


def formatted(name: str, text: str) -> str:
    """The text as `ruff format` has it, where it is Python."""
    if not name.endswith(".py"):
        return text
    command = ["ruff", "format", "--config", str(ROOT / "pyproject.toml"), "--stdin-filename", name, "-"]
    path = Path(sys.executable).parent / "ruff"
    command[0] = str(path) if path.exists() else "ruff"
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    for name, make in FILES.items():
        (ROOT / name).write_text(formatted(name, make()), encoding="utf-8")
