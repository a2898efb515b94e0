"""A hundred seeded cases of the readers' fuzz; see reader_fuzz for more of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from profiles import chosen_by_default
from reader_fuzz import READINGS, SOUND, N, failure_of, read_whole

from tagcorpus.pipelines.inputs.input_files import InputFile

CASES_OF_EACH = 9
# Cases that once raised or crashed: offsets behind a text that is not UTF-8, and a place before the file.
EARLIER = [("arrow stream", 2734), ("arrow stream", 3526), ("arrow stream", 3706), ("parquet v2", 1136)]


@pytest.mark.parametrize("name", SOUND)
def test_sound_files_are_read_whole(name: str, tmp_path: Path) -> None:
    format_, compression, data = SOUND[name]
    (tmp_path / "case").write_bytes(data)
    assert read_whole(InputFile("case", str(tmp_path / "case"), format_, compression), READINGS[0]) == N


@pytest.mark.parametrize("name", chosen_by_default(SOUND, ("jsonl", "csv", "parquet", "arrow file")))
def test_harmed_files_never_raise_crash_or_lose_a_row(name: str, tmp_path: Path) -> None:
    failures = {seed: failure_of(name, seed, tmp_path) for seed in range(CASES_OF_EACH)}
    assert {seed: message for seed, message in failures.items() if message} == {}


@pytest.mark.parametrize(("name", "seed"), EARLIER)
def test_earlier_failures(name: str, seed: int, tmp_path: Path) -> None:
    assert failure_of(name, seed, tmp_path) == ""
