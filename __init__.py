"""tagcorpus: tag corpora and model generations, lose nothing, and say what the tags are worth."""

from __future__ import annotations

__version__ = "0.1.0"
