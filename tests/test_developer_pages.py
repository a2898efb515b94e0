"""Pages for developers tell the truth: rooms and their order, files that are there, commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from test_rooms import FLOORS

import tagcorpus

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
PAGES = ("CONTRIBUTING.md", "docs/architecture.md", "docs/decisions.md")


def section(title: str) -> str:
    return ARCHITECTURE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def room_rows() -> list[tuple[str, str]]:
    """Room -> last cell of its row."""
    return re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", section("The rooms of `pipelines/`"), re.MULTILINE)


def test_every_room_has_its_row_in_the_order_of_the_floors() -> None:
    assert tuple(room for room, _ in room_rows()) == FLOORS


def test_the_picture_has_every_room_and_its_storeys_are_floors() -> None:
    picture = section("The rooms of `pipelines/`").split("```")[1]
    storeys = [[word for word in line[18:60].split() if word in FLOORS] for line in picture.splitlines()[1:]]
    rooms = [room for storey in reversed(storeys) for room in storey]
    assert rooms == [*FLOORS]


@pytest.mark.parametrize(("room", "cell"), room_rows())
def test_files_to_open_are_there(room: str, cell: str) -> None:
    paths = re.findall(r"`([\w/]+(?:\.py|/))`", cell)
    assert paths
    for path in paths:
        places = (ROOT / "pipelines" / room, ROOT / "pipelines", ROOT)
        assert any((place / path).exists() for place in places), path


def test_the_path_of_a_document_has_at_most_eight_files_that_are_there() -> None:
    steps = re.findall(r"^\d\. `([\w/.]+)`(.*?)(?=^\d\. |\n\n)", section("One document through `run tag`"), re.M | re.S)
    assert 1 < len(steps) <= 8
    sources = ""
    for path, text in steps:
        sources += (ROOT / path).read_text(encoding="utf-8")
        for name in re.findall(r"`(?:\w+\.)?(\w+)`", text):
            assert re.search(rf"(def|class) {name}\b", sources) or name in ("Inputs", "Run", "Engine"), (
                f"{path}: {name}"
            )
    assert len(sources.splitlines()) <= 2_500


def test_rooms_of_taggers_and_predictor_are_all_there() -> None:
    named = set(re.findall(r"`((?:taggers|predictor)/\w+/)`", section("The rooms of `taggers/` and `predictor/`")))
    packages = [p.parent for top in ("taggers", "predictor") for p in (ROOT / top).glob("*/__init__.py")]
    assert named == {f"{p.relative_to(ROOT)}/" for p in packages}


@pytest.mark.parametrize("page", PAGES)
def test_links_and_named_files_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target
    for path in re.findall(r"`((?:\w+/)+\w+\.(?:py|md|json))`", text):
        assert path.endswith("NAME.py") or (ROOT / path).exists() or (ROOT / "pipelines" / path).exists(), path


def anchors(page: Path) -> set[str]:
    """Names by which links reach the headings of a page: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", ["README.md", *PAGES, *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_links_to_headings_lead_somewhere(page: str) -> None:
    path = ROOT / page
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text(encoding="utf-8")):
        assert anchor in anchors(path.parent / target if target else path), f"{target}#{anchor}"


def test_commands_of_contributing_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z\d]+):", makefile, re.MULTILINE))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\bmake ([a-z\d]+)\b", contributing.replace("`make`", ""))) <= targets
    assert {"install", "test", "e2e", "style", "types", "derived", "ci"} <= targets
    for path in re.findall(r"(?:python|bash) ([\w./]+/[\w.]+)", makefile):
        assert (ROOT / path).exists(), path


def test_hooks_and_citation_name_what_is_there() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {hook["id"] for hook in hooks} >= {"ruff", "ruff-format"}
    assert {hook["language"] for hook in hooks} == {"system"}
    for hook in hooks:
        for path in re.findall(r"\b(tests/\w+\.py)", hook["entry"]):
            assert (ROOT / path).exists()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == tagcorpus.__version__
