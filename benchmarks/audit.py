"""How often `tagcorpus audit` finds a planted offset of a group, how often it is wrong, and what 10^7 or 10^8 rows cost.

    python benchmarks/audit.py --simulations 1000
    python benchmarks/audit.py --rows 100000000 --work DIR

Simulated: 20 groups of 2,000 rows, three designs with an offset of 0.1 standard deviations and one without any. An audit finds
something where it says that the score differs between the groups. The best possible test of a single group among 20 that errs
in 5 % of the cases is simulated, too: no other test finds more on average over groups and signs (Neyman and Pearson).

Rows: an output with the columns of two taggers, numbers made here, 1,000,000 rows to a part. Time and memory are those of the
command in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tagcorpus.pipelines.attributes.parts import part_name, write_part
from tagcorpus.pipelines.audit import measures, verdict
from tagcorpus.pipelines.audit.tallies import SUMS, Tallies, Tally
from tagcorpus.pipelines.distributions.attribute_columns import AttributeColumn
from tagcorpus.pipelines.distributions.binning import Sample, bins_of
from tagcorpus.pipelines.distributions.blocks import BLOCKS
from tagcorpus.pipelines.distributions.grouping import Grouping
from tagcorpus.pipelines.inputs.chunks import Chunk, Counts
from tagcorpus.pipelines.inputs.input_files import InputFile
from tagcorpus.pipelines.readers.plan import PlannedFile, _store
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import sealed

GROUPS, ROWS = 20, 2_000
FLOOR = 0.05
ROWS_PER_PART = 1_000_000


def means(design: str, random: np.random.Generator) -> np.ndarray:
    """Means of the groups, in standard deviations within groups."""
    if design == "half of the groups":
        return np.repeat([0.0, 0.1], GROUPS // 2)
    if design == "normal offsets":
        drawn = random.standard_normal(GROUPS)
        return 0.1 * (drawn - drawn.mean()) / drawn.std()
    return np.array([0.1 if design == "one group" else 0.0, *[0.0] * (GROUPS - 1)])


def outcome_of(design: str, random: np.random.Generator, is_skewed: bool) -> str:
    """The outcome of the audit of one simulated column."""
    codes = np.repeat(np.arange(GROUPS), ROWS)
    noise = random.standard_normal(len(codes))
    if is_skewed:  # as lengths and perplexities are
        noise = np.exp(noise)
        noise = (noise - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)
    values = means(design, random)[codes] + noise
    sample = Sample(len(values))
    sample.add(values, random)
    bins = bins_of(sample)
    grouping = Grouping("group", "file")
    grouping.counts.update({str(g): ROWS for g in range(GROUPS)})
    grouping.close()
    cell = random.integers(0, BLOCKS, len(values)) * GROUPS + codes
    sums = np.zeros((BLOCKS, SUMS, GROUPS))
    for i, weight in enumerate((None, values, values**2)):
        sums[:, i] = np.bincount(cell, weight, BLOCKS * GROUPS).reshape(BLOCKS, GROUPS)
    counts = np.bincount(codes * len(bins) + bins.of(values), minlength=GROUPS * len(bins)).reshape(GROUPS, -1)
    tally = Tally(grouping, sums, counts, np.zeros(GROUPS, np.int64), None)
    result = Tallies(AttributeColumn("a", "b", pa.float64()), sample, bins, 0.0, 0, [tally], None)
    return verdict.outcome(measures.grouping_of(tally, result, GROUPS), FLOOR)


def simulate(n: int) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for is_skewed in (False, True):
        for design in ("no offset", "half of the groups", "normal offsets", "one group"):
            random = np.random.default_rng(7)
            found = sum(outcome_of(design, random, is_skewed) == verdict.DIFFERS for _ in range(n))
            name = f"{design}, {'lognormal' if is_skewed else 'normal'} values"
            figures[name] = found / n
            print(f"{name:45} found in {found} of {n} ({found / n:.1%})", flush=True)
    return figures


def best_power(n: int) -> dict[str, float]:
    """How often the best test finds one group of 20 that is 0.1 standard deviations off: it adds the likelihood ratios of all
    groups and signs, and errs in 5 % of the cases. The means of the groups are normal, with known variance."""
    random = np.random.default_rng(11)
    offset = 0.1 * np.sqrt(ROWS)
    null = random.standard_normal((n, GROUPS))
    one = random.standard_normal((n, GROUPS))
    one[:, 0] += offset
    sides = [offset * (z - z.mean(1, keepdims=True)) for z in (null, one)]
    either, known = ([ratio(x).sum(1) for x in sides] for ratio in (np.cosh, np.exp))
    return {
        name: float((b > np.quantile(a, 0.95)).mean())
        for name, (a, b) in (("either sign", either), ("known sign", known))
    }


def make_output(work: Path, rows: int, seed: int = 1) -> Path:
    """An output with plan and parts of `quality` and `length`, as a run leaves them, of invented values."""
    output = work / f"rows-{rows}"
    if (output / "made").exists():
        return output
    folder, random = Folder(str(output)), np.random.default_rng(seed)
    schemas = {
        "quality": pa.schema([("edu_classifier", pa.float64())]),
        "length": pa.schema([("char_len", pa.int64())]),
        "language": pa.schema([("language", pa.string())]),
    }
    for name, schema in schemas.items():
        columns = [{"name": f.name, "type": str(f.type)} for f in schema]
        value = {"tagger": name, "version": "1", "parameters": {}, "columns": columns}
        folder.publish(f"attributes/{name}/tagger.json", sealed(value))
    settings = {
        "text_column": ["text"],
        "id_column": ["id"],
        "is_resps": False,
        "max_line_bytes": 1 << 25,
    }
    parts = -(-rows // ROWS_PER_PART)
    files = min(20, parts)
    for f in range(files):
        chunks = []
        for k, _ in enumerate(range(f, parts, files)):
            first = k * ROWS_PER_PART
            n = min(ROWS_PER_PART, rows)
            chunks.append(Chunk(first, first + n, first, n, f"{f}-{k}"))
            shift, kind = 0.02 * f, random.integers(0, 5, n)
            length = np.exp(random.standard_normal(n) + 7).astype(np.int64)
            values = {
                "quality": [random.standard_normal(n) + shift + 0.1 * np.log(length + 1)],
                "length": [length],
                "language": [pa.array(["en", "de", "fr", "ja", "un"]).take(pa.array(kind))],
            }
            keys = [pa.array(np.arange(first, first + n)), pa.array(np.zeros(n, np.int32)), pa.nulls(n, pa.string())]
            for name, columns in values.items():
                schema = pa.schema([("row", pa.int64()), ("sub", pa.int32()), ("id", pa.string()), *schemas[name]])
                batch = pa.record_batch([*keys, *(pa.array(c) for c in columns)], schema=schema)
                file = part_name(name, f"source-{f:02}.jsonl", k)
                write_part(folder, file, schemas[name], [batch], "made", Counts(lines=n, read=n, documents=n))
        name = f"source-{f:02}.jsonl"
        _store(folder, PlannedFile(InputFile(name, name, "jsonl", ""), tuple(chunks)), None, settings)
    (output / "made").touch()
    return output


def measured(arguments: list[str]) -> dict[str, float]:
    """CPU and wall seconds and peak resident MB of a command."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([sys.executable, "-m", "tagcorpus", *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_seconds": cpu, "wall_seconds": time.monotonic() - begin, "peak_mb": after.ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=0)
    parser.add_argument("--rows", type=int, nargs="*", default=[])
    parser.add_argument("--work", type=Path, default=Path("audit-work"))
    options = parser.parse_args()
    if options.simulations:
        simulate(options.simulations)
        for name, power in best_power(500_000).items():
            print(f"best test of one group, {name}: {power:.1%}")
    for rows in options.rows:
        output = make_output(options.work, rows)
        arguments = ["audit", str(output), "--column", "quality.edu_classifier", "--against", "length.char_len"]
        print(json.dumps({"rows": rows, **measured(arguments)}), flush=True)


if __name__ == "__main__":
    main()
