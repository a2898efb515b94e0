"""The programs that suite.py runs in turn, each as its users would write it. `python _programs.py NAME SOURCE OUTPUT`.

SOURCE is a folder of JSONL or Parquet shards (for the three programs on ready ids, of arrays). Each program writes its result below
OUTPUT and prints JSON: `check`, a total that the suite compares with tagcorpus's, and `cpu`, where only a part of the process counts.
The programs import what they need themselves, since they run in different environments. Each uses one process and one thread.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

END_OF_TEXT = "<|endoftext|>"
Result = dict[str, float]
PROGRAMS: dict[str, Callable[[Path, Path], Result]] = {}


def program(function: Callable[[Path, Path], Result]) -> Callable[[Path, Path], Result]:
    PROGRAMS[function.__name__] = function
    return function


def records(source: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(source.glob("*.jsonl")):
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def patterns(source: Path) -> dict[str, str]:
    """The five patterns of the tagger `keywords`, as the suite wrote them."""
    content: dict[str, str] = json.loads((source.parent / "patterns.json").read_text())
    return content


# ---- plain Python


@program
def passes(source: Path, output: Path) -> Result:
    """Characters, tokens, distinct tokens, keywords: one pass over the files for each feature."""
    import tiktoken

    encoding = tiktoken.get_encoding("p50k_base")
    compiled = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in patterns(source).items()}
    total = 0

    def tokens(text: str) -> int:
        nonlocal total
        n = len(encoding.encode_ordinary(text))
        total += n
        return n

    def ratio(text: str) -> float:
        ids = encoding.encode_ordinary(text)
        return len(set(ids)) / max(len(ids), 1)

    features: dict[str, Callable[[str], Any]] = {
        "char_len": len,
        "num_tokens": tokens,
        "ttr": ratio,
        "keywords": lambda text: {name: len(pattern.findall(text)) for name, pattern in compiled.items()},
    }
    output.mkdir(parents=True)
    for name, feature in features.items():
        with (output / f"{name}.jsonl").open("w") as sink:
            for record in records(source):
                sink.write(json.dumps({"id": record["id"], name: feature(record["text"])}) + "\n")
    return {"check": total}


@program
def counters(source: Path, output: Path) -> Result:
    """Bigram entropy: a Counter of next tokens for each token, the entropy of each, and statistics of each document."""
    import numpy as np
    import tiktoken

    encoding = tiktoken.get_encoding("p50k_base")
    following: dict[int, Counter[int]] = defaultdict(Counter)
    documents = []
    for record in records(source):
        ids = encoding.encode_ordinary(record["text"])
        documents.append((record["id"], ids))
        for context, token in pairwise(ids):
            following[context][token] += 1
    entropies = {}
    for context, counts in following.items():
        n = sum(counts.values())
        entropies[context] = -sum(c / n * math.log2(c / n) for c in counts.values())
    output.mkdir(parents=True)
    with (output / "documents.jsonl").open("w") as sink:
        for name, ids in documents:
            own = [entropies[token] for token in ids[:-1]]
            row = {"id": name, "entropy_positions": len(own)}
            if own:
                row |= {"mean": float(np.mean(own)), "std": float(np.std(own)), "min": min(own), "max": max(own)}
            sink.write(json.dumps(row) + "\n")
    return {"check": float(np.mean(list(entropies.values())))}


# ---- datatrove


def datatrove(source: Path, output: Path, *steps: Any) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader

    reader = JsonlReader(str(source), glob_pattern="*.jsonl")
    LocalPipelineExecutor([reader, *steps], tasks=1, workers=1, logging_dir=f"{output}/logs").run()


@program
def datatrove_tokens(source: Path, output: Path) -> Result:
    """Reader, a step with len and tiktoken, writer."""
    import tiktoken
    from datatrove.pipeline.writers import JsonlWriter

    encoding = tiktoken.get_encoding("p50k_base")
    total = 0

    def count(data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:  # noqa: ARG001
        nonlocal total
        for document in data:
            ids = encoding.encode_ordinary(document.text)
            total += len(ids)
            ratio = len(set(ids)) / max(len(ids), 1)
            document.metadata |= {"char_len": len(document.text), "num_tokens": len(ids), "ttr": ratio}
            yield document

    datatrove(source, output, count, JsonlWriter(f"{output}/out", compression=None))
    return {"check": total}


@program
def datatrove_gopher(source: Path, output: Path) -> Result:
    """Reader, both Gopher filters, writer of what they keep."""
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.writers import JsonlWriter

    writer = JsonlWriter(f"{output}/out", compression=None)
    datatrove(source, output, GopherRepetitionFilter(), GopherQualityFilter(), writer)
    return {}


@program
def datatrove_tokenize(source: Path, output: Path) -> Result:
    """Reader, Megatron's token files."""
    from datatrove.pipeline.tokens import MegatronDocumentTokenizer

    tokenizer = str(source.parent / "tokenizer.json")
    step = MegatronDocumentTokenizer(
        output_folder=f"{output}/out", tokenizer_name_or_path=tokenizer, eos_token=END_OF_TEXT
    )
    datatrove(source, output, step)
    return {"check": sum(path.stat().st_size for path in output.rglob("*.bin")) / 2}


@program
def train_tokenizer(source: Path, output: Path) -> Result:
    """A tokenizer.json for the comparison above: a byte-level BPE of 32,000 tokens."""
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    texts = (record["text"] for record in records(source))
    tokenizer.train_from_iterator(texts, vocab_size=32_000, special_tokens=[END_OF_TEXT], show_progress=False)
    tokenizer.save(str(output))
    return {}


# ---- Polars and DuckDB: expressions


def with_polars(source: Path, output: Path, expressions: dict[str, str]) -> Result:
    import polars as pl

    paths = sorted(source.iterdir())
    schema = dict.fromkeys(("id", "text", "source"), pl.String)
    frame = pl.scan_parquet(paths) if source.name.startswith("parquet") else pl.scan_ndjson(paths, schema=schema)
    text = pl.col("text").str
    counts = {name: text.count_matches(f"(?i){pattern}") for name, pattern in expressions.items()}
    output.mkdir(parents=True)
    frame.select("id", char_len=text.len_chars(), **counts).sink_parquet(output / "counts.parquet")
    return {"check": pl.scan_parquet(output / "counts.parquet").select(pl.col("char_len").sum()).collect().item()}


def with_duckdb(source: Path, output: Path, expressions: dict[str, str]) -> Result:
    import duckdb

    connection = duckdb.connect()
    connection.execute("set threads to 1")
    columns = "columns = {id: 'VARCHAR', text: 'VARCHAR'}, format = 'newline_delimited'"
    parquet = source.name.startswith("parquet")
    table = f"read_parquet('{source}/*')" if parquet else f"read_json('{source}/*', {columns})"
    counts = "".join(
        f", len(regexp_extract_all(text, '{pattern}', 0, 'i')) as {name}" for name, pattern in expressions.items()
    )
    output.mkdir(parents=True)
    result = f"'{output / 'counts.parquet'}'"
    connection.execute(f"copy (select id, length(text) as char_len{counts} from {table}) to {result}")
    row = connection.execute(f"select sum(char_len) from {result}").fetchone()
    return {"check": float(row[0])}


@program
def polars_characters(source: Path, output: Path) -> Result:
    return with_polars(source, output, {})


@program
def duckdb_characters(source: Path, output: Path) -> Result:
    return with_duckdb(source, output, {})


@program
def polars_keywords(source: Path, output: Path) -> Result:
    return with_polars(source, output, patterns(source))


@program
def duckdb_keywords(source: Path, output: Path) -> Result:
    return with_duckdb(source, output, patterns(source))


# ---- counting on ready ids: only the counting is measured


def counted(source: Path, make: Callable[[Any, Any], Callable[[], Any]]) -> Result:
    import numpy as np

    work = make(np.load(source / "ids.npy"), np.load(source / "offsets.npy"))
    work()  # compiles the kernel, and warms everybody's caches
    start = time.process_time()
    result = work()
    cpu = time.process_time() - start
    entropies = result.entropy_bits if hasattr(result, "entropy_bits") else result["h"]
    return {"cpu": cpu, "check": float(np.mean(np.asarray(entropies)))}


@program
def save_ids(source: Path, output: Path) -> Result:
    import numpy as np
    from entropy_kernel import tokenised

    ids, offsets = tokenised([source], 1e6)
    output.mkdir(parents=True)
    np.save(output / "ids.npy", ids)
    np.save(output / "offsets.npy", offsets)
    return {}


@program
def kernel_ids(source: Path, _: Path) -> Result:
    from entropy_kernel import kernels

    return counted(source, lambda ids, offsets: kernels(ids, offsets, 1)["memory"])


@program
def polars_ids(source: Path, _: Path) -> Result:
    from entropy_kernel import columns, in_polars

    return counted(source, lambda ids, offsets: in_polars(columns(ids, offsets, 1), 1, 1))


@program
def duckdb_ids(source: Path, _: Path) -> Result:
    from entropy_kernel import columns, in_duckdb

    return counted(source, lambda ids, offsets: in_duckdb(columns(ids, offsets, 1), 1, 1))


# ---- quality signals of programs that take long to install


def scored(source: Path, output: Path, score: Callable[[str], Any]) -> Result:
    """What `score` gives for each document, as JSONL."""
    output.mkdir(parents=True)
    with (output / "scores.jsonl").open("w") as sink:
        for record in records(source):
            sink.write(json.dumps({"id": record["id"], "scores": score(record["text"])}, default=str) + "\n")
    return {}


@program
def nemo(source: Path, output: Path) -> Result:
    """29 scores of NeMo Curator's heuristics, without its executor."""
    from nemo_curator.stages.text.filters.heuristic import string
    from nemo_curator.stages.text.filters.heuristic.repetition import repetition

    names = (
        "BoilerPlateString Bullets CommonEnglishWords Ellipsis LongWord MeanWordLength NonAlphaNumeric Numbers Parentheses "
        "PornographicUrls Punctuation SymbolsToWords Urls WhiteSpace WordCount WordsWithoutAlphabets"
    )
    repeated = ("Lines", "Paragraphs", "LinesByChar", "ParagraphsByChar")
    filters = [getattr(string, f"{name}Filter")() for name in names.split()]
    filters += [getattr(repetition, f"Repeated{name}Filter")() for name in repeated]
    filters += [repetition.RepeatingTopNGramsFilter(n) for n in (2, 3, 4)]
    filters += [repetition.RepeatingDuplicateNGramsFilter(n) for n in range(5, 11)]
    return scored(source, output, lambda text: [f.score_document(text) for f in filters])


@program
def data_juicer(source: Path, output: Path) -> Result:
    """The statistics of data-juicer's eight filters that need no model and no word list, without its executor."""
    from importlib import import_module

    names = (
        "alphanumeric average_line_length character_repetition maximum_line_length special_characters text_length "
        "word_repetition words_num"
    )
    operators = []
    for name in names.split():
        module = import_module(f"data_juicer.ops.filter.{name}_filter")
        operators.append(getattr(module, "".join(word.title() for word in name.split("_")) + "Filter")())

    def score(text: str) -> Any:
        samples = {"text": [text], "__dj__stats__": [{}]}
        for operator in operators:
            samples = operator.compute_stats_batched(samples)
        return samples["__dj__stats__"][0]

    return scored(source, output, score)


@program
def textdescriptives(source: Path, output: Path) -> Result:
    """TextDescriptives' readability and quality on a blank English pipeline with a rule-based sentencizer."""
    import spacy
    import textdescriptives  # noqa: F401 -- registers its components

    nlp = spacy.blank("en")
    nlp.max_length = 10**9
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("textdescriptives/readability")
    ranges = {"top_ngram_range": (2, 4), "duplicate_n_gram_fraction_range": (5, 10)}
    nlp.add_pipe("textdescriptives/quality", config=ranges)

    def score(text: str) -> Any:
        document = nlp(text)
        return {"readability": document._.readability, "quality": str(document._.quality)}

    return scored(source, output, score)


if __name__ == "__main__":
    print(json.dumps(PROGRAMS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))))
