"""The pip command that installs an extra, from the metadata of this package.

`pip install 'tagcorpus[s3]'` works only where an index has tagcorpus. The requirements themselves can be installed anywhere.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def how_to_install(extra: str, *packages: str) -> str:
    """The pip command for the requirements of an extra that this environment lacks, or for all where none is missing.

    packages  only these of its requirements
    Example   how_to_install("s3") -> "pip install 's3fs>=2024.2'"
    """
    try:
        needed = requirements_of(requires("tagcorpus") or [], extra)
    except PackageNotFoundError:  # imported from a folder, without an installation
        needed = []
    needed = [r for r in needed if not packages or r.name in packages]
    if not needed:
        return f"pip install {shlex.quote(f'.[{extra}]')} in a checkout of tagcorpus"
    lacking = [r for r in needed if not is_installed(r)]
    return f"pip install {shlex.join(spelled(lacking or needed))}"


def requirements_of(requirements: Sequence[str], extra: str) -> list[Requirement]:
    """The requirements that an extra adds to the base installation on this machine."""
    from packaging.requirements import Requirement

    parsed = (Requirement(r) for r in requirements)
    return [
        r for r in parsed if r.marker and r.marker.evaluate({"extra": extra}) and not r.marker.evaluate({"extra": ""})
    ]


def spelled(requirements: Sequence[Requirement]) -> list[str]:
    """The requirements as arguments of pip, without the marker that names the extra."""
    return [f"{r.name}{'[' + ','.join(sorted(r.extras)) + ']' if r.extras else ''}{r.specifier}" for r in requirements]


def is_installed(requirement: Requirement) -> bool:
    """Whether an allowed release is in this environment."""
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False
