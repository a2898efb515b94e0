"""Arrow's functions by name, without importing pyarrow.compute.

pyarrow.compute makes a Python function with a docstring of each of Arrow's 280 functions: 0.04 CPU seconds, a fifth of importing
pyarrow. All of them call `call_function`, which pyarrow.compute takes from another module.
"""

from __future__ import annotations

from typing import Any

try:
    from pyarrow._compute import call_function
except ImportError:  # of a pyarrow that keeps it elsewhere
    from pyarrow.compute import call_function


def call(name: str, *arguments: Any) -> Any:
    """What `pyarrow.compute.<name>(*arguments)` gives, with default options."""
    return call_function(name, list(arguments))
