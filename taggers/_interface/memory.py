"""How much memory this process has, for what can outgrow it: caches without a bound, parsers."""

from __future__ import annotations

from pathlib import Path


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int | None:
    """Resident memory of this process, None where the system does not tell (it is no Linux)."""
    try:
        pages = statm.read_bytes().split()[1]
    except OSError:
        return None
    import resource

    return int(pages) * resource.getpagesize()
