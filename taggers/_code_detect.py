"""Which programming language a text is written in, by what only that language's programmers write.

A shebang and `<?php` decide by themselves. Otherwise every language has patterns with a weight; each counts at most a few
times in the first 5,000 characters, and the highest sum wins. Below `LEAST` nothing is certain enough, which is how prose
ends: `unknown`. The patterns are ours, written from the languages' grammars; docs/code-tagger.md has the accuracy on real
files, and benchmarks/code_detection.py measures it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tagcorpus.taggers._code_languages import UNKNOWN

CHARACTERS = 5_000
LEAST = 3.0
MOST_COUNTED = 4
"""How often one pattern counts."""

_SHEBANG = re.compile(r"\A#!.*\b(python|node|nodejs|deno|ruby|php|scala|kotlin)[\d.]*\b")
_BY_INTERPRETER = {"node": "javascript", "nodejs": "javascript", "deno": "typescript"}

_C_LIKE_DEFINITION = r"^(?:static |extern |inline |const |unsigned |struct )*(?:void|int|char|long|float|double|size_t|bool|\w+_t)\b[ *]+\w+\s*\("

_PATTERNS: Mapping[str, tuple[tuple[str, float], ...]] = {
    "python": (
        (r"^[ \t]*(?:async )?def \w+\(.*\).*:[ \t]*(?:#.*)?$", 3),
        (r"^[ \t]*(?:async )?def \w+\([^)]*$", 2),
        (r"^[ \t]*class \w+(?:\(.*\))?:[ \t]*$", 3),
        (r"^from [\w.]+ import ", 3),
        (r"^import [\w.]+(?: as \w+)?(?:, [\w.]+)*[ \t]*$", 1.5),
        (r"^[ \t]*(?:if|elif|for|while|with|try|except|else|finally)\b[^;{}]*:[ \t]*$", 1.5),
        (r"self\.\w+", 1),
        (r'^[ \t]*"""', 1),
        (r"^[ \t]*print\(", 1),
        (r"\b(?:None|True|False|elif|lambda \w+:)\b", 0.5),
        (r"^@\w[\w.]*(?:\(.*\))?\n[ \t]*(?:async )?(?:def|class) ", 2),
        (r"^__\w+__ = ", 3),
    ),
    "javascript": (
        (r"\b(?:var|let|const) (?:\w+|\{[^}\n]*\}|\[[^\]\n]*\])\s*=[^=]", 1),
        (r"function\s*\w*\s*\([\w\s,={}\[\].$]*\)\s*\{", 1.5),
        (r"(?:===|!==)", 1),
        (r"require\(['\"]", 2.5),
        (r"(?:module\.)?exports\.?\w* = ", 3),
        (r"=>\s*[{(\w]", 0.7),
        (r"console\.(?:log|error|warn)\(", 1.5),
        (r"^(?:import|export) .*from ['\"]", 2),
        (r"^export (?:default|const|function|class|\{)", 2),
        (r"\b(?:document|window|process)\.\w+", 1),
        (r"\b(?:undefined|typeof|prototype)\b", 0.8),
        (r"['\"]use strict['\"]", 2.5),
    ),
    "typescript": (
        (r"\b(?:const|let|var) \w+\s*:\s*[\w<>\[\]|. {}]+\s*=", 3),
        (r"[(,]\s*\w+\??:\s*(?:string|number|boolean|any|void|unknown|never|[A-Z]\w*(?:<|\b))[^\n]*\)?", 1.5),
        (r"\)\s*:\s*(?:string|number|boolean|any|void|unknown|never|Promise|[A-Z]\w*|\w+ is )[^\n{;=?]*(?:\{|;|=>)", 2),
        (r"^[ \t]*(?:export )?(?:declare )?(?:interface|type) \w+(?:<[^\n]*>)?\s*(?:=|\{|extends )", 2.5),
        (r"^[ \t]*(?:export )?declare (?:const|function|class|namespace|module|global|var|let)\b", 4),
        (r"^import (?:type )?.*from ['\"]", 1.7),
        (r"^(?:import|export) type ", 4),
        (r"\bas (?:const|any|unknown|string|number)\b", 2),
        (r"^[ \t]*(?:public|private|protected|readonly|abstract) (?:static |readonly |async )*\w+\s*[(:?]", 1.5),
        (r"^[ \t]*\w+\??:\s*(?:string|number|boolean|any)(?:\[\])?[;,]?[ \t]*$", 2),
        (r"^export (?:default|const|function|class|abstract|enum|\{)", 1.7),
        (r"\b(?:keyof|infer|readonly) ", 1),
    ),
    "java": (
        (r"^import (?:static )?[a-z]\w*(?:\.\w+)+(?:\.\*)?;", 2),
        (r"^package [a-z]\w*(?:\.\w+)*;", 3),
        (r"^[ \t]*(?:public|private|protected)\s+(?:abstract |final |static |sealed )*(?:class|interface|enum|record|@interface) \w+", 2),
        (r"^[ \t]*(?:public|private|protected) (?:(?:static|final|synchronized|abstract|native|transient|volatile|<[^>\n]+>) )*[\w<>\[\], .?]+ \w+\s*(?:\(|=|;)", 1.2),
        (r"System\.(?:out|err)\.print", 3),
        (r"@Override\b", 2),
        (r"\b(?:final|throws|extends|implements|instanceof) \w", 0.7),
        (r"String(?:\[\])? \w+", 0.8),
        (r"new \w+(?:<[^>\n]*>)?\(", 0.4),
    ),
    "c_sharp": (
        (r"^[ \t]*using (?:static )?(?:\w+ = )?[A-Z]\w*(?:\.\w+)*;", 3),
        (r"^[ \t]*namespace [A-Z]\w*(?:\.\w+)*\s*[;{]?[ \t]*$", 2.5),
        (r"\{\s*get;", 4),
        (r"Console\.(?:Write|Read)", 3),
        (r"^[ \t]*(?:public|private|protected|internal) (?:(?:static|override|virtual|async|readonly|sealed|partial|abstract|const|unsafe|extern) )*[\w<>\[\], .?]+ [A-Z]\w*\s*(?:\(|\{|=>?|$)", 1.5),
        (r"\b(?:foreach\s*\(|internal |override |readonly |nameof\(|sealed |partial class)", 1),
        (r"\b(?:string|bool|var|decimal|object) \w+\s*[=;,)]", 0.7),
        (r"public (?:const|override|async|virtual) ", 1.5),
        (r"^[ \t]*(?:/// <\w+|#region\b|#endregion\b)", 2),
        (r"\$\"", 1),
    ),
    "cpp": (
        (r"std::\w+", 2.5),
        (r"^[ \t]*#\s*include\s*<(?:iostream|vector|string|map|memory|algorithm|utility|functional|cstd\w+|set|unordered_\w+|sstream|type_traits|array|optional|tuple|c[a-z]{4,6})>", 3),
        (r"^[ \t]*#\s*include\s*[<\"][\w/.+-]+\.(?:hpp|hxx|hh|cuh)[>\"]", 3),
        (r"^[ \t]*#\s*include\b", 1),
        (r"^[ \t]*template\s*<", 3),
        (r"^[ \t]*(?:inline )?namespace(?: [\w:]+)?\s*\{", 2.5),
        (r"^[ \t]*using (?:namespace )?\w+(?:::\w+|\s*=)", 2.5),
        (r"^[ \t]*(?:public|private|protected)\s*:", 2.5),
        (r"^[ \t]*(?:class|struct) (?:[A-Z_]+ )?\w+(?:\s+final)?\s*(?::\s*(?:public|private|protected)|\{)", 0.7),
        (r"::~?\w+\(", 1),
        (r"\b(?:constexpr|noexcept|nullptr|static_cast|reinterpret_cast|dynamic_cast|decltype|typename|virtual|operator\S{1,2}\()", 1.5),
        (r"const \w[\w:]*(?:<[^>\n]*>)?\s*&", 1.5),
        (r"c(?:out|in)\s*(?:<<|>>)", 3),
        (r"auto&?&? \w+\s*[=:]", 1),
        (_C_LIKE_DEFINITION, 0.5),
    ),
    "c": (
        (r"^[ \t]*#\s*include\s*[<\"][\w/.+-]+\.h[>\"]", 2),
        (r"^[ \t]*#\s*include\s*<(?:stdio|stdlib|string|unistd|errno|stddef|stdint|math|assert|ctype|sys/\w+)\.h>", 1.5),
        (r"^[ \t]*#\s*(?:define|ifndef|ifdef|endif|undef|if defined)\b", 1),
        (_C_LIKE_DEFINITION, 2),
        (r"\b(?:printf|malloc|free|memcpy|sizeof|strlen|fprintf|memset)\s*\(", 1),
        (r"\w->\w", 1),
        (r"^[ \t]*typedef (?:struct|enum|union|unsigned|int|void|const)\b", 2),
        (r"\b(?:struct|enum|union) \w+ ?\*", 1.5),
        (r"\b(?:char|void|int|unsigned) \*+\w", 1),
        (r"^[ \t]*(?:static |extern |const |unsigned )*(?:int|char|long|float|double|void|unsigned)\b[ *]+\w+(?:\[[^\]\n]*\])?\s*(?:=[^=\n]+)?;", 0.7),
        (r"^extern \"C\" \{|^extern \w", 1),
    ),
    "go": (
        (r"^package \w+[ \t]*(?://.*)?$", 3),
        (r"^func (?:\(\w* ?\*?\w+(?:\[[^\]]+\])?\) )?\w*(?:\[[^\n]+\])?\(", 3),
        (r"^import (?:\(|\w* ?\"[\w./-]+\")", 2.5),
        (r" := ", 1.5),
        (r"\bif err != nil\b", 3),
        (r"^type \w+ (?:struct|interface|func|\[\]|map\[|\w+$)", 2.5),
        (r"fmt\.(?:Print|Sprint|Errorf)", 2),
        (r"\b(?:defer|chan|go func|range) ", 1),
        (r"func\([^)\n]*\)[^\n]*\{", 1),
        (r"\*testing\.[TB]\b", 2),
    ),
    "ruby": (
        (r"^[ \t]*def (?:self\.)?\w+[?!=]?(?:\([^)\n]*\)|[ \t]+\w[^:\n]*)?[ \t]*$", 2.5),
        (r"^[ \t]*end[ \t]*$", 1),
        (r"^require(?:_relative)? ['\"]", 3),
        (r"^[ \t]*(?:class \w+(?:::\w+)*(?: < [\w:]+)?|module \w+(?:::\w+)*)[ \t]*$", 2.5),
        (r"(?:do|\{) ?\|[^|\n]+\|", 2.5),
        (r"^[ \t]*attr_(?:reader|writer|accessor)\b", 3),
        (r"@[a-z_]\w* (?:=|\|\|=) ", 0.8),
        (r"^[ \t]*(?:unless|elsif|when|rescue|ensure|begin|puts|include|extend|raise)\b[^;{]*$", 0.7),
        (r"\.(?:each|map|nil\?|empty\?|select|inject|to_s|freeze|is_a\?)\b", 0.7),
        (r" :\w+(?: => |,|$)", 0.7),
        (r"#\{[^}\n]+\}", 0.7),
        (r"^# frozen_string_literal: ", 4),
    ),
    "php": (
        (r"<\?(?:php|=)", 12),
        (r"\$this->\w+", 2),
        (r"\$\w+\s*=[^=]", 0.7),
        (r"function \w+\((?:[^)\n]*\$\w+)", 2),
        (r"^use [A-Z]\w*(?:\\\w+)+(?: as \w+)?;", 3),
        (r"^namespace [A-Z]\w*(?:\\\w+)*;", 3),
        (r"echo ['\"$]", 1.5),
        (r"\$\w+->\w+", 1),
        (r"array\(|\bforeach \(\$", 1),
    ),
    "rust": (
        (r"\bfn \w+(?:<[^>\n]*>)?\(", 2),
        (r"^[ \t]*(?:pub(?:\([\w: ]+\))? )?(?:async |const |unsafe )*fn \w+", 1.5),
        (r"let (?:mut )?\w+(?:: [^=\n]+)? = ", 0.8),
        (r"^[ \t]*use (?:std|crate|super|self|\w+)::[\w:{}*, ]+;", 2.5),
        (r"^[ \t]*impl(?:<[^\n]*>)? [^\n]*\{", 3),
        (r"^[ \t]*#!?\[\w+", 2),
        (r"\b(?:println|vec|format|assert|assert_eq|panic|write|macro_rules|matches)!", 2),
        (r"&(?:mut |'\w+ |self\b)", 1),
        (r"^[ \t]*(?:pub(?:\([\w: ]+\))? )?(?:struct|enum|trait|mod) \w+", 1.5),
        (r"-> (?:Self|Result|Option|impl |Box|&|[iu](?:8|16|32|64|size)\b)", 2),
        (r"^[ \t]*//[/!]", 0.7),
        (r"match [^\n]+ \{$", 0.7),
    ),
    "kotlin": (
        (r"^[ \t]*(?:(?:public|private|internal|protected|override|suspend|inline|open|abstract|operator|infix|tailrec) )*fun (?:<[^>\n]+> )?[\w.<>?]+\s*\(", 3),
        (r"^[ \t]*(?:(?:private|override|internal|protected|const|lateinit|public) )*va[lr] \w+(?:: [\w<>?., ]+)?(?: = | by |[ \t]*$)", 1.5),
        (r"^package [a-z]\w*(?:\.\w+)*[ \t]*$", 1.5),
        (r"^import [a-z]\w*(?:\.\w+)+(?:\.\*)?(?: as \w+)?[ \t]*$", 1),
        (r"\b(?:data|sealed|open|enum|annotation|inner|value) class \w+", 2),
        (r"companion object\b|\bobject \w+ ?(?::|\{)", 2),
        (r"\?\.let \{|!!\.|\w \?: \w", 1),
        (r"println\(", 0.7),
        (r"when\s*(?:\([^)\n]*\)\s*)?\{", 2),
        (r"^[ \t]*class \w+(?:<[^>\n]*>)?\(?[^\n]*\)?\s*:\s*[A-Z]\w*", 1.5),
        (r"\b(?:listOf|mutableListOf|mapOf|arrayOf|setOf|lateinit var|override fun|is [A-Z]\w* ->)", 2),
        (r": (?:String|Int|Boolean|Long|Any|Unit|List<\w+>)\??[,)= ]", 1),
    ),
    "scala": (
        (r"^[ \t]*(?:(?:override|private|protected|implicit|final|lazy|inline)(?:\[\w+\])? )*def \w+(?:\[[^\n]+\])?(?:\([^\n]*\))*(?:\s*:\s*[\w\[\], .=>()]+)?\s*=", 3.5),
        (r"^[ \t]*(?:(?:private|implicit|lazy|override|final|protected)(?:\[\w+\])? )*va[lr] \w+(?:\s*:\s*[\w\[\], .=>()]+)?\s*=", 1),
        (r"\b(?:case class|case object|sealed trait|sealed abstract class)\b", 3.5),
        (r"^[ \t]*(?:object|trait) \w+(?:\[[^\n]+\])?(?:\s+extends [^\n]+)?\s*[{:]?[ \t]*$", 2),
        (r"^[ \t]*case [^\n]+ =>", 1.5),
        (r"^import [\w.]+(?:\.\{[^}\n]+\}|\._)", 3),
        (r"^package [a-z]\w*(?:\.\w+)*[ \t]*$", 1),
        (r" match \{[ \t]*$", 2.5),
        (r"\b(?:Seq|List|Option|Map|Future|Either|Array|Vector)\[\w+", 1.5),
        (r"extends \w+(?:\[[^\]\n]*\])?(?:\([^)\n]*\))? with \w+", 2.5),
        (r" <- \w+", 1),
        (r": (?:String|Int|Boolean|Long|Unit|Any)[,)] ?", 0.6),
        (r"extends App\b", 3),
    ),
}  # fmt: skip

_COMPILED = {
    language: tuple((re.compile(pattern, re.MULTILINE), weight) for pattern, weight in patterns)
    for language, patterns in _PATTERNS.items()
}


def detect(text: str) -> str:
    """One of LANGUAGES, or `unknown`."""
    head = text[:CHARACTERS]
    if found := _SHEBANG.match(head):
        return _BY_INTERPRETER.get(found[1], found[1])
    scores = {language: score(head, language) for language in _COMPILED}
    best = max(scores, key=lambda language: scores[language])  # of equals, the first above
    return best if scores[best] >= LEAST else UNKNOWN


def score(head: str, language: str) -> float:
    """How much speaks for a language: the sum over its patterns of weight times matches, counted up to MOST_COUNTED."""
    total = 0.0
    for pattern, weight in _COMPILED[language]:
        n = 0
        for _ in pattern.finditer(head):
            n += 1
            if n == MOST_COUNTED:
                break
        total += weight * n
    return total
