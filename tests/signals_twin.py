"""Naive twin of the tagger `signals`: every column by plain Python over the text, slow and obvious."""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import zstandard
from datatrove.utils.text import PUNCTUATION_SET, TERMINAL_PUNCTUATION

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")


def own_words(text: str) -> list[str]:
    """Our words, by the rule in kernels/signals/words.py."""
    return [word for piece in text.split() for word in words_of_piece(piece)]


def words_of_piece(piece: str) -> list[str]:
    before: list[str] = []
    after: list[str] = []
    while piece:
        if match := re.match(r"\.\.+|\.$", piece):
            mark = match[0]
        elif piece[0] != "." and not piece[0].isalnum() and piece[0] not in "-+/\\@~|^":
            mark = piece[0]
        else:
            break
        before.append(mark)
        piece = piece[len(mark) :]
    while piece:
        if match := re.search(r"\.\.+$|^\.$", piece):
            mark = match[0]
        elif piece[-1] == ".":
            is_capital = piece[-2].isupper() and not piece[-3:-2].isupper()
            is_abbreviation = is_capital or (piece[-2].isalpha() and not piece[-2].isupper() and piece[-3:-2] == ".")
            mark = "" if is_abbreviation else "."
        else:
            mark = "" if piece[-1].isalnum() or piece[-1] in "-+/\\@~|^=$%" else piece[-1]
        if not mark:
            break
        after.insert(0, mark)
        piece = piece[: -len(mark)]
    return [*before, *inner_words(piece, "://" in "".join([*before, piece, *after])), *joined_periods(after)]


def joined_periods(marks: list[str]) -> list[str]:
    """Periods that came off one after the other are one word where nothing was between them."""
    result: list[str] = []
    for mark in marks:
        if result and mark[0] == "." and result[-1][0] == ".":
            result[-1] += mark
        else:
            result.append(mark)
    return result


def inner_words(piece: str, is_address: bool) -> list[str]:
    if not piece or is_address:
        return [piece] if piece else []
    words, start, i = [], 0, 1
    while i < len(piece):
        mark = re.match(r"-+|\.+|.", piece[i:], re.DOTALL)[0]  # type: ignore[index]
        left, right = piece[i - 1], piece[i + len(mark) : i + len(mark) + 1]
        is_split = right and not mark[0].isalnum() and {
            "-": right.isalpha(), "~": right.isalpha(), "–": right.isalpha(), "—": right.isalpha(),
            ",": left.isalpha() and right.isalpha(),
            ".": len(mark) > 1 or (left.isalpha() and not left.isupper() and right.isupper()),
            "…": True,
            **dict.fromkeys(":<>=/", left.isalnum() and right.isalpha()),
        }.get(mark[0], False)  # fmt: skip
        if is_split or (mark[0] in "-+*^" and re.match(r"\d", left) and re.match(r"\d", right)):
            words += [piece[start:i], mark]
            start = i + len(mark)
            i = start
        elif mark in "'’" and 1 < len(piece) - i < 4 and piece[i + 1].isalpha() and piece[-1].isalpha():
            words.append(piece[start:i])
            start = i
        i += 1
    return [*words, piece[start:]]


def share(top: float, bottom: float) -> float:
    return top / bottom if bottom else 0.0


def ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def later_equals(pieces: list[str]) -> list[str]:
    return [piece for i, piece in enumerate(pieces) if piece in pieces[:i]]


def gopher(text: str, words: list[str]) -> dict[str, Any]:
    solid = [w for w in words if any(c not in PUNCTUATION_SET for c in w)]
    lines = text.splitlines()
    paragraphs, parted = re.split(r"\n{2,}", text.strip()), re.split(r"\n+", text)
    columns = {
        "gopher_words": len(solid),
        "gopher_mean_word_length": share(sum(map(len, solid)), len(solid)),
        "gopher_hash_to_word_ratio": share(text.count("#"), len(words)),
        "gopher_ellipsis_to_word_ratio": share(text.count("...") + text.count("…"), len(words)),
        "gopher_bullet_line_share": share(sum(x.lstrip().startswith(("•", "-")) for x in lines), len(lines)),
        "gopher_ellipsis_line_share": share(sum(x.rstrip().endswith(("...", "…")) for x in lines), len(lines)),
        "gopher_alpha_word_share": share(sum(any(map(str.isalpha, w)) for w in words), len(words)),
        "gopher_stop_words": len(STOP_WORDS & set(words)),
        "gopher_duplicate_line_share": share(len(later_equals(parted)), len(parted)),
        "gopher_duplicate_paragraph_share": share(len(later_equals(paragraphs)), len(paragraphs)),
        "gopher_duplicate_line_char_share": share(len("".join(later_equals(parted))), len(text)),
        "gopher_duplicate_paragraph_char_share": share(len("".join(later_equals(paragraphs))), len(text)),
    }
    for n in (2, 3, 4):
        top = Counter(ngrams(words, n)).most_common(1)
        columns[f"gopher_top_{n}gram_char_share"] = share(sum(len(" ".join(g)) * k for g, k in top), len(text))
    for n in range(5, 11):
        seen, i, characters = set(), 0, 0
        while i + n <= len(words):
            gram = "".join(words[i : i + n])
            characters += len(gram) * (gram in seen)
            i += n if gram in seen else 1
            seen.add(gram)
        columns[f"gopher_duplicate_{n}gram_char_share"] = share(characters, len(text))
    return columns


def sentences(text: str) -> int:
    """Sentences by our rule: pieces between ends, of which those count that have a letter or digit."""
    pieces = re.split(r"[.!?]+[\"')\]}”’]*(?=\s|$)", text)
    return sum(any(map(str.isalnum, piece)) for piece in pieces)


def c4(text: str) -> dict[str, Any]:
    lines = [line.strip() for line in text.splitlines()]
    counts = Counter[str]()
    for line in lines:
        clean = re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line)
        small = clean.lower()
        is_terminal = clean.endswith((".", "?", "!", '"', "'")) and not clean.endswith("...")
        counts["words"] += len(line.split())
        counts["terminal"] += is_terminal
        if any(len(word) > 1000 for word in line.split()):
            counts["long"] += 1
        elif is_terminal and len(line.split()) >= 3:
            is_policy = any(phrase in small for phrase in POLICIES)
            rules = {"lorem": "lorem ipsum" in small, "javascript": "javascript" in small, "curly": "{" in clean}
            reason = next((name for name, is_met in {**rules, "policy": is_policy}.items() if is_met), "kept")
            counts[reason] += 1
            counts["sentences"] += max(sentences(clean), 1) if reason == "kept" else 0
    return {
        "c4_lines": len(lines),
        "c4_words_per_line": share(counts["words"], len(lines)),
        "c4_terminal_line_share": share(counts["terminal"], len(lines)),
        "c4_long_word_lines": counts["long"],
        "c4_lorem_ipsum_lines": counts["lorem"],
        "c4_javascript_lines": counts["javascript"],
        "c4_curly_bracket_lines": counts["curly"],
        "c4_policy_lines": counts["policy"],
        "c4_kept_line_share": share(counts["kept"], len(lines)),
        "c4_sentences": counts["sentences"],
    }


def lines_with_text(text: str, words: list[str]) -> dict[str, Any]:
    lines = [line for line in text.split("\n") if line.strip()]
    n = len(lines)
    solid = ["".join(line.split()) for line in lines]
    return {
        "fineweb_terminal_line_share": share(sum(x.endswith(tuple(TERMINAL_PUNCTUATION)) for x in lines), n),
        "fineweb_short_line_share": share(sum(len(x) <= 30 for x in lines), n),
        "fineweb_duplicate_char_share": share(len("".join(later_equals(lines))), len(text.replace("\n", ""))),
        "fineweb_newline_to_word_ratio": share(text.count("\n"), len(words)),
        "mean_line_length": share(sum(map(len, lines)), n),
        "max_line_length": max(map(len, text.split("\n"))),
        "digit_line_share": share(sum(re.fullmatch(r"\d+", x) is not None for x in solid), n),
        "uppercase_line_share": share(sum(sum(map(str.isupper, x)) > len(x) / 2 for x in solid), n),
    }


def redpajama(text: str) -> dict[str, Any]:
    content = text.translate(str.maketrans("", "", string.punctuation)).lower().strip()
    content = unicodedata.normalize("NFD", re.sub(r"\s+", " ", content))
    words, raw = content.split(), re.findall(r"\w+|[^\w\s]+", text)
    characters = sum(map(len, words))
    lines = re.findall(r"[^\n]*\n|[^\n]+$", text)
    bullets = tuple("\u2022\u2023\u25b6\u25c0\u25e6\u25a0\u25a1\u25aa\u25ab\u2013")
    shares = [count / len(words) for count in Counter(words).values()]
    columns = {
        "rps_doc_word_count": len(words),
        "rps_doc_mean_word_length": share(characters, len(words)),
        "rps_doc_num_sentences": len(re.findall(r"\b[^.!?]+[.!?]*", text)),
        "rps_doc_symbol_to_word_ratio": share(sum(map(text.count, ("#", "...", "…"))), len(raw)),
        "rps_doc_frac_no_alph_words": share(sum(not re.search("[a-zA-Z]", w) for w in raw), len(raw)),
        "rps_doc_frac_all_caps_words": share(sum(map(str.isupper, raw)), len(raw)),
        "rps_doc_frac_unique_words": share(len(set(words)), len(words)),
        "rps_doc_unigram_entropy": -sum(p * math.log(p) for p in shares),
        "rps_doc_frac_lines_end_with_ellipsis": share(
            sum(x.rstrip().endswith(("...", "…")) for x in lines), len(lines)
        ),
        "rps_doc_curly_bracket": share(text.count("{") + text.count("}"), len(text)),
        "rps_doc_lorem_ipsum": share(content.count("lorem ipsum"), len(" ".join(words))),
        "rps_lines_start_with_bulletpoint": share(sum(x.lstrip().startswith(bullets) for x in lines), len(lines)),
        "rps_lines_ending_with_terminal_punctution_mark": share(
            sum(x.rstrip().endswith((".", "!", "?", "”")) for x in lines), len(lines)
        ),
    }
    for n in (2, 3, 4):
        top = [(g, k) for g, k in Counter(ngrams(words, n)).most_common(1) if k > 1]
        columns[f"rps_doc_frac_chars_top_{n}gram"] = share(sum(len("".join(g)) * k for g, k in top), characters)
    for n in range(5, 11):
        counts = Counter(ngrams(words, n))
        places = {i + k for i, g in enumerate(ngrams(words, n)) if counts[g] > 1 for k in range(n)}
        columns[f"rps_doc_frac_chars_dupe_{n}grams"] = share(sum(len(words[i]) for i in places), characters)
    return columns


def readability(text: str) -> dict[str, Any]:
    words: list[str] = []
    previous = ""
    for i, character in enumerate(text):
        is_inside = character in "'’" and previous and text[i + 1 : i + 2].isalnum()
        if character.isalnum() or is_inside:
            words = [*words[:-1], words[-1] + character] if previous else [*words, character]
            previous = character
        else:
            previous = ""
    n = len(words)
    if not n:
        return dict.fromkeys(
            ("flesch_reading_ease", "flesch_kincaid_grade", "gunning_fog", "coleman_liau", "automated_readability")
        )
    syllables = [syllables_of(word) for word in words]
    per_sentence, per_word = n / sentences(text), sum(syllables) / n
    letters, characters = sum(map(str.isalpha, text)), sum(map(str.isalnum, text))
    return {
        "flesch_reading_ease": 206.835 - 1.015 * per_sentence - 84.6 * per_word,
        "flesch_kincaid_grade": 0.39 * per_sentence + 11.8 * per_word - 15.59,
        "gunning_fog": 0.4 * (per_sentence + 100 * sum(s >= 3 for s in syllables) / n),
        "coleman_liau": 5.88 * letters / n - 29.6 * sentences(text) / n - 15.8,
        "automated_readability": 4.71 * characters / n + 0.5 * per_sentence - 21.43,
    }


def syllables_of(word: str) -> int:
    """Groups of vowels, less a silent e; at least one."""
    small = "".join(c.lower() if len(c.lower()) == 1 else c for c in word)
    n = len(re.findall("[aeiouy]+", small))
    return max(n - (re.search("..[^aeiouyl]e$|^.[^aeiouyl]e$", small, re.DOTALL) is not None), 1)


def simple(text: str) -> dict[str, Any]:
    n, data, pieces = len(text), text.encode(), text.split()
    paragraphs = re.split(r"\n{2,}", text)
    has_policy = [any(p in "".join(c.lower()[:1] for c in x) for p in POLICIES) for x in paragraphs]
    urls = re.findall(r"https?://(?:[a-zA-Z]|[0-9]|[$-_@.&+]|[!*(),])+", text)
    return {
        "num_chars": n,
        "num_bytes": len(data),
        "bytes_per_char": share(len(data), n),
        "zstd_ratio": share(len(zstandard.ZstdCompressor(level=3).compress(data)), len(data)),
        "alphanumeric_char_share": share(sum(map(str.isalnum, text)), n),
        "digit_char_share": share(len(re.findall(r"\d", text)), n),
        "whitespace_char_share": share(sum(map(str.isspace, text)), n),
        "parenthesis_char_share": share(text.count("(") + text.count(")"), n),
        "uppercase_char_share": share(sum(map(str.isupper, text)), n),
        "url_char_share": share(sum(map(len, urls)), n),
        "whitespace_words": len(pieces),
        "mean_word_length": share(sum(map(len, pieces)), len(pieces)),
        "max_word_length": max(map(len, pieces), default=0),
        "boilerplate_paragraph_share": share(sum(has_policy), len(re.split(r"\n{2,}", text.strip()))),
    }


def personal(text: str) -> dict[str, int]:
    """Mail addresses and IPv4 addresses, each found by trying every place."""
    mails = 0
    for i, character in enumerate(text):
        if character == "@" and i and re.fullmatch(r"[\w.%+-]", text[i - 1], re.ASCII):
            host = re.match(r"[A-Za-z0-9.-]*", text[i + 1 :])
            labels = host[0].split(".") if host else []
            ends = [k for k in range(1, len(labels)) if re.match(r"[A-Za-z]{2}", labels[k]) and all(labels[:k])]
            mails += bool(ends)
    ips = sum(
        all(part == str(int(part)) and int(part) < 256 for part in match[1].split("."))
        for match in re.finditer(r"(?<![\w.])(\d{1,3}(?:\.\d{1,3}){3})(?!\w|\.\d)", text, re.ASCII)
    )
    return {"mail_addresses": mails, "ip_addresses": ips}


def signals(text: str, words: list[str] | None = None) -> dict[str, Any]:
    """Every column but phone_numbers."""
    words = own_words(text) if words is None else words
    return {
        **simple(text),
        **gopher(text, words),
        **c4(text),
        **lines_with_text(text, words),
        **redpajama(text),
        **readability(text),
        **personal(text),
    }
