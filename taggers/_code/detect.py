"""Which programming language a text is written in, or that it is in none of ours: patterns propose, the grammars decide.

A shebang settles it, and so does markup, which is PHP where it has PHP's opening tag and nothing of ours where it has not; so
does a line that only another language has. Otherwise every language has patterns with a weight (_code_patterns.py), each of
which counts at most a few times in the beginning of the text; those with the highest sums are parsed for, and what has
errors all over is not written in that language, however many words it shares. That is how prose ends, and code in other
languages: `unknown`. docs/code-tagger.md has the accuracy on real files, and benchmarks/code_detection.py measures it. Needs
the grammars.
"""

from __future__ import annotations

import re

from tagcorpus.taggers._code.languages import UNKNOWN
from tagcorpus.taggers._code.patterns import PATTERNS
from tagcorpus.taggers._code.walk import ParseTimeout, measure
from tagcorpus.taggers._interface.required import required_texts

CHARACTERS = 5_000
"""What is looked at, after comments that the text begins with: those are prose."""
LEAST = 3.0
"""The sum that a language must reach."""
LEAST_ONCE = 2.0
"""What its patterns must reach when each counts once: one of little weight proves nothing, however often it matches."""
MOST_COUNTED = 4
"""How often one pattern counts."""
CANDIDATES = 3
MOST_ERRORS = 0.05
"""Share of nodes that may be errors. Right texts have 0 to 0.02, others 0.05 to 0.3."""
MOST_ERRORS_WITH_MACROS = 0.08
"""In C and C++, whose grammars see macros unexpanded."""
MAX_STEPS = 3_000
"""Of the parser: some thirty times what 5,000 characters of code take."""

_SHEBANG = re.compile(r"\A#!.*\b(python|node|nodejs|deno|ruby|php|scala|kotlin)[\d.]*\b")
_BY_INTERPRETER = {"node": "javascript", "nodejs": "javascript", "deno": "typescript"}
_OTHER_SHEBANG = re.compile(r"\A#![ \t]*/")
_MARKUP = re.compile(r"\A\s*<[!?/\w]")
_PHP = re.compile(r"<\?(?:php\b|=)")
# What languages without a grammar here begin lines with, of those that ours would parse: patches, Protocol Buffers,
# Objective-C, Swift, Perl, CMake, vim, Fortran, assembler, YAML.
_OTHERS = re.compile(
    r"^(?:diff --git |--- \S.*\n\+\+\+ |@@ -\d|syntax = \"proto|#import [<\"]|@(?:interface|implementation|protocol|import) |"
    r"import (?:Foundation|UIKit|SwiftUI)\b|use (?:strict|warnings);|my [$@%(]|cmake_minimum_required|"
    r"[ \t]*(?:function! |let [bgslw]:\w|endfunc|end subroutine\b|\.(?:text|globl|global|section)\b)|"
    r"(?!else|try|finally)[a-z][\w-]*:[ \t]*\n[ \t]+(?:- )?[\w-]+:\s)",
    re.MULTILINE,
)
_LEADING_COMMENTS = re.compile(r"\A(?:\s+|/\*.*?\*/|//(?![!/])[^\n]*\n|[rRuU]?\"\"\".*?\"\"\")+", re.DOTALL)
# One of which is nearly a part of the other: patterns cannot tell a plain text of both.
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
            continue  # errors only take away
        errors, nodes = _errors(head, language)
        most = MOST_ERRORS_WITH_MACROS if language in ("c", "cpp") else MOST_ERRORS
        # One error is forgiven, as the end of the beginning may make one; between languages it counts.
        if errors - 1 <= most * nodes and (value := scores[language] / (1 + errors / most / nodes)) > highest:
            best, highest = language, value
    return best


def beginning(text: str) -> str:
    """What is looked at: from the first thing that is no comment, to the end of a line outside comments and long strings."""
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
    """How much speaks for a language: the sum over its patterns of weight times matches, counted up to MOST_COUNTED; 0
    where the patterns that match do not reach LEAST_ONCE."""
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
    """Errors of the grammar and all its nodes, missing tokens among both."""
    try:
        measures = measure(head.encode(), language, MAX_STEPS)
    except ParseTimeout:
        return 2, 1
    return measures.n_errors + measures.n_missing_tokens, measures.n_nodes + measures.n_missing_tokens
