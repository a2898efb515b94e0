"""Reading ahead in a file of an object store: nothing behind a chunk is transferred, and every byte can still be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.errors import InputError
from tagcorpus.pipelines.storage.remote import RemoteFile

caching = pytest.importorskip("fsspec.caching")
DATA = bytes(range(256)) * 4


class Stored:
    """A file as fsspec has it, with the ranges that were transferred."""

    def __init__(self, ahead: int) -> None:
        self.size, self.loc, self.sent = len(DATA), 0, [(0, 0)]
        self.cache = caching.ReadAheadCache(ahead, self.fetch, self.size)

    def fetch(self, start: int, end: int) -> bytes:
        self.sent.append((start, end))
        return DATA[start:end]

    def read(self, n: int) -> bytes:
        data: bytes = self.cache._fetch(self.loc, self.size if n < 0 else self.loc + n)
        self.loc += len(data)
        return data

    def seek(self, offset: int, _whence: int) -> int:
        self.loc = offset
        return offset

    def tell(self) -> int:
        return self.loc


def test_a_chunk_is_read_without_what_follows() -> None:
    stored = Stored(ahead=100)
    file = RemoteFile(stored, "s3://bucket/a", InputError)
    file.seek(50)
    file.read_up_to(120)
    assert file.read(30) + file.read(40) == DATA[50:120]
    assert stored.sent[1:] == [(50, 120)]
    assert file.read(10) == DATA[120:130]  # also behind the end
    assert stored.sent[2:] == [(120, 230)]


@given(
    st.lists(st.tuples(st.integers(0, 1100), st.integers(-1, 300), st.none() | st.integers(0, 1100)), max_size=12),
    st.integers(0, 300),
)
def test_every_read_gives_the_bytes_of_the_file(reads: list[tuple[int, int, int | None]], ahead: int) -> None:
    file = RemoteFile(Stored(ahead), "s3://bucket/a", InputError)
    for offset, n, end in reads:
        file.seek(offset)
        if end is not None:
            file.read_up_to(end)
        assert file.read(n) == (DATA[offset:] if n < 0 else DATA[offset : offset + n])
