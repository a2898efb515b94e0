"""The pages of docs/: every block of commands or Python runs and prints what the page shows, unless the page says why not."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from slurm_commands import invoke

ROOT = Path(__file__).resolve().parents[1]
DOCS = {p.name: p.read_text(encoding="utf-8") for p in sorted((ROOT / "docs").glob("*.md"))}
PAGES = DOCS | {"README.md": (ROOT / "README.md").read_text(encoding="utf-8")}
_BLOCK = re.compile(
    r"(?P<before>[^\n]*)\n(?P<fence>```+)(?P<kind>\w*)\n(?P<code>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE
)
RUNNABLE = ("console", "python")


def blocks(text: str) -> Iterator[tuple[str, str, str]]:
    """(kind, code, comment above it) of each fenced block, in order."""
    for match in _BLOCK.finditer(text):
        comment = re.match(r"<!-- (.*) -->$", match["before"].strip())
        yield match["kind"], match["code"], comment[1] if comment else ""


def is_run(kind: str, comment: str) -> bool:
    return kind in RUNNABLE and not comment.startswith(("not run: ", "file: "))


def commands(code: str) -> Iterator[tuple[str, list[str]]]:
    """(command, lines that the page shows below it) of a console block."""
    for piece in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
        command, *shown = re.sub(r"\\\n\s*", "", piece).splitlines()
        yield command, [line for line in shown if line.strip() not in ("", "...")]


@pytest.mark.parametrize("page", DOCS)
def test_what_does_not_run_says_why(page: str) -> None:
    for kind, code, comment in blocks(DOCS[page]):
        if kind in ("sh", "bash", "shell"):
            assert re.match(r"not run: \S", comment), (
                f"{page}: a console block runs in a test; above this one, say why it does not:\n{code}"
            )


@pytest.mark.e2e
@pytest.mark.parametrize(
    "page", [p for p, text in PAGES.items() if any(is_run(kind, comment) for kind, _, comment in blocks(text))]
)
def test_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.setenv("COLUMNS", "100")
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # where dataclasses look for a class's names
    with contextlib.chdir(tmp_path):
        for kind, code, comment in blocks(PAGES[page]):
            if comment.startswith("file: "):
                (tmp_path / comment.removeprefix("file: ")).write_text(code)
            if not is_run(kind, comment):
                continue
            if kind == "python":
                packages = re.findall(r"^\s*(?:import|from) (\w+)", code, re.MULTILINE)
                for package in packages:
                    pytest.importorskip(package)
                exec(compile(code, page, "exec"), vars(module))
            else:
                _run(code, page)


def _run(code: str, page: str) -> None:
    for command, shown in commands(code):
        program, *arguments = shlex.split(command, comments=True)
        assert program == "tagcorpus", f"{page}: {command}"
        done = invoke(*arguments)
        assert done.code == 0, f"{page}: {command}\n{done.err}"
        printed = {_squeezed(line) for line in f"{done.out}\n{done.err}".splitlines()}
        for line in shown:
            assert any(p.startswith(_squeezed(line)) for p in printed), (
                f"{page}: {command}\nshows {line!r}\n{done.out}{done.err}"
            )


def _squeezed(line: str) -> str:
    return " ".join(line.split())


def test_every_page_is_in_the_navigation_once() -> None:
    listed = re.findall(r"[\w-]+\.md", yaml.dump(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(listed) == sorted(DOCS), "mkdocs.yml lists each page once"


@pytest.mark.e2e
def test_the_site_builds(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs-material (extra [dev]) is not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True)
    with contextlib.redirect_stdout(io.StringIO()):
        build(config)
    assert (tmp_path / "site/index.html").is_file()
