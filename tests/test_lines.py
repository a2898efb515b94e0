"""Cutting a stream of lines into ranges, and reading them again, plain and compressed, whole and damaged."""

from __future__ import annotations

import gzip
import io
import itertools
import random
import re
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import xxhash
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from tagcorpus.errors import IncompleteError
from tagcorpus.pipelines.formats import lines
from tagcorpus.pipelines.inputs.chunks import Chunk
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.inputs.streams import BLOCK_BYTES, ByteStream, Damaged

MANY = 1 << 40
contents = st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\n\n", b"0123456789" * 3, b"\0", b"\xff"])).map(
    b"".join
)
shards = st.integers(7, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lines")


def write(folder: Path, data: bytes, name: str = "x.jsonl") -> InputFile:
    path = folder / name
    path.write_bytes(data)
    return InputFile(name, str(path), "jsonl", {"gz": "gz", "zst": "zst"}.get(name.rsplit(".", 1)[-1], ""))


def split(data: bytes) -> list[bytes]:
    found = data.split(b"\n")
    return found[:-1] if found[-1] == b"" else found


def read_all(file: InputFile, chunks: list[Chunk], most: int = MANY) -> list[lines.Line]:
    stream = ByteStream(file)
    try:
        return [line for r in chunks for line in lines.read(stream, r, most, file.name)]
    finally:
        stream.close()


def check_ranges(data: bytes, chunks: list[Chunk], chunk_bytes: int) -> None:
    """Every byte in one chunk, borders between lines, each chunk in its own shard, digests and rows right."""
    assert chunks[0].start == 0
    assert chunks[-1].end == len(data)
    row = 0
    for before, after in itertools.pairwise(chunks):
        assert before.end == after.start
        assert before.start // chunk_bytes < after.start // chunk_bytes
    for r in chunks:
        part = data[r.start : r.end]
        assert r.start == 0 or data[r.start - 1 : r.start] == b"\n"
        assert r.digest == xxhash.xxh3_128_hexdigest(part)
        assert (r.first_row, r.rows, r.broken) == (row, len(split(part)), "")
        # Of its lines, only the last may reach into the next shard: it belongs where its first byte is.
        starts = [r.start, *(r.start + newline.end() for newline in re.finditer(b"\n", part[:-1]))]
        assert {s // chunk_bytes for s in starts} <= {r.start // chunk_bytes}
        row += r.rows


@given(contents, shards)
@example(b"", 7)
@example(b"\n", 7)
@example(b"\n" * 50, 7)
@example(b"x" * 200 + b"\ny\n", 16)
@example(b"1234567\n" * 3, 8)
@example(b"no newline at the end", 7)
def test_ranges_cover_every_byte_once(folder: Path, data: bytes, chunk_bytes: int) -> None:
    file = write(folder, data)
    chunks = lines.index(file, chunk_bytes)
    if data:
        check_ranges(data, chunks, chunk_bytes)
    else:
        assert chunks == [Chunk(0, 0, 0, 0, xxhash.xxh3_128_hexdigest(b""))]
    found = read_all(file, chunks)
    assert [line.data for line in found] == split(data)
    assert [line.row for line in found] == list(range(len(split(data))))
    assert all(data[f.offset : f.offset + len(f.data)] == f.data for f in found)


@given(contents, shards, st.integers(1, 3))
def test_segments_joined_are_the_whole_index(folder: Path, data: bytes, chunk_bytes: int, per_segment: int) -> None:
    file = write(folder, data)
    whole = lines.index(file, chunk_bytes)
    step = per_segment * chunk_bytes
    joined: list[Chunk] = []
    for start in range(0, max(len(data), 1), step):
        rows = sum(r.rows for r in joined)
        joined += [
            replace(r, first_row=rows + r.first_row) for r in lines.index(file, chunk_bytes, start, start + step)
        ]
    assert joined == whole


@given(contents, shards, contents)
def test_appending_leaves_all_ranges_but_the_last(folder: Path, data: bytes, chunk_bytes: int, appended: bytes) -> None:
    before = lines.index(write(folder, data), chunk_bytes)
    after = lines.index(write(folder, data + appended), chunk_bytes)
    assert after[: len(before) - 1] == before[:-1]


@given(contents, shards, st.integers(1, 9))
def test_a_limit_takes_the_first_rows(folder: Path, data: bytes, chunk_bytes: int, limit: int) -> None:
    file = write(folder, data)
    chunks = lines.index(file, chunk_bytes, max_rows=limit)
    assert [line.data for line in read_all(file, chunks)] == split(data)[:limit]
    assert sum(r.rows for r in chunks) == min(limit, len(split(data)))


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_lines_that_cross_blocks(tmp_path: Path, suffix: str) -> None:
    sizes = [BLOCK_BYTES - 1, 0, BLOCK_BYTES, 5, 3 * BLOCK_BYTES + 7, 2 * BLOCK_BYTES - 10, 1]
    data = b"\n".join(bytes([97 + i]) * n for i, n in enumerate(sizes))
    packed = {"": data, ".gz": gzip.compress(data, 1), ".zst": zstandard.compress(data)}[suffix]
    file = write(tmp_path, packed, "x.jsonl" + suffix)
    for chunk_bytes in (1000, BLOCK_BYTES, 4 * BLOCK_BYTES):
        chunks = lines.index(file, chunk_bytes)
        check_ranges(data, chunks, chunk_bytes)
        assert [line.data for line in read_all(file, chunks)] == split(data)


@pytest.mark.parametrize("at", [8, 20, BLOCK_BYTES - 3, BLOCK_BYTES, 2 * BLOCK_BYTES + 5])
@pytest.mark.parametrize("over", [0, 1, 40, 3 * BLOCK_BYTES])
def test_a_line_that_is_too_long_keeps_its_head_only(tmp_path: Path, at: int, over: int) -> None:
    limit = 2000
    body = b"".join(b"%07d|" % i for i in range((limit + over) // 8 + 1))[: limit + over]
    data = b"x" * (at - 1) + b"\n" + body + b"\nafter\n"
    file = write(tmp_path, data)
    _, long, after = read_all(file, lines.index(file, 1 << 20), limit)
    assert (long.row, long.offset, long.is_too_long) == (1, at, over > 0)
    assert long.data == (body[:256] if over else body)
    assert (after.data, after.row, after.offset) == (b"after", 2, at + len(body) + 1)


def test_a_bom_is_stripped_at_the_beginning_only(tmp_path: Path) -> None:
    file = write(tmp_path, b"\xef\xbb\xbfone\n\xef\xbb\xbftwo")
    first, second = read_all(file, lines.index(file, 7))
    assert (first.data, first.offset) == (b"one", 0)
    assert (second.data, second.offset) == (b"\xef\xbb\xbftwo", 7)


@pytest.mark.parametrize("after", [b"one\nTWO\n", b"one\n", b"one\ntwo\nthree\n"])
def test_a_file_that_changed_since_it_was_planned_is_not_read(tmp_path: Path, after: bytes) -> None:
    file = write(tmp_path, b"one\ntwo\n")
    chunks = lines.index(file, 1 << 20)
    write(tmp_path, after)
    if after.startswith(b"one\ntwo\n"):
        assert [line.data for line in read_all(file, chunks)] == [b"one", b"two"]  # appended: the chunk still holds
    else:
        with pytest.raises(IncompleteError, match="changed while it was being read"):
            read_all(file, chunks)


# Compressed streams


def text(n: int, seed: int = 0) -> bytes:
    rng = random.Random(seed)
    return b"".join(
        b"%d %s\n" % (i, " ".join(str(rng.randrange(10**6)) for _ in range(rng.randrange(30))).encode())
        for i in range(n)
    )


def skippable(n: int) -> bytes:
    return b"\x50\x2a\x4d\x18" + n.to_bytes(4, "little") + b"s" * n


def with_checksum(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def long_window(data: bytes) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=28, enable_ldm=True)
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def in_small_flushes(data: bytes) -> bytes:
    sink = io.BytesIO()
    with zstandard.ZstdCompressor(write_checksum=True).stream_writer(sink, closefd=False) as writer:
        for i in range(0, len(data), 50):
            writer.write(data[i : i + 50])
            writer.flush(zstandard.FLUSH_BLOCK)
    return sink.getvalue()


TEXT = text(1200)
HALF = len(TEXT) // 2 + 3
PACKED = {
    "one.gz": gzip.compress(TEXT),
    "members.gz": gzip.compress(TEXT[:HALF]) + gzip.compress(b"") + gzip.compress(TEXT[HALF:], 0),
    "padded.gz": gzip.compress(TEXT[:HALF]) + b"\0" * 2000 + gzip.compress(TEXT[HALF:]) + b"\0" * 5000,
    "one.zst": zstandard.compress(TEXT),
    "frames.zst": with_checksum(TEXT[:HALF]) + zstandard.compress(b"") + with_checksum(TEXT[HALF:]),
    "skippable.zst": skippable(3) + zstandard.compress(TEXT[:HALF]) + skippable(3000) + zstandard.compress(TEXT[HALF:]),
    "window.zst": long_window(TEXT),
    "flushes.zst": in_small_flushes(TEXT),
}


@pytest.mark.parametrize("name", PACKED)
def test_compressed_is_equal_to_plain(tmp_path: Path, name: str) -> None:
    plain = lines.index(write(tmp_path, TEXT), 5000)
    file = write(tmp_path, PACKED[name], name)
    assert lines.index(file, 5000) == plain
    assert b"\n".join(line.data for line in read_all(file, plain)) + b"\n" == TEXT
    # Chunks in any order: going back starts the stream again.
    backwards = [line.data for r in reversed(plain) for line in read_all(file, [r])]
    assert sorted(backwards) == sorted(split(TEXT))


@pytest.mark.parametrize("name", ["empty.gz", "empty.zst"])
def test_an_empty_compressed_file_is_an_empty_file(tmp_path: Path, name: str) -> None:
    for data in (b"", gzip.compress(b"") if name.endswith("gz") else zstandard.compress(b"")):
        (only,) = lines.index(write(tmp_path, data, name), 5000)
        assert (only.start, only.end, only.rows, only.broken) == (0, 0, 0, "")


def check_broken(file: InputFile, chunk_bytes: int = 5000) -> int:
    """Index and reading agree on a damaged file, and all rows are true ones. Returns how many there are."""
    chunks = lines.index(file, chunk_bytes)
    assert [bool(r.broken) for r in chunks] == [False] * (len(chunks) - 1) + [True]
    found = read_all(file, chunks)
    assert [line.data for line in found] == split(TEXT)[: len(found)]
    assert len(found) == sum(r.rows for r in chunks)
    assert chunks == lines.index(file, chunk_bytes)
    return len(found)


@pytest.mark.parametrize("name", PACKED)
def test_a_truncated_stream_keeps_the_rows_before_the_break(tmp_path: Path, name: str) -> None:
    data = PACKED[name].rstrip(b"\0")
    rows = []
    for keep in [*range(1, 30, 7), *range(100, len(data), len(data) // 12), len(data) - 1]:
        file = write(tmp_path, data[:keep], name)
        if not lines.index(file, 5000)[-1].broken:
            # Cut between two members: nothing shows that there were more.
            assert len(split(TEXT[:HALF])) >= sum(r.rows for r in lines.index(file, 5000))
            continue
        rows.append(check_broken(file))
    assert rows == sorted(rows)
    # gzip's last bytes are a checksum and zstd's too (or its last block): what is before them counts.
    assert rows[-1] > 1100 if name.endswith(".gz") or name == "flushes.zst" else rows[-1] >= 0


def test_every_row_that_a_truncated_gzip_holds_is_found(tmp_path: Path) -> None:
    data = PACKED["one.gz"]
    for keep in (200, 3000, 9000):
        held = zlib.decompressobj(31).decompress(data[:keep])
        assert check_broken(write(tmp_path, data[:keep], "x.gz")) == held.count(b"\n")


def test_every_whole_zstd_block_before_the_end_counts(tmp_path: Path) -> None:
    big = text(12_000, seed=1)
    data = zstandard.compress(big)
    file = write(tmp_path, data[: len(data) - 10], "x.zst")
    (only,) = lines.index(file, 1 << 30)
    assert only.broken
    assert len(big) - only.end <= (128 << 10) + 200  # a block is 128 KiB at most


@pytest.mark.parametrize("name", ["one.gz", "members.gz", "frames.zst", "flushes.zst"])
def test_a_corrupt_byte_keeps_the_rows_before_it(tmp_path: Path, name: str) -> None:
    data = PACKED[name]
    rng = random.Random(7)
    seen = 0
    for _ in range(15):
        at = rng.randrange(20, len(data) - 8)
        damaged = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        file = write(tmp_path, damaged, name)
        chunks = lines.index(file, 5000)
        found = read_all(file, chunks)
        assert len(found) == sum(r.rows for r in chunks)
        seen += bool(chunks[-1].broken)
    assert seen > 10


def test_a_wrong_checksum_loses_no_row_but_is_told(tmp_path: Path) -> None:
    packed = gzip.compress(b"one\ntwo\n")
    file = write(tmp_path, packed[:-8] + b"\0\0\0\1" + packed[-4:], "x.gz")
    (only,) = lines.index(file, 1 << 20)
    assert "damaged gz stream" in only.broken
    assert [line.data for line in read_all(file, [only])] == [b"one", b"two"]


def test_well_compressed_zstd_is_not_expanded_at_once(tmp_path: Path) -> None:
    with (tmp_path / "x.zst").open("wb") as sink, zstandard.ZstdCompressor().stream_writer(sink) as writer:
        for _ in range(200):
            writer.write(b"x" * (1 << 20))
    stream = ByteStream(InputFile("x.zst", str(tmp_path / "x.zst"), "jsonl", "zst"))
    largest = total = 0
    while block := stream.read(BLOCK_BYTES):
        total += len(block)
        largest = max(largest, len(stream._rest))
    stream.close()
    assert total == 200 << 20
    assert largest <= 40 << 20


def test_the_break_is_met_after_what_came_before_it(tmp_path: Path) -> None:
    packed = gzip.compress(b"x" * 5000)[:-9]
    stream = ByteStream(write(tmp_path, packed, "x.gz"))
    got = stream.read(1 << 20)
    assert got == b"x" * len(got)
    with pytest.raises(Damaged, match="ends in the middle"):
        stream.read(1)
    stream.close()
