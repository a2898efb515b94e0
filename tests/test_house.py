"""The house rules: start-up stays light, packages are listed, documents tell the truth. Imports: test_rooms.py."""

from __future__ import annotations

import configparser
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_rooms import TOP, modules

import tagcorpus
from tagcorpus.pipelines.options.tree import pipelines
from tagcorpus.taggers import names

ROOT = Path(__file__).resolve().parents[1]


def test_the_command_line_starts_light() -> None:
    code = "import sys, tagcorpus.cli, json; print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    loaded = set(
        json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    )
    heavy = {"ray", "numba", "openai", "pyarrow", "datatrove", "numpy", "yaml", "tiktoken", "fasttext", "rich", "nltk"}
    heavy |= {"duckdb", "pandas", "xgboost", "sklearn"}
    assert "tagcorpus" in loaded
    assert not loaded & heavy


def test_help_needs_no_pipeline() -> None:
    code = (
        "import sys; sys.argv = ['tagcorpus', 'run', 'tag', '--help']\n"
        "from tagcorpus.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = ('tagcorpus.taggers', 'tagcorpus.pipelines', 'pyarrow', 'yaml')\n"
        "print([m for m in sys.modules if m.startswith(heavy) and '.options' not in m and m != 'tagcorpus.pipelines'])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert out.strip().endswith("[]")


def test_every_package_is_listed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = [p.parent.relative_to(ROOT).parts for room in TOP for p in (ROOT / room).rglob("__init__.py")]
    assert listed == {"tagcorpus", *(".".join(("tagcorpus", *parts)) for parts in found)}


def test_installed_package_is_whole() -> None:
    home = Path(tagcorpus.__file__).parent
    data = ("configs/domain_tree.yaml", "pipelines/report/page.js", "predictor/store/store.sql")
    for name in ("py.typed", "taggers/_data/p50k_base.tiktoken.zst", *data):
        assert (home / name).is_file(), name


def test_every_exception_has_its_exit_code_in_readme() -> None:
    from tagcorpus import errors

    readme = (ROOT / "README.md").read_text()
    (codes,) = re.findall(r"^Exit codes: .*?\n\n", readme, re.MULTILINE | re.DOTALL)
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.TagcorpusError):
            assert re.search(rf"[:;\s]\s*{value.exit_code}\s[a-z]", codes), value


@pytest.mark.parametrize("name", names())
def test_readme_has_every_tagger(name: str) -> None:
    rows = re.findall(r"^\| `.*", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert any(f"`{name}`" in row for row in rows)


@pytest.mark.parametrize("name", pipelines())
def test_readme_has_every_pipeline(name: str) -> None:
    assert f"run {name}" in (ROOT / "README.md").read_text()


def test_links_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_named_tests_exist() -> None:
    for name in re.findall(r"`(tests/\w+\.py)`", "".join(p.read_text() for p in (ROOT / "docs").glob("*.md"))):
        assert (ROOT / name).exists(), name


def blocks(kind: str, page: str = "README.md") -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.e2e
def test_python_block_of_readme_runs(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (block,) = (b for b in blocks("python") if "tagcorpus.run" in b)
    code = f"{block}\nassert table.num_rows == 2 and result.exit_code == 0 and len(frame) == 53"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_tagger_of_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tagcorpus.taggers import DocumentBatch

    (block,) = blocks("python", "docs/taggers.md")
    (tmp_path / "exclaim_of_docs.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    tagger = importlib.import_module("exclaim_of_docs").TAGGER("?")
    assert tagger.tag(DocumentBatch.from_texts(["What? Why?", "!"])).to_pydict() == {"exclaims": [2, 0]}


def test_install_lines_name_real_extras() -> None:
    """They name the checkout: an index that pip is told to use need not have tagcorpus."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    extras = set(config["options.extras_require"])
    for source in [
        *(ROOT / "docs").glob("*.md"),
        ROOT / "README.md",
        *modules().values(),
        *(ROOT / "configs").glob("*.yaml"),
    ]:
        text = source.read_text(encoding="utf-8")
        for listed in re.findall(r"'\.\[([\w,]+)\]'", text):
            assert set(listed.split(",")) <= extras, f"{source.name}: {listed}"
        offline = "--find-links wheels 'tagcorpus["  # from a folder that holds a wheel of tagcorpus
        if source.name != "requirements.py":
            assert "tagcorpus[" not in text.replace(offline, ""), source.name
