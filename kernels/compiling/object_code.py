"""Symbols of compiled object code."""

from __future__ import annotations

import numpy as np

# Tables of ELF, 64 bits, little-endian.
_SECTION = np.dtype(
    [("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("address", "<u8"), ("offset", "<u8"), ("size", "<u8"),
     ("link", "<u4"), ("info", "<u4"), ("alignment", "<u8"), ("row_bytes", "<u8")]
)  # fmt: skip
_SYMBOL = np.dtype(
    [("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"), ("value", "<u8"), ("size", "<u8")]
)
_ELF64, _SYMBOL_TABLE, _UNDEFINED = b"\x7fELF\x02\x01", 2, 0


def undefined_symbols(object_code: bytes) -> list[str] | None:
    """Names of the symbols that ELF object code refers to and does not define; None for other object code."""
    if not object_code.startswith(_ELF64):
        return None
    start, n_sections = int.from_bytes(object_code[40:48], "little"), int.from_bytes(object_code[60:62], "little")
    sections = np.frombuffer(object_code, _SECTION, n_sections, start)
    names: list[str] = []
    for table in sections[sections["type"] == _SYMBOL_TABLE]:
        symbols = np.frombuffer(object_code, _SYMBOL, int(table["size"]) // _SYMBOL.itemsize, int(table["offset"]))
        texts = int(sections[int(table["link"])]["offset"])
        starts = texts + symbols["name"][(symbols["section"] == _UNDEFINED) & (symbols["name"] > 0)].astype(int)
        names += [object_code[at : object_code.index(b"\0", at)].decode() for at in starts.tolist()]
    return names
