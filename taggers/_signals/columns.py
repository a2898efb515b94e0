"""The list of signals: each column's name, type, unit, definition and source, and its value from the counts of the documents.

`value` computes a column from arrays [n_documents] of counts, by name (measure.py). A share, ratio or mean is 0 if its
denominator is 0. A readability score is missing if the document has no words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tagcorpus.taggers._interface.base import OURS

Array = np.ndarray[Any, Any]
Columns = Mapping[str, Array]

GOPHER = "Gopher/MassiveText (arXiv 2112.11446), as datatrove 0.10.1 computes it"
C4 = "C4 (arXiv 1910.10683), as datatrove 0.10.1 computes it"
FINEWEB = "FineWeb (arXiv 2406.17557), as datatrove 0.10.1 computes it"
RPV2 = "RedPajama-V2 (arXiv 2411.12372), without its rounding to 8 places"
CURATOR = "NeMo Curator's heuristic filters"
REFINEDWEB = "RefinedWeb (arXiv 2306.01116), after its line rules"

SHARE = "share, 0 to 1"
PER_WORD = "per word"


class Signal(NamedTuple):
    """One column. It is an integer where it is a count."""

    name: str
    meaning: str
    unit: str
    source: str
    value: Callable[[Columns], Array]
    is_count: bool = False


def total(counts: Columns, names: str) -> Array:
    """The sum of the counts of the names, which `+` parts."""
    result: Array = np.sum([counts[name] for name in names.split("+")], axis=0)
    return result


def _count(name: str, meaning: str, unit: str, source: str, key: str = "") -> Signal:
    return Signal(name, meaning, unit, source, lambda c: total(c, key or name), True)


def _ratio(name: str, meaning: str, unit: str, source: str, top: str, bottom: str) -> Signal:
    return Signal(name, meaning, unit, source, lambda c: _quotient(total(c, top), total(c, bottom)))


def _quotient(top: Array, bottom: Array) -> Array:
    result = np.zeros(len(top))
    np.divide(top, bottom, out=result, where=bottom != 0)
    return result


def _gopher_top(n: int) -> Signal:
    return Signal(
        f"gopher_top_{n}gram_char_share",
        f"characters of the most frequent {n}-gram, with spaces between its words, times its occurrences, by all characters",
        "share",
        GOPHER,
        lambda c: _quotient((c[f"top_{n}"] + (n - 1)) * c[f"top_{n}_times"], c["characters"]),
    )


def _rps_top(n: int) -> Signal:
    return Signal(
        f"rps_doc_frac_chars_top_{n}gram",
        f"characters of the most frequent {n}-gram of normalised words times its occurrences; 0 where none repeats",
        "share",
        RPV2,
        lambda c: _quotient(
            c[f"normal_top_{n}"] * c[f"normal_top_{n}_times"] * (c[f"normal_top_{n}_times"] > 1), c["normal_characters"]
        ),
    )


def _score(name: str, meaning: str, source: str, formula: Callable[[Columns], Array]) -> Signal:
    def value(counts: Columns) -> Array:
        has_words = counts["plain_words"] > 0
        safe = {k: np.where(has_words, v, 1) for k, v in counts.items()}
        return np.where(has_words, formula(safe), np.nan)

    return Signal(name, meaning, "score", source, value)


SIGNALS: tuple[Signal, ...] = (
    _count("num_chars", "length of the document", "code points", OURS, "characters"),
    _count("num_bytes", "length of the document in UTF-8", "bytes", OURS, "bytes"),
    _ratio("bytes_per_char", "UTF-8 bytes by code points", "bytes per code point", OURS, "bytes", "characters"),
    _ratio(
        "zstd_ratio",
        "size after zstd at level 3, by size before; near 1 or above: no repetition, or a short text",
        "share",
        OURS,
        "compressed_bytes",
        "bytes",
    ),
    _count("gopher_words", "words with a character that is not punctuation", "words", GOPHER, "solid_words"),
    _ratio(
        "gopher_mean_word_length",
        "mean length of words with a character that is not punctuation",
        "code points",
        GOPHER,
        "solid_word_characters",
        "solid_words",
    ),
    _ratio("gopher_hash_to_word_ratio", "hash signs by words", PER_WORD, GOPHER, "hashes", "words"),
    _ratio(
        "gopher_ellipsis_to_word_ratio",
        "ellipses (... and …) by words",
        PER_WORD,
        GOPHER,
        "dot_ellipses+ellipses",
        "words",
    ),
    _ratio("gopher_bullet_line_share", "lines that begin with • or -", SHARE, GOPHER, "bullet_lines", "split_lines"),
    _ratio(
        "gopher_ellipsis_line_share", "lines that end with an ellipsis", SHARE, GOPHER, "ellipsis_lines", "split_lines"
    ),
    _ratio("gopher_alpha_word_share", "words with an alphabetic character", SHARE, GOPHER, "alpha_words", "words"),
    _count(
        "gopher_stop_words",
        "how many of the words the, be, to, of, and, that, have, with occur, as written",
        "distinct words, 0 to 8",
        GOPHER,
        "stop_words",
    ),
    _ratio(
        "gopher_duplicate_line_share", "lines equal to an earlier one", SHARE, GOPHER, "duplicate_lines", "parted_lines"
    ),
    _ratio(
        "gopher_duplicate_paragraph_share",
        "paragraphs equal to an earlier one",
        SHARE,
        GOPHER,
        "duplicate_paragraphs",
        "paragraphs",
    ),
    _ratio(
        "gopher_duplicate_line_char_share",
        "characters of lines equal to an earlier one",
        SHARE,
        GOPHER,
        "duplicate_line_characters",
        "characters",
    ),
    _ratio(
        "gopher_duplicate_paragraph_char_share",
        "characters of paragraphs equal to an earlier one",
        SHARE,
        GOPHER,
        "duplicate_paragraph_characters",
        "characters",
    ),
    *map(_gopher_top, (2, 3, 4)),
    *(
        _ratio(
            f"gopher_duplicate_{n}gram_char_share",
            f"characters of {n}-grams equal to an earlier one, each stepped over as a whole, by all characters",
            SHARE,
            GOPHER,
            f"repeated_{n}",
            "characters",
        )
        for n in range(5, 11)
    ),
    _count("c4_lines", "lines", "lines", C4),
    _ratio(
        "c4_words_per_line", "whitespace-separated words by lines", "words per line", C4, "c4_line_words", "c4_lines"
    ),
    _ratio(
        "c4_terminal_line_share",
        "lines that end with . ? ! \" or ', and not with ..., citation marks such as [1] removed",
        SHARE,
        C4,
        "c4_terminal_lines",
        "c4_lines",
    ),
    _count("c4_long_word_lines", "lines with a word of more than 1,000 characters", "lines", C4),
    _count("c4_lorem_ipsum_lines", "lines with lorem ipsum that pass C4's rules before", "lines", C4),
    _count("c4_javascript_lines", "lines with javascript that pass C4's rules before", "lines", C4),
    _count("c4_curly_bracket_lines", "lines with { that pass C4's rules before", "lines", C4),
    _count(
        "c4_policy_lines",
        "lines with a phrase of policies (terms of use, privacy policy, ...) that pass C4's rules before",
        "lines",
        C4,
    ),
    _ratio("c4_kept_line_share", "lines that pass all of C4's rules for lines", SHARE, C4, "c4_kept_lines", "c4_lines"),
    _count("c4_sentences", "sentences in the lines that pass all of C4's rules for lines", "sentences", C4),
    _ratio(
        "fineweb_terminal_line_share",
        "lines with text that end with terminal punctuation of any script",
        SHARE,
        FINEWEB,
        "terminal_lines",
        "solid_lines",
    ),
    _ratio(
        "fineweb_short_line_share",
        "lines with text that have at most 30 characters",
        SHARE,
        FINEWEB,
        "short_lines",
        "solid_lines",
    ),
    Signal(
        "fineweb_duplicate_char_share",
        "characters of lines with text equal to an earlier one, by all characters but line feeds",
        SHARE,
        FINEWEB,
        lambda c: _quotient(c["duplicate_solid_line_characters"], c["characters"] - c["newlines"]),
    ),
    _ratio("fineweb_newline_to_word_ratio", "line feeds by words", PER_WORD, FINEWEB, "newlines", "words"),
    _count("rps_doc_word_count", "normalised words (lower case, no ASCII punctuation)", "words", RPV2, "normal_words"),
    _ratio(
        "rps_doc_mean_word_length",
        "mean length of normalised words",
        "code points",
        RPV2,
        "normal_characters",
        "normal_words",
    ),
    _count("rps_doc_num_sentences", "matches of \\b[^.!?]+[.!?]*", "sentences", RPV2, "raw_sentences"),
    _ratio(
        "rps_doc_symbol_to_word_ratio",
        "hash signs and ellipses by raw words",
        PER_WORD,
        RPV2,
        "hashes+dot_ellipses+ellipses",
        "raw_words",
    ),
    Signal(
        "rps_doc_frac_no_alph_words",
        "raw words without an ASCII letter",
        SHARE,
        RPV2,
        lambda c: _quotient(c["raw_words"] - c["raw_alpha_words"], c["raw_words"]),
    ),
    _ratio("rps_doc_frac_all_caps_words", "raw words in capitals", SHARE, RPV2, "raw_upper_words", "raw_words"),
    _ratio(
        "rps_doc_frac_unique_words", "distinct among normalised words", SHARE, RPV2, "distinct_words", "normal_words"
    ),
    Signal(
        "rps_doc_unigram_entropy",
        "entropy of the distribution of normalised words",
        "nats",
        RPV2,
        lambda c: c["entropy"].astype(np.float64),
    ),
    _ratio(
        "rps_doc_frac_lines_end_with_ellipsis",
        "lines that end with an ellipsis",
        SHARE,
        RPV2,
        "rps_ellipsis_lines",
        "feed_lines",
    ),
    _ratio("rps_doc_curly_bracket", "curly brackets by characters", SHARE, RPV2, "curly_brackets", "characters"),
    _ratio(
        "rps_doc_lorem_ipsum",
        "occurrences of lorem ipsum by characters of the normalised text",
        "per code point",
        RPV2,
        "lorem_ipsum",
        "normal_length",
    ),
    *map(_rps_top, (2, 3, 4)),
    *(
        _ratio(
            f"rps_doc_frac_chars_dupe_{n}grams",
            f"characters of normalised words in any {n}-gram that occurs twice, each counted once",
            SHARE,
            RPV2,
            f"normal_repeated_{n}",
            "normal_characters",
        )
        for n in range(5, 11)
    ),
    _ratio(
        "rps_lines_start_with_bulletpoint",
        "mean over lines: the line begins with a bullet point",
        SHARE,
        RPV2,
        "rps_bullet_lines",
        "feed_lines",
    ),
    _ratio(
        "rps_lines_ending_with_terminal_punctution_mark",
        "mean over lines: the line ends with . ! ? or ”",
        SHARE,
        RPV2,
        "rps_terminal_lines",
        "feed_lines",
    ),
    _ratio("alphanumeric_char_share", "letters and digits", SHARE, CURATOR, "alphanumeric", "characters"),
    _ratio("digit_char_share", "decimal digits", SHARE, CURATOR, "digits", "characters"),
    _ratio("whitespace_char_share", "whitespace", SHARE, CURATOR, "spaces", "characters"),
    _ratio("parenthesis_char_share", "round brackets", SHARE, CURATOR, "parentheses", "characters"),
    _ratio("uppercase_char_share", "upper-case letters", SHARE, OURS, "uppercase", "characters"),
    _ratio("url_char_share", "characters of http and https addresses", SHARE, CURATOR, "url_characters", "characters"),
    _count("whitespace_words", "whitespace-separated words", "words", CURATOR, "pieces"),
    _ratio(
        "mean_word_length",
        "mean length of whitespace-separated words",
        "code points",
        CURATOR,
        "piece_characters",
        "pieces",
    ),
    _count("max_word_length", "longest whitespace-separated word", "code points", CURATOR, "longest_piece"),
    _ratio(
        "mean_line_length",
        "mean length of lines with text",
        "code points",
        OURS,
        "solid_line_characters",
        "solid_lines",
    ),
    _count("max_line_length", "longest line", "code points", OURS, "longest_line"),
    _ratio(
        "boilerplate_paragraph_share",
        "paragraphs with a phrase of policies (terms of use, privacy policy, ...)",
        SHARE,
        CURATOR,
        "policy_paragraphs",
        "paragraphs",
    ),
    _ratio(
        "digit_line_share", "lines with text that have only digits", SHARE, REFINEDWEB, "digit_lines", "solid_lines"
    ),
    _ratio(
        "uppercase_line_share",
        "lines with text of which more than half are upper-case letters, whitespace not counted",
        SHARE,
        REFINEDWEB,
        "uppercase_lines",
        "solid_lines",
    ),
    _score(
        "flesch_reading_ease",
        "206.835 - 1.015 words / sentences - 84.6 syllables / words",
        "R. Flesch, 1948",
        lambda c: 206.835 - 1.015 * c["plain_words"] / c["sentences"] - 84.6 * c["syllables"] / c["plain_words"],
    ),
    _score(
        "flesch_kincaid_grade",
        "0.39 words / sentences + 11.8 syllables / words - 15.59",
        "J. P. Kincaid et al., 1975",
        lambda c: 0.39 * c["plain_words"] / c["sentences"] + 11.8 * c["syllables"] / c["plain_words"] - 15.59,
    ),
    _score(
        "gunning_fog",
        "0.4 (words / sentences + 100 complex words / words); complex: three syllables or more",
        "R. Gunning, 1952",
        lambda c: 0.4 * (c["plain_words"] / c["sentences"] + 100 * c["complex_words"] / c["plain_words"]),
    ),
    _score(
        "coleman_liau",
        "5.88 letters / words - 29.6 sentences / words - 15.8",
        "M. Coleman and T. L. Liau, 1975",
        lambda c: (5.88 * c["plain_letters"] - 29.6 * c["sentences"]) / c["plain_words"] - 15.8,
    ),
    _score(
        "automated_readability",
        "4.71 letters and digits / words + 0.5 words / sentences - 21.43",
        "R. J. Senter and E. A. Smith, 1967",
        lambda c: 4.71 * c["plain_characters"] / c["plain_words"] + 0.5 * c["plain_words"] / c["sentences"] - 21.43,
    ),
    _count("mail_addresses", "shapes of mail addresses, name@domain.tld", "matches", OURS, "mails"),
    _count("ip_addresses", "shapes of IPv4 addresses, four numbers up to 255", "matches", OURS, "ips"),
    _count(
        "phone_numbers",
        "shapes of phone numbers: area code and two groups of 3 or 4 digits, and perhaps a country code",
        "matches",
        OURS,
        "phones",
    ),
)
"""Every column, in order."""
