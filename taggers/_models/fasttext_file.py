"""Checks that a fastText model file is whole, before fastText loads it.

fastText itself checks only the first eight bytes. Beyond the end of a truncated file it reads garbage, allocates gigabytes, or
answers. The layout is that of the files that fastText 0.9 writes (version 11 or 12, little-endian):

    int32 magic, version; 12 parameters of int32, the first of which is dim, the eighth the kind of model; double
    int32 entries, words, labels; int64 tokens, pruned (-1 = none); of each entry text, zero byte, int64, int8; pruned times two int32
    bool, whether the input matrix is quantised, and the matrix; bool, whether the output matrix is, and the matrix

Values are not checked: a file of the right length may still be damaged.
"""

from __future__ import annotations

import mmap
import struct
from operator import itemgetter
from pathlib import Path

from tagcorpus.errors import ConfigError

_MAGIC = struct.pack("<i", 793_712_314)
_NEWEST = 12  # no version after it is known
_SUPERVISED = 3
_BEGIN = struct.Struct("<4s i 12i d 3i 2q")
_CENTROIDS = 256
# More bytes than any file has: the position of the walk once it has left the file.
_BEYOND = 1 << 62


def check_file(path: Path, parameter: str = "fasttext.model") -> None:
    """Raise ConfigError unless the file is a supervised fastText model from its first byte to its last.

    parameter  the option that names the file, for the message

    Takes no time where the output matrix is dense; otherwise the dictionary is walked, some 0.15 seconds for a million words.
    """
    try:
        with path.open("rb") as file:
            n_bytes = file.seek(0, 2)
            file.seek(0)
            begin = file.read(_BEGIN.size)
            if not _MAGIC.startswith(begin[:4]):
                raise ConfigError(
                    f"{parameter} must be a fastText model, got {str(path)!r}: its first bytes are not those of the format"
                )
            if len(begin) == _BEGIN.size:
                version, dimension, kind, n_labels = itemgetter(1, 2, 9, 17)(_BEGIN.unpack(begin))
                if version > _NEWEST:
                    raise ConfigError(
                        f"{parameter} must be a fastText model of version {_NEWEST} at most, got {str(path)!r}: "
                        f"version {version}"
                    )
                if kind != _SUPERVISED:
                    raise ConfigError(
                        f"{parameter} must be a supervised model, with labels; {str(path)!r} has word vectors"
                    )
                # Dense, the output matrix is the last there is: its rows and columns, int64, then float32.
                last = n_bytes - 16 - 4 * n_labels * dimension
                if _BEGIN.size <= last <= n_bytes - 16:
                    file.seek(last)
                    if file.read(16) == struct.pack("<qq", n_labels, dimension):
                        return
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    if _end(data) == n_bytes:
                        return
    except OSError as error:
        raise ConfigError(f"{parameter} must be a file, got {str(path)!r}: {error.strerror}") from error
    raise ConfigError(f"{parameter} must be a whole file, {str(path)!r} is cut short or damaged: copy it again")


def _end(data: mmap.mmap) -> int:
    """The position where the model ends by its structure, or _BEYOND where the data end first."""
    *_, n_entries, _, _, _, n_pruned = _BEGIN.unpack_from(data)
    at = _BEGIN.size
    for _ in range(n_entries):
        zero = data.find(b"\0", at)
        if zero < 0:
            return _BEYOND
        at = zero + 10
    at += 8 * max(n_pruned, 0)
    is_quantised = data[at : at + 1] != b"\0"
    at = _matrix_end(data, at + 1, is_quantised)
    is_output_quantised = is_quantised and data[at : at + 1] != b"\0"
    return _matrix_end(data, at + 1, is_output_quantised)


def _matrix_end(data: mmap.mmap, at: int, is_quantised: bool) -> int:
    """Dense: int64 rows, columns, float32 values. Quantised: bool with norms, int64 rows, columns, int32 codes, a byte each,
    quantiser; with norms a byte a row, another quantiser."""
    if not is_quantised:
        header = _read(data, "<qq", at)
        return at + 16 + 4 * header[0] * header[1] if header else _BEYOND
    header = _read(data, "<?qqi", at)
    if not header:
        return _BEYOND
    has_norms, n_rows, _, n_codes = header
    at = _quantiser_end(data, at + 21 + n_codes)
    return _quantiser_end(data, at + n_rows) if has_norms else at


def _quantiser_end(data: mmap.mmap, at: int) -> int:
    """Four int32, of which the first is the dimension, and so many times 256 centroids of float32."""
    header = _read(data, "<4i", at)
    return at + 16 + 4 * _CENTROIDS * header[0] if header else _BEYOND


def _read(data: mmap.mmap, form: str, at: int) -> tuple[int, ...]:
    """The values at a position; empty where it is not within the data, which end first or have a damaged count."""
    return struct.unpack_from(form, data, at) if 0 <= at <= len(data) - struct.calcsize(form) else ()
