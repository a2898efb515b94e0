"""Slow, obvious twins of every kernel. Nothing here is clever; tests compare the kernels with it."""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any, ClassVar

KEYWORD_PATTERNS = {
    "question_words": r"\b(How|What|Why|When|Where|Who|Which|Whose)\b",
    "imperative_verbs": (
        r"\b(Do|Make|Consider|Take|Use|Ensure|Check|Build|Apply|Run|Create|Find|Go|Try|Turn|Start|Stop|Put|Keep|Leave|Get|Move)\b"
    ),
    "conjunctions": r"\b(and|but|or|so|because|although|however|therefore|yet)\b",
    "instruction_words": r"(Question:|Answer:|Instruction:|User:|Assistant:|Q:|A:)",
    "numbers": r"\b\d+\b|\b\d+\.\d+\b|\b\d+%\b",
}
_KEYWORDS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in KEYWORD_PATTERNS.items()}


def keyword_counts(text: str) -> dict[str, int]:
    """Twin of kernels.keywords.count_keywords, for one document."""
    return {name: len(pattern.findall(text)) for name, pattern in _KEYWORDS.items()}


def distinct_per_document(ids: Any, offsets: Any) -> list[int]:
    """Twin of kernels.tokens.count_distinct."""
    return [len(set(ids[start:end].tolist())) for start, end in itertools.pairwise(offsets)]


@functools.cache
def nltk_word_tokenize() -> Callable[[str], list[str]]:
    """NLTK's own sentence and word tokenizers, set back to the rules of release 3.8.1, on the shipped Punkt parameters.

    3.9 added a rule on whitespace; 3.10 changed quotes and dashes and replaced `re` by another engine.
    """
    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktLanguageVars, PunktParameters, PunktSentenceTokenizer, PunktToken

    from tagcorpus.taggers._tokenizers.punkt import Punkt

    def plain(rules: list[tuple[Any, str]]) -> list[tuple[re.Pattern[str], str]]:
        added_later = (r"\s+", r"[\u2012-\u2015]")
        return [(re.compile(rule.pattern), new) for rule, new in rules if rule.pattern not in added_later]

    class Words(NLTKWordTokenizer):
        STARTING_QUOTES: ClassVar = [
            *plain(NLTKWordTokenizer.STARTING_QUOTES[:-1]),
            (re.compile(r"(?i)(')(?!re|ve|ll|m|t|s|d|n)(\w)\b"), r"\1 \2"),
        ]
        PUNCTUATION: ClassVar = plain(NLTKWordTokenizer.PUNCTUATION)
        ENDING_QUOTES: ClassVar = plain(NLTKWordTokenizer.ENDING_QUOTES)

    class Variables(PunktLanguageVars):
        re_boundary_realignment = re.compile(r"""["')\]}]+?(?:\s+|(?=--)|$)""", re.MULTILINE)
        _re_non_word_chars = r"""(?:[)";}\]*:@'({\[?!])"""

        def _word_tokenizer_re(self) -> re.Pattern[str]:
            parts = {
                "NonWord": self._re_non_word_chars,
                "MultiChar": self._re_multi_char_punct,
                "WordStart": self._re_word_start,
            }
            return re.compile(self._word_tokenize_fmt % parts, re.VERBOSE)

        def period_context_re(self) -> re.Pattern[str]:
            parts = {"NonWord": self._re_non_word_chars, "SentEndChars": self._re_sent_end_chars}
            return re.compile(self._period_context_fmt % parts, re.VERBOSE)

    class Token(PunktToken):
        _RE_ELLIPSIS = re.compile(PunktToken._RE_ELLIPSIS.pattern)
        _RE_NUMERIC = re.compile(PunktToken._RE_NUMERIC.pattern)
        _RE_INITIAL = re.compile(PunktToken._RE_INITIAL.pattern)
        _RE_ALPHA = re.compile(PunktToken._RE_ALPHA.pattern)

    shipped = Punkt()
    parameters = PunktParameters()
    parameters.abbrev_types = shipped.abbreviations
    parameters.sent_starters = shipped.sentence_starters
    parameters.collocations = shipped.collocations
    parameters.ortho_context = defaultdict(int, shipped.orthography)
    sentences = PunktSentenceTokenizer(parameters, lang_vars=Variables(), token_cls=Token)
    words = Words()
    return lambda text: [word for sentence in sentences.tokenize(text) for word in words.tokenize(sentence)]


def repetition(text: str, line: float, paragraph: float, ngram: float, min_length: int) -> dict[str, Any]:
    """The repetition filter and its figures, rule by rule."""

    def share(parts: list[str]) -> float:
        return 1 - len(Counter(parts)) / len(parts) if parts else 0.0

    def ngrams(n: int) -> float:
        counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        total = sum(counts.values())
        return (total - len(counts)) / total if total else 0.0

    lines = [part.strip() for part in text.split("\n") if part.strip()]
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    words = nltk_word_tokenize()(text.lower())
    run = max((len(list(same)) for _, same in itertools.groupby(text.lower().split())), default=0)
    figures = {
        "duplicate_line_ratio": share(lines),
        "duplicate_paragraph_ratio": share(paragraphs),
        "duplicate_2gram_ratio": ngrams(2),
        "duplicate_3gram_ratio": ngrams(3),
        "longest_word_run": run,
    }
    reason = "passed"
    if len(text) < min_length:
        reason = "too_short"
    elif run > 50:
        reason = "pathological_repetition"
    elif figures["duplicate_line_ratio"] > line:
        reason = "extreme_line_repetition"
    elif figures["duplicate_paragraph_ratio"] > paragraph:
        reason = "extreme_paragraph_repetition"
    elif figures["duplicate_2gram_ratio"] > ngram or figures["duplicate_3gram_ratio"] > ngram:
        reason = "degenerate_repetition"
    return {"is_kept": reason == "passed", "reason": reason, **figures}


def read_jsonl(data: bytes, max_line_bytes: int, name: str) -> tuple[list[tuple[int, int, str, str]], dict[int, str]]:
    """Twin of the JSONL reader: ((row, sub, id, text) of every document, what became of every other row)."""
    documents: list[tuple[int, int, str, str]] = []
    others: dict[int, str] = {}
    pieces = data.split(b"\n")
    for row, piece in enumerate(pieces[:-1] if pieces[-1] == b"" else pieces):
        found = _documents(piece.removeprefix(b"\xef\xbb\xbf") if row == 0 else piece, f"{name}:{row}")
        if len(piece) > max_line_bytes:
            others[row] = "too_long"
        elif isinstance(found, str):
            others[row] = found
        else:
            documents += [(row, sub, *(_whole(part) for part in one)) for sub, one in enumerate(found)]  # type: ignore[misc]
    return documents, others


def _documents(line: bytes, fallback: str) -> str | list[tuple[str, str]]:
    """(id, text) of every document of a line, or why there is none."""
    if not line.strip():
        return "blank"
    try:
        text = line.decode("utf-8")
        if "\0" in text:
            return "nul"
        record = json.loads(text)
    except UnicodeDecodeError:
        return "not_utf8"
    except RecursionError:
        return "too_deep"
    except ValueError:
        return "not_json"
    if not isinstance(record, dict):
        return "not_object"
    for column in ("text", "content", "raw_content"):
        if column in record:
            own = [record.get("id"), record.get("doc_id")]
            ids = [i if isinstance(i, str) else json.dumps(i, ensure_ascii=False) for i in own if i is not None]
            return [(([*ids, fallback])[0], record[column])] if isinstance(record[column], str) else "text_not_string"
    if "resps" not in record:
        return "no_text"
    leaves = {(i, j): leaf for i, request in enumerate(record["resps"]) for j, leaf in enumerate(request)}
    if not leaves:
        return "no_text"
    if not all(isinstance(leaf, str) for leaf in leaves.values()):
        return "text_not_string"
    base = str(record.get("doc_id", fallback))
    return [(base if len(leaves) == 1 else f"{base}:{i}:{j}", leaf) for (i, j), leaf in leaves.items()]


def _whole(text: str) -> str:
    """Lone surrogates as U+FFFD."""
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


def conditional_estimates(entries: Sequence[int], contexts: Sequence[int]) -> dict[str, float]:
    """Twin of pipelines.estimators.estimate, out of the counts of every entry and context, one by one: the formulas of
    the papers as they are printed, on exact fractions, logarithms to 80 digits."""
    with localcontext() as digits:
        digits.prec = 80
        bits = Decimal(2).ln()
        sides = [_one_side(counts) for counts in (entries, contexts)]
        found = {name: float((sides[0][name] - sides[1][name]) / bits) for name in sides[0] if name != "coverage"}
        return {
            **found,
            "coverage_entries": float(sides[0]["coverage"]),
            "coverage_contexts": float(sides[1]["coverage"]),
        }


def _decimal(x: Fraction) -> Decimal:
    return Decimal(x.numerator) / Decimal(x.denominator)


def _one_side(counts: Sequence[int]) -> dict[str, Decimal]:
    """In nats."""
    n, f1, f2 = sum(counts), list(counts).count(1), list(counts).count(2)
    plug_in = -sum((_decimal(Fraction(c, n)) * _decimal(Fraction(c, n)).ln() for c in counts), Decimal(0))
    good = 1 - Fraction(f1 if f1 < n else n - 1, n)
    chao_shen = Decimal(0)
    for c in counts:
        p = good * Fraction(c, n)
        chao_shen -= _decimal(p) * _decimal(p).ln() / _decimal(1 - (1 - p) ** n) if p else 0
    seen = sum(Fraction(c, n) * sum((Fraction(1, k) for k in range(c, n)), Fraction(0)) for c in counts)
    a = Fraction(2 * f2, (n - 1) * f1 + 2 * f2) if f2 else Fraction(2, (n - 1) * (f1 - 1) + 2) if f1 else Fraction(1)
    unseen = Decimal(0)
    if a < 1:
        partial = sum(((1 - a) ** r / r for r in range(1, n)), Fraction(0))
        unseen = _decimal(Fraction(f1, n) / (1 - a) ** (n - 1)) * (-_decimal(a).ln() - _decimal(partial))
    return {
        "plug_in": plug_in,
        "miller_madow": plug_in + _decimal(Fraction(len(counts) - 1, 2 * n)),
        "chao_shen": chao_shen,
        "chao_wang_jost": _decimal(Fraction(seen)) + unseen,
        "coverage": _decimal(1 - Fraction(f1, n) * (1 - a)),
    }


def key_gaps(keys: list[tuple[int, ...]]) -> list[int]:
    """What lies between every key and the one before it, keys read as numbers of 64-bit digits; 0 for the first."""
    numbers = [sum(word << 64 * place for place, word in enumerate(reversed(key))) for key in keys]
    return [0, *(b - a for a, b in itertools.pairwise(numbers))][: len(keys)]


def ngram_counts(ids: Any, offsets: Any, n: int) -> Counter[tuple[int, ...]]:
    """Twin of kernels.ngrams.count_ngrams: (n tokens of context, next token) -> count."""
    found: Counter[tuple[int, ...]] = Counter()
    for start, end in itertools.pairwise(offsets.tolist()):
        document = ids[start:end].tolist()
        found.update(tuple(document[i : i + n + 1]) for i in range(len(document) - n))
    return found


def packed(tokens: tuple[int, ...], bits: int) -> int:
    """Twin of the packing of entries and contexts: one integer, oldest token most significant."""
    value = 0
    for token in tokens:
        value = value * 2**bits + token
    return value


def context_entropies(ids: Any, offsets: Any, n: int) -> dict[tuple[int, ...], tuple[int, int, float]]:
    """Twin of kernels.entropy.conditional_entropy: context -> (count, distinct next tokens, entropy in bits)."""
    following: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
    for entry, count in ngram_counts(ids, offsets, n).items():
        following[entry[:-1]][entry[-1]] += count
    found = {}
    for context, counts in following.items():
        total = sum(counts.values())
        entropy = math.fsum(-c / total * math.log2(c / total) for c in counts.values())
        found[context] = (total, len(counts), entropy + 0.0)
    return found


def document_entropies(
    ids: Any, offsets: Any, n: int, entropies: dict[tuple[int, ...], float]
) -> list[tuple[float, float, float, float, int]]:
    """Twin of kernels.document_entropy.document_entropies: (mean, std, min, max, positions) of every document."""
    found = []
    for start, end in itertools.pairwise(offsets.tolist()):
        document = ids[start:end].tolist()
        values = [entropies[tuple(document[i : i + n])] for i in range(len(document) - n)]
        if values:
            found.append((statistics.fmean(values), statistics.pstdev(values), min(values), max(values), len(values)))
        else:
            found.append((math.nan, math.nan, math.nan, math.nan, 0))
    return found


def code_measures(tree: Any, source: bytes, nodes: Any) -> dict[str, list[Any]]:
    """Depth, type and distance to the definition of every named node, by recursion over named children; `nodes` names
    the outer and inner types as taggers/_code/languages.py has them."""
    depths: list[int] = []
    found: list[Any] = []
    parents: list[str] = []

    def visit(node: Any, depth: int, parent: str) -> None:
        depths.append(depth)
        found.append(node)
        parents.append(parent)
        for child in node.named_children:
            visit(child, depth + 1, node.type)

    visit(tree.root_node, 0, "")
    texts = [source[n.start_byte : n.end_byte] for n in found]

    def chosen(outer: Any, inner: Any) -> list[int]:
        return [i for i, n in enumerate(found) if parents[i] in outer and n.type in inner]

    functions = chosen(nodes.function, nodes.name)
    variables = chosen(nodes.variable, nodes.variable_name)
    calls = chosen(nodes.call, nodes.name)
    taken = {*functions, *variables, *calls}
    uses = [i for i, n in enumerate(found) if n.type in nodes.variable_name and i not in taken]
    distances: list[int | None] = [None] * len(found)
    for occurrences, definitions in ((calls, functions), (uses, variables)):
        for i in occurrences:
            same = [found[d].end_byte for d in definitions if texts[d] == texts[i]]
            before = [end for end in same if end <= found[i].start_byte]
            if same:
                distances[i] = found[i].start_byte - (max(before) if before else same[0])
    return {
        "depths": depths,
        "types": [n.type for n in found],
        "distances": distances,
        "n_definitions": [len({*functions, *variables})],
        "n_calls": [len(calls)],
    }


def feature_row(rows: Sequence[dict[str, Any]], stems: dict[str, int], min_kept_share: str) -> dict[str, float | None]:
    """Twin of pipelines.group_statistics.statistics, entropy left out.

    rows   one a document: every stem and keyword by its name, is_kept, prediction, language, stage; None where missing
    stems  with a value per document, and the ddof of each
    """
    found: dict[str, float | None] = {}
    kept = [r for r in rows if r["is_kept"]]
    for stem, ddof in stems.items():
        values = [r[stem] for r in kept if r[stem] is not None]
        tagged = sum(r[stem] is not None for r in rows)
        is_enough = bool(values) and Fraction(len(values), tagged) >= Fraction(min_kept_share)
        found[f"{stem}_mean"] = float(statistics.mean(map(Fraction, values))) if is_enough else None
        deviation = statistics.stdev if ddof else statistics.pstdev
        found[f"{stem}_std"] = float(deviation(map(Fraction, values))) if is_enough and len(values) > ddof else None
    asked = [r for r in kept if r["stage"] != "not_selected" and r["prediction"] is not None]
    counted = [r for r in asked if r["prediction"] not in ("unknown", "incoherent")]
    for domain in ("academic", "books", "code", "reference", "specific_datasets", "web"):
        share = 100 * sum(r["prediction"] == domain for r in counted) / len(counted) if counted else 0.0
        found[f"domain_{domain}_pct_mean"] = share if asked or not kept else None
    english = sum(r["language"] == "en" for r in counted)
    found["pct_english_mean"] = 100 * english / len(counted) if counted else None
    for name in ("question_words", "imperative_verbs", "conjunctions", "instruction_words", "numbers"):
        pairs = [(r[name], r["char_len"]) for r in kept if r[name] is not None and r["char_len"] is not None]
        characters = sum(n for _, n in pairs)
        column = f"{name.replace('instruction_', 'instructions_')}_ratio"
        found[column] = float(Fraction(100_000 * sum(m for m, _ in pairs), characters)) if characters else None
    return found
