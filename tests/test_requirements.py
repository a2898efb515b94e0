"""What to install where something is missing, read from the metadata of the package."""

from __future__ import annotations

import importlib.metadata
import shlex
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tagcorpus import requirements
from tagcorpus.requirements import how_to_install, requirements_of


def test_the_packages_of_an_extra() -> None:
    assert how_to_install("s3") == "pip install 's3fs>=2024.2'"
    assert how_to_install("report", "plotly") == "pip install 'plotly>=6'"
    names = {Requirement(word).name for word in shlex.split(how_to_install("predict"))[2:]}
    assert {"pandas", "scipy"} <= names
    assert len([n for n in names if n.startswith("xgboost")]) == 1, "the one of this system"


def test_only_what_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"here": "2.0", "old": "1.0"}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(requirements, "version", version)
    listed = [f'{r}; extra == "moon"' for r in ("here>=2", "old>=2", "absent[a,b]>=1,<3", "bare")]
    monkeypatch.setattr(requirements, "requires", lambda _: ["base>=1", *listed, 'other; extra == "sun"'])
    assert shlex.split(how_to_install("moon")) == ["pip", "install", "old>=2", "absent[a,b]<3,>=1", "bare"]
    assert how_to_install("moon", "here") == "pip install 'here>=2'", "it is there, and yet something is wrong with it"


def test_requirements_of_this_system_alone() -> None:
    listed = ['a>=1; extra == "x"', 'b; sys_platform == "nowhere" and extra == "x"', "c", 'd; python_version > "3"']
    assert [r.name for r in requirements_of(listed, "x")] == ["a"]


def test_without_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(requirements, "requires", absent)
    assert how_to_install("s3") == "pip install '.[s3]' in a checkout of tagcorpus"


def test_every_extra_that_an_error_names() -> None:
    """No message names an extra that there is not: it would tell to install nothing."""
    root = Path(requirements.__file__).parent
    extras = set(importlib.metadata.distribution("tagcorpus").metadata.get_all("Provides-Extra") or [])
    for source in [*root.glob("taggers/*.py"), *root.glob("pipelines/**/*.py"), *root.glob("predictor/*.py")]:
        for piece in source.read_text().split("how_to_install(")[1:]:
            name = piece.split(")")[0].split(",")[0].strip("'\"")
            assert name in extras or not name.isidentifier() or name in ("extra",), f"{source.name}: {name}"
