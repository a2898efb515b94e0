"""Slow, obvious twins of every kernel. Nothing here is clever; tests compare the kernels with it."""

from __future__ import annotations
