"""One small corpus in every format that is read, and a folder of two models' harness samples: the same bytes each time.

Documents are ordinary prose in four languages, programs, lists, and texts that the repetition filter removes. Some lines
of the JSON Lines are no documents: not JSON, not UTF-8, without text, blank.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from code_snippets import SNIPPETS

from tagcorpus.pipelines.filtering.rewrite import csv_line

SEED = 20261128
SENTENCES = {
    "en": "The weather was cold; but 12 children walked to school and home again. How many of them were late, and why? "
    "Write a short letter to the teacher. A river runs through the town because the hills are steep.",
    "de": "Das Wetter war kalt, aber die Kinder gingen zur Schule und wieder heim. Wer weiß, warum der Fluss so langsam ist? "
    "Gestern öffnete der Markt um sieben Uhr.",
    "fr": "Le temps était froid mais les enfants marchaient vers leur maison. La rivière traverse la ville depuis toujours. "
    "Où est le marché ?",
    "zh": "今天天气很冷，孩子们走路去学校。河水穿过城市。老师写了一封信。",
}
CONLLU = "1\tChildren\tchild\tNOUN\t_\t_\t2\tnsubj\t_\t_\n2\twalk\twalk\tVERB\t_\t_\t0\troot\t_\t_\n3\thome\thome\tADV\t_\t_\t2\tadvmod\t_\t_\n\n"
CONSTITUENCY = "(ROOT (S (NP (NNS Children)) (VP (VBP walk) (ADVP (RB home)))))"
BAD_LINES = (
    b'{"text": "cut off',
    b'{"id": "n", "text": 7}',
    b'{"id": "u", "text": "\xff\xfe"}',
    b"",
    b"   ",
    b"[1, 2]",
)


def documents(n: int, seed: int = SEED) -> list[dict[str, Any]]:
    """n documents with id, text, source and parses (of every third). The id of each tenth repeats an earlier one."""
    chance = random.Random(seed)
    made = []
    for i in range(n):
        kind = i % 8
        language = chance.choice(sorted(SENTENCES))
        sentences = SENTENCES[language].replace("? ", "?|").replace(". ", ".|").split("|")
        text = " ".join(chance.choices(sentences, k=chance.randint(2, 9)))
        if kind == 5:
            text = chance.choice(SNIPPETS)[1]
        elif kind == 6:
            text = "\n".join(["same line, once more"] * chance.randint(4, 9))
        elif kind == 7:
            text = chance.choice(["", "short", "naïve café\u00a0№ 5 🙂", 'He said "no",\nand left; 3,5 %', " \n\t "])
        made.append(
            {
                "id": f"d{i - 9 if i % 10 == 9 else i}",
                "text": text,
                "source": ("web", "books")[i % 2],
                "conllu": CONLLU * (1 + i % 2) if i % 3 == 0 else None,
                "constituency": CONSTITUENCY if i % 6 == 0 else None,
            }
        )
    return made


def lines_of(rows: Sequence[dict[str, Any]], bad: Sequence[bytes] = ()) -> bytes:
    """JSON Lines; a bad line after every fifth good one while they last."""
    left, lines = list(bad), []
    for i, row in enumerate(rows):
        lines.append(json.dumps(row, ensure_ascii=i % 2 == 0).encode())
        if i % 5 == 4 and left:
            lines.append(left.pop(0))
    return b"\n".join(lines) + b"\n"


def write_corpus(folder: Path, n: int = 24) -> None:
    """a.jsonl, b.csv, c.parquet, d.arrow, e.jsonl.gz and f.jsonl.zst, of n documents each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.jsonl").write_bytes(lines_of(documents(n), BAD_LINES))
    rows = documents(n, SEED + 1)
    csv = [csv_line(list(rows[0])), *(csv_line([r[c] for c in r]) for r in rows)]
    (folder / "b.csv").write_bytes("".join(csv).encode())
    pq.write_table(pa.Table.from_pylist(documents(n, SEED + 2)), folder / "c.parquet", row_group_size=7)
    table = pa.Table.from_pylist(documents(n, SEED + 3))
    with pa.OSFile(str(folder / "d.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    (folder / "e.jsonl.gz").write_bytes(gzip.compress(lines_of(documents(n, SEED + 4), BAD_LINES[:1]), mtime=0))
    packed = zstandard.ZstdCompressor(level=3).compress(lines_of(documents(n, SEED + 5)))
    (folder / "f.jsonl.zst").write_bytes(packed)


def write_generations(folder: Path, n: int = 16) -> None:
    """Samples of two models as the evaluation harness logs them: one request and two repeats a prompt."""
    for k, model in enumerate(("harbour__prose-1b", "mill__loop-tiny")):
        texts = [d["text"] for d in documents(2 * n, SEED + 10 + k)]
        rows = [
            {"doc_id": i, "doc": {"source": ("web", "books")[i % 2]}, "resps": [texts[2 * i : 2 * i + 2]]}
            for i in range(n)
        ]
        place = folder / model
        place.mkdir(parents=True, exist_ok=True)
        (place / "samples_stories_2026-01-01T00-00-00.000000.jsonl").write_bytes(lines_of(rows))
