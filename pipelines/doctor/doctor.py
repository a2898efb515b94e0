"""`tagcorpus doctor`: checks everything that a run needs, and prints the command that repairs it.

The command must work with broken dependencies. So this module imports only the standard library, and every check imports the
package that it examines. The command installs, starts and pays for nothing. It writes a probe file, which it removes, and
compiled kernels in the user's cache.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError

from tagcorpus.errors import ConfigError, TagcorpusError, unknown_name
from tagcorpus.pipelines.doctor import reachable, selftests
from tagcorpus.pipelines.doctor.installation import (
    OPTIONAL,
    Finding,
    Installation,
    fasttext_owners,
    pip,
    reinstall,
    repair,
)
from tagcorpus.pipelines.progress.wrapping import terminal_width, wrapped

# Width of lines without a terminal.
UNLIMITED = 1 << 20


@dataclass(frozen=True)
class Subjects:
    """What to check besides the installation. `ray_address` None: no cluster."""

    extras: Sequence[str] = ()
    output: str | None = None
    base_url: str | None = None
    llm_cache: str | None = None
    ray_address: str | None = None
    is_offline: bool = False
    storage_options: Sequence[str] = ()


def command(
    extras: Sequence[str],
    output: str | None,
    base_url: str | None,
    llm_cache: str | None,
    ray: bool,
    ray_address: str | None,
    offline: bool,
    storage_options: Sequence[str],
    as_json: bool,
) -> tuple[str, int]:
    """Text and exit code of the command, from the values of its flags."""
    address = cluster_address(ray, ray_address)
    return report(Subjects(extras, output, base_url, llm_cache, address, offline, storage_options), as_json)


def cluster_address(is_named: bool, address: str | None) -> str | None:
    """Address of the cluster to examine; None without `--ray`, an address or RAY_ADDRESS."""
    return address or os.environ.get("RAY_ADDRESS") or ("auto" if is_named else None)


def report(options: Subjects, as_json: bool) -> tuple[str, int]:
    """Text and exit code of the command: 1 if anything that is needed or named is broken.

    Raises ConfigError for an unknown extra, and for storage options without a remote output.
    """
    if options.storage_options and "://" not in (options.output or ""):
        raise ConfigError("--storage-options needs an --output that is a URL (s3://..., gs://...)")
    findings = list(examine(options))
    code = int(any(f.state == "broken" for f in findings))
    if as_json:
        return json.dumps({"exit_code": code, "findings": [f.as_json() for f in findings]}, indent=1), code
    return as_text(findings), code


def examine(options: Subjects) -> Iterator[Finding]:
    """All checks, the most basic first. Raises ConfigError for an unknown extra."""
    installation = crash = None
    try:
        installation = Installation()
    except PackageNotFoundError:
        yield Finding("tagcorpus", "broken", "it runs, but is not installed", pip("install", "."))
    except (Exception, SystemExit) as error:  # without packaging, no version can be compared
        reason = f"cannot be imported, so no version is compared: {type(error).__name__}: {error}"
        yield Finding("packaging", "broken", reason, reinstall("packaging"))
    if installation is not None:
        for name in options.extras:
            if name not in installation.extras:
                raise ConfigError(unknown_name("extra", name, installation.extras, "doctor EXTRA"))
        yield installation.python()
        for finding, is_crash in installation.packages(options.ray_address is not None):
            crash = crash or (finding.name if is_crash else None)
            yield finding
        yield from fasttext_owners()
    if crash is None:
        for name, check in checks(options):
            yield _guarded(name, check)
    else:
        yield Finding("self-tests", "broken", f"not done: {crash} would end this process too", f"repair {crash} first")
    if installation is not None:
        yield from installation.optional(options.extras)


def checks(options: Subjects) -> Iterator[tuple[str, Callable[[], Finding]]]:
    """Checks besides the packages: (name, function). A function may raise any error."""
    yield "fasttext self-test", selftests.fasttext
    yield "tokenizer ranks", selftests.ranks
    yield "compiled kernels", selftests.kernels
    yield "sentence splitter", selftests.punkt
    yield "language detector", selftests.cld2
    yield "domain model", selftests.domain_model
    yield "plug-in taggers", selftests.plugins
    yield "temporary folder", selftests.temporary_folder
    yield "LLM answer cache", lambda: selftests.llm_cache(options.llm_cache)
    online: list[tuple[str, str, Callable[[], Finding]]] = []
    if (folder := options.output) is not None:
        if "://" in folder:
            online.append(("output", folder, lambda: _remote_output(folder, options.storage_options)))
        else:
            yield "output", lambda: selftests.output(folder)
    url = options.base_url or os.environ.get("OPENAI_BASE_URL")
    if url or os.environ.get("OPENAI_API_KEY"):
        online.append(("LLM endpoint", "it", lambda: reachable.endpoint(url)))
    if (address := options.ray_address) is not None:
        online.append(("ray cluster", address, lambda: reachable.ray_cluster(address)))
    for name, subject, check in online:
        if options.is_offline:
            unseen = Finding(name, "warning", f"{subject} was not checked (--offline)", "leave out --offline")
            yield name, lambda unseen=unseen: unseen  # type: ignore[misc]
        else:
            yield name, check


def _remote_output(folder: str, storage_options: Sequence[str]) -> Finding:
    from tagcorpus.pipelines.storage import remote

    remote.use_given(storage_options, [folder])
    return selftests.output(folder)


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except TagcorpusError as error:  # its message says what to do
        return Finding(name, "broken", str(error))
    except ImportError as error:
        return Finding(name, "broken", f"{type(error).__name__}: {error}", "repair the packages above first")
    except (Exception, SystemExit) as error:  # a broken library may raise any error, and the user needs to see it
        return Finding(name, "broken", f"{type(error).__name__}: {error}", repair())


def as_text(findings: Sequence[Finding]) -> str:
    """The findings as lines of text, and the verdict."""
    width = terminal_width(sys.stdout) or UNLIMITED
    of_state, of_name = (max(map(len, texts)) for texts in ([f.state for f in findings], [f.name for f in findings]))
    lines: list[str] = []
    for f in findings:
        first = f"{f.state:<{of_state}}  {f.name:<{of_name}}  "
        lines += wrapped(" ".join(f.message.removeprefix(OPTIONAL).split()), width, first)
        if f.fix:
            lines.append(f"{'':<{len(first)}}-> {f.fix}")  # on one line, to be copied
    broken, warnings, absent = (sum(f.state == s for f in findings) for s in ("broken", "warning", "not installed"))
    verdict = f"{broken} broken, {warnings} warning{'s' * (warnings != 1)}" if broken or warnings else "all is well"
    optional = f"; {absent} optional extra{'s' * (absent != 1)} not installed" if absent else ""
    return "\n".join([*lines, "", verdict + optional])
