"""Arrow's functions by name, without importing pyarrow.compute.

Importing pyarrow.compute builds a Python function with a docstring for each of Arrow's 280 functions: 0.04 CPU seconds, a fifth of
the import of pyarrow. All of them call `call_function`, which is in another module.
"""

from __future__ import annotations

from typing import Any

try:
    from pyarrow._compute import call_function
except ImportError:  # a pyarrow that has it elsewhere
    from pyarrow.compute import call_function


def call(name: str, *arguments: Any) -> Any:
    """The result of `pyarrow.compute.<name>(*arguments)` with default options."""
    return call_function(name, list(arguments))
