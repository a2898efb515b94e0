"""Checks of the installation: Python, packages and extras are compared with the installed metadata.

All packages are imported in another process, so that a crash in a native library is reported, too. This module imports nothing
heavy, and installs nothing.
"""

from __future__ import annotations

import json
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tagcorpus.requirements import is_installed, requirements_of, spelled

State = Literal["ok", "not installed", "warning", "broken"]
# How a message begins whose state is "not installed". In JSON such a finding is "ok".
OPTIONAL = "optional, not installed: "

IMPORT_SECONDS = 300.0
# Ray is imported only to examine a cluster: it takes as long as half of the other packages.
RAY = "ray"
# Prints the name of each module before its import, so that a crash is assigned to the right module, and the imports that fail.
# Its lines begin with a random word, because some modules print text when they are imported.
_TRIAL = """
import importlib, sys
mark = sys.argv[1]
for name in sys.argv[2:]:
    print("\\n" + mark + "begin", name, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        message = " ".join(f"{type(error).__name__}: {error}".split())
        print("\\n" + mark + "failed", name, message, flush=True)
"""

SHOWN_PACKAGES = 4


@dataclass(frozen=True)
class Finding:
    """One line of the report: a subject, its state, a message, and a command that repairs it."""

    name: str
    state: State
    message: str
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        state = "ok" if self.state == "not installed" else self.state
        return {"name": self.name, "state": state, "found": self.message, "fix": self.fix}


class Installation:
    """The installed distribution `tagcorpus` and its requirements. Raises PackageNotFoundError if it is not installed, and any
    error of a broken `packaging`."""

    def __init__(self) -> None:
        from packaging.requirements import Requirement

        self.package: Distribution = distribution("tagcorpus")
        self.extras: list[str] = self.package.metadata.get_all("Provides-Extra") or []
        self._requirements = [Requirement(r) for r in self.package.requires or []]

    def python(self) -> Finding:
        from packaging.specifiers import SpecifierSet

        needed = self.package.metadata["Requires-Python"] or ""
        version = ".".join(map(str, sys.version_info[:3]))
        version_text = f"{version} ({needed}), {sys.executable}"
        if SpecifierSet(needed).contains(version):
            return Finding("python", "ok", version_text)
        return Finding(
            "python", "broken", version_text, f"make a virtual environment with Python {needed} and install there"
        )

    def packages(self, with_ray: bool) -> list[tuple[Finding, bool]]:
        """A finding for each requirement of the base installation, and whether its import ends the interpreter."""
        needed = [r for r in self._requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
        modules = {r.name: _modules(r.name) for r in needed if with_ray or r.name != RAY}
        failures = import_trial([m for imports in modules.values() for m in imports])
        findings = []
        for requirement in needed:
            failed = next((failures[m] for m in modules.get(requirement.name, ()) if m in failures), None)
            if failed is None:
                findings.append((_version(requirement), False))
            else:
                reason, is_crash = failed
                findings.append(
                    (Finding(requirement.name, "broken", reason, reinstall(*spelled([requirement]))), is_crash)
                )
        return findings

    def optional(self, named: Sequence[str]) -> Iterator[Finding]:
        """A finding for each extra. Only an extra that the user names can be broken."""
        for extra in self.extras:
            own = requirements_of(self.package.requires or [], extra)
            if not own:  # an old name that commands may still use
                yield Finding(f"extra {extra}", "ok", "comes with the base installation")
                continue
            findings = [_version(r) for r in own]
            bad = [f for f in findings if f.state != "ok"]
            if extra in named and not bad:
                failures = import_trial([m for r in own for m in _modules(r.name)])
                bad = [Finding(m, "broken", reason) for m, (reason, _) in failures.items()]
            name, fix = f"extra {extra}", pip("install", *spelled([r for r in own if not is_installed(r)] or own))
            if not bad:
                installed = list(dict.fromkeys(f"{f.name} {f.message.partition(' ')[0]}" for f in findings))
                shown = len(installed) if extra in named else SHOWN_PACKAGES
                more = f" and {len(installed) - shown} more" if len(installed) > shown else ""
                yield Finding(name, "ok", ", ".join(installed[:shown]) + more)
                continue
            versions = ", ".join(f"{f.name} {f.message}" for f in bad)
            if extra in named:
                yield Finding(name, "broken", versions, fix)
            elif all(f.message == "not installed" for f in bad):
                more = f" and {len(bad) - SHOWN_PACKAGES} more" if len(bad) > SHOWN_PACKAGES else ""
                absent = ", ".join(f.name for f in bad[:SHOWN_PACKAGES])
                yield Finding(name, "not installed", f"{OPTIONAL}{absent}{more}", fix)
            else:
                yield Finding(name, "warning", versions, fix)


def fasttext_owners() -> Iterator[Finding]:
    """A warning of other distributions with a module `fasttext`. Python imports the last one installed, and most are wrong."""
    owners = sorted({o for o in packages_distributions().get("fasttext", []) if o != "fasttext-community"})
    if owners:
        fix = f"{pip('uninstall', '-y', *owners)} && {reinstall('fasttext-community==0.11.9')}"
        yield Finding("module fasttext", "warning", f"comes with {', '.join(owners)} too, and the last one wins", fix)


def pip(*arguments: str) -> str:
    """The pip command for this Python."""
    on_path = shutil.which("python")
    is_here = on_path is not None and Path(on_path).absolute().parent == Path(sys.executable).absolute().parent
    return shlex.join(["python" if is_here else sys.executable, "-m", "pip", *arguments])


def reinstall(requirement: str) -> str:
    return pip("install", "--force-reinstall", "--no-deps", requirement)


def repair() -> str:
    """The command that installs this package again, from its source."""
    origin = json.loads(distribution("tagcorpus").read_text("direct_url.json") or "{}")
    url = origin.get("url", "")
    if not url:
        return reinstall("tagcorpus")
    source = url2pathname(urlsplit(url).path) if url.startswith("file:") else url
    is_editable = origin.get("dir_info", {}).get("editable", False)
    return pip("install", "--force-reinstall", "--no-deps", *(["-e"] if is_editable else []), source)


def import_trial(modules: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """Modules that cannot be imported: the reason, and whether the import ended the interpreter."""
    failures: dict[str, tuple[str, bool]] = {}
    left = list(modules)
    mark = secrets.token_hex(8)
    while left:
        begun = ""
        try:
            # The temporary folder and -P: a file in the working directory must not count as a package.
            done = subprocess.run(
                [sys.executable, "-P", "-c", _TRIAL, mark, *left],
                capture_output=True,
                cwd=tempfile.gettempdir(),
                timeout=IMPORT_SECONDS,
                check=False,
            )
            out, is_whole = done.stdout, done.returncode == 0
            end = f"its import ends the interpreter ({exit_text(done.returncode)})"
        except subprocess.TimeoutExpired as expired:
            out, is_whole, end = expired.stdout or b"", False, f"its import takes over {IMPORT_SECONDS:.0f} s"
        for line in out.decode("utf-8", "replace").split("\n"):
            mark_word, _, rest = line.partition(" ")
            name, _, error = rest.partition(" ")
            if mark_word == mark + "begin":
                begun = name
            elif mark_word == mark + "failed":
                failures[name] = f"cannot be imported: {error}", False
        if is_whole:
            break
        guilty = begun or left[0]
        failures[guilty] = end, True
        left = left[left.index(guilty) + 1 :]
    return failures


def exit_text(code: int) -> str:
    """A return code of subprocess in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _modules(name: str) -> list[str]:
    """The modules of a distribution. If one of them has its name, only that one."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return []
    tops = {
        f.parts[0].partition(".")[0] if len(f.parts) == 1 else f.parts[0] for f in files if f.suffix in (".py", ".so")
    }
    tops = {t for t in tops if t.isidentifier() and not t.startswith("_")}
    plain = name.lower().replace("-", "_")
    return [plain] if plain in tops else sorted(tops)


def _version(requirement: Any) -> Finding:
    """Whether a requirement is installed, in a version that it allows."""
    name, needed = requirement.name, str(requirement.specifier)
    try:
        version = distribution(name).version
    except PackageNotFoundError:
        return Finding(name, "broken", "not installed", pip("install", *spelled([requirement])))
    if requirement.specifier.contains(version, prereleases=True):
        return Finding(name, "ok", f"{version} ({needed})" if needed else version)
    return Finding(name, "broken", f"{version}, but {needed} is needed", pip("install", *spelled([requirement])))
