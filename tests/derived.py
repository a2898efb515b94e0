"""Files of the repository that are made from the declarations of options. `python tests/derived.py` writes them again.

docs/options.md                  tables of all options
pipelines/options/keywords.py    keyword arguments of `tagcorpus.run`
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tagcorpus.pipelines.options.pages import keywords_module, options_page

ROOT = Path(__file__).resolve().parents[1]
FILES: dict[str, Callable[[], str]] = {
    "docs/options.md": options_page,
    "pipelines/options/keywords.py": keywords_module,
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
