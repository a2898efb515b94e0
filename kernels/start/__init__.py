"""How Numba starts."""
