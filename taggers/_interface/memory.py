"""The memory of this process, for caches without a bound and for parsers."""

from __future__ import annotations

from pathlib import Path


def resident_bytes(statm: Path = Path("/proc/self/statm")) -> int | None:
    """Resident memory of this process; None on a system other than Linux."""
    try:
        pages = statm.read_bytes().split()[1]
    except OSError:
        return None
    import resource

    return int(pages) * resource.getpagesize()
