"""The programming language that a text is written in, if it is one of ours: patterns propose, the grammars decide.

Three signs decide alone: a shebang, markup (PHP with PHP's opening tag, otherwise unknown), and a line that only another language
has. Otherwise the patterns of each language (patterns.py) are counted in the beginning of the text, each a few times at most. The
languages with the highest sums are parsed. A text with many errors is not written in that language, so prose and code in other
languages are `unknown`. docs/code-tagger.md has the accuracy on real files; benchmarks/code_detection.py measures it. Detection
needs the grammars.
"""

from __future__ import annotations

import re

from tagcorpus.taggers._code.languages import UNKNOWN
from tagcorpus.taggers._code.patterns import PATTERNS
from tagcorpus.taggers._code.walk import ParseTimeout, measure
from tagcorpus.taggers._interface.required import required_texts

CHARACTERS = 5_000
"""Characters that are searched, after comments at the beginning of the text: comments are prose."""
LEAST = 3.0
"""The sum that a language must reach."""
LEAST_ONCE = 2.0
"""The sum that its patterns must reach when each counts once: many matches of one light pattern prove nothing."""
MOST_COUNTED = 4
"""Matches of one pattern that count, at most."""
CANDIDATES = 3
MOST_ERRORS = 0.05
"""Share of nodes that may be errors. Texts in the language have 0 to 0.02, others 0.05 to 0.3."""
MOST_ERRORS_WITH_MACROS = 0.08
"""The same for C and C++, whose grammars see macros unexpanded."""
MAX_STEPS = 3_000
"""Steps of the parser: some thirty times the need of 5,000 characters of code."""

_SHEBANG = re.compile(r"\A#!.*\b(python|node|nodejs|deno|ruby|php|scala|kotlin)[\d.]*\b")
_BY_INTERPRETER = {"node": "javascript", "nodejs": "javascript", "deno": "typescript"}
_OTHER_SHEBANG = re.compile(r"\A#![ \t]*/")
_MARKUP = re.compile(r"\A\s*<[!?/\w]")
_PHP = re.compile(r"<\?(?:php\b|=)")
# Beginnings of lines in languages without a grammar here, whose texts one of our grammars would parse: patches, Protocol Buffers,
# Objective-C, Swift, Perl, CMake, vim, Fortran, assembler, YAML.
_OTHERS = re.compile(
    r"^(?:diff --git |--- \S.*\n\+\+\+ |@@ -\d|syntax = \"proto|#import [<\"]|@(?:interface|implementation|protocol|import) |"
    r"import (?:Foundation|UIKit|SwiftUI)\b|use (?:strict|warnings);|my [$@%(]|cmake_minimum_required|"
    r"[ \t]*(?:function! |let [bgslw]:\w|endfunc|end subroutine\b|\.(?:text|globl|global|section)\b)|"
    r"(?!else|try|finally)[a-z][\w-]*:[ \t]*\n[ \t]+(?:- )?[\w-]+:\s)",
    re.MULTILINE,
)
_LEADING_COMMENTS = re.compile(r"\A(?:\s+|/\*.*?\*/|//(?![!/])[^\n]*\n|[rRuU]?\"\"\".*?\"\"\")+", re.DOTALL)
# Pairs of which one language is nearly a part of the other: patterns cannot tell their plain texts apart.
_TWINS = {"javascript": "typescript", "typescript": "javascript", "c": "cpp", "cpp": "c"}

_COMPILED = {
    language: tuple(
        (re.compile(pattern, re.MULTILINE), required_texts(pattern), weight) for pattern, weight in patterns
    )
    for language, patterns in PATTERNS.items()
}


def detect(text: str) -> str:
    """One of LANGUAGES, or `unknown`. ConfigError where a grammar is not installed."""
    text = text[: 4 * CHARACTERS].removeprefix("\ufeff")
    if shebang := _SHEBANG.match(text):
        return _BY_INTERPRETER.get(shebang[1], shebang[1])
    if _OTHER_SHEBANG.match(text):
        return UNKNOWN
    if _MARKUP.match(text):
        return "php" if _PHP.search(text[:CHARACTERS]) else UNKNOWN
    head = beginning(text)
    scores = {language: score(head, language) for language in _COMPILED}
    likely = sorted((s for s in scores if scores[s] >= LEAST), key=lambda s: -scores[s])[:CANDIDATES]
    if not likely or _OTHERS.search(head):
        return UNKNOWN
    twin = _TWINS.get(likely[0], likely[0])
    if twin not in likely and scores[twin] > 0:
        likely.append(twin)
    best, highest = UNKNOWN, 0.0
    for language in likely:
        if scores[language] <= highest:
            continue  # errors only lower a score
        errors, nodes = _errors(head, language)
        most = MOST_ERRORS_WITH_MACROS if language in ("c", "cpp") else MOST_ERRORS
        # One error is allowed, since the cut at the end may cause one. Between languages it counts.
        if errors - 1 <= most * nodes and (value := scores[language] / (1 + errors / most / nodes)) > highest:
            best, highest = language, value
    return best


def beginning(text: str) -> str:
    """The text that is searched: after the first comments, up to the end of a line outside comments and long strings."""
    body = _LEADING_COMMENTS.sub("", text) or text
    if len(body) <= CHARACTERS:
        return body
    head = body[:CHARACTERS]
    head = head.rpartition("\n")[0] or head
    if (start := head.rfind("/*")) > head.rfind("*/"):
        head = head[:start]
    if head.count('"""') % 2:
        head = head[: head.rfind('"""')]
    return head


def score(head: str, language: str) -> float:
    """The sum over a language's patterns of weight times matches, counted up to MOST_COUNTED; 0 where the patterns that match
    do not reach LEAST_ONCE."""
    total = once = 0.0
    for pattern, required, weight in _COMPILED[language]:
        if required and not any(map(head.__contains__, required)):
            continue
        n = 0
        for _ in pattern.finditer(head):
            n += 1
            if n == MOST_COUNTED:
                break
        total += weight * n
        once += weight * (n > 0)
    return total if once >= LEAST_ONCE else 0.0


def _errors(head: str, language: str) -> tuple[int, int]:
    """(errors, nodes) of the parse; both include missing tokens."""
    try:
        measures = measure(head.encode(), language, MAX_STEPS)
    except ParseTimeout:
        return 2, 1
    return measures.n_errors + measures.n_missing_tokens, measures.n_nodes + measures.n_missing_tokens
