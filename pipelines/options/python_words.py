"""Messages are written in the words of the command line; a caller in Python reads them in Python's words."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines.options.declaring.common import SETTINGS
from tagcorpus.pipelines.options.declaring.declare import REQUIRED, Option, options_of
from tagcorpus.pipelines.options.tree import OPTIONS

# A command stays as it is: it is for a shell.
_COMMAND = re.compile(
    r"((?<![\w./-])tagcorpus (?:run|status|report|predict|store|taggers|doctor|config|check-features)\b[^;\n`]*)"
)
# `--set NAME.KEY` or `--set KEY` with or without a value, else a flag, with or without a placeholder in capitals, a number or a choice.
_SPELLING = re.compile(
    r"--set ([\w-]+)(?:\.([\w.]+))?(?:=([^\s;,)]+))?|(--[a-z][a-z_-]*)(?: ([A-Z][A-Z_]+(?:\.\w+)?\b|\d[\d,]*\d|\d|[a-z_]+=[^\s,;)]+|[a-z]+\b))?"
)


@functools.cache
def _options() -> dict[str, Option]:
    every = [*SETTINGS, *(o for cls in OPTIONS.values() for o in options_of(cls))]
    return {flag: o for o in every for flags in o.flags for flag in flags.split("/")}


def in_python(message: str, *, are_parameters: bool = False) -> str:
    """A message with keyword arguments in the place of flags.

    are_parameters  of `tagcorpus.tag`, where those of taggers are under `parameters`

    Example  "--set tokens.tokenizer must be str" -> "tokens={'tokenizer': ...} must be str"
             "give --output FOLDER, or say --overwrite" -> "give output=FOLDER, or say overwrite=True"
    """

    def keyword(match: re.Match[str]) -> str:
        section, key, value, flag, placeholder = match.groups()
        if flag is None:
            name = section if key is None else f"{section}.{key}"
            argument = _argument(name, value)
            is_of_tagger = are_parameters and key is not None
            return f"parameters={{{section!r}: {argument.partition('=')[2]}}}" if is_of_tagger else argument
        option = _options().get(flag.replace("_", "-"))
        if option is None:
            return match[0]
        word = ""
        if placeholder and "=" in placeholder:
            name, _, value = placeholder.partition("=")
            return f"{option.key}={{{name!r}: {value}}}" if option.is_list else f"{option.key} {placeholder}"
        if placeholder and placeholder.islower() and placeholder in (*option.choices, *option.metavar.split("|")):
            placeholder = repr(placeholder)
        elif placeholder and placeholder.islower():  # the sentence goes on
            word, placeholder = f" {placeholder}", None
        if option.constant is not REQUIRED:
            return _argument(option.key, repr(option.constant)) + word
        if option.kind is bool:
            return _argument(option.key, "True") + (f" {placeholder}" if placeholder else word)
        return _argument(option.key, placeholder and placeholder.replace(",", "")) + word

    parts = _COMMAND.split(message)
    return "".join(part if i % 2 else _SPELLING.sub(keyword, part) for i, part in enumerate(parts))


def _argument(key: str, value: str | None) -> str:
    """The keyword argument that sets a dotted key; without a value, its name where that is enough."""
    first, _, rest = key.partition(".")
    if rest:
        return f"{first}={{{rest!r}: {value or '...'}}}"
    return first if value is None else f"{first}={value}"


@contextmanager
def python_words(*, are_parameters: bool = False) -> Iterator[None]:
    """Errors raised inside name keyword arguments, not flags."""
    try:
        yield
    except TagcorpusError as error:
        error.args = (in_python(str(error), are_parameters=are_parameters),)
        raise
