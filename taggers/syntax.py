"""syntax: how far words stand from their heads, how deep sentences nest, and the share of content words, after a parser.

The parser (`backend`) is Stanza, spaCy or none. Stanza gives dependency and constituency trees and made the published figures.
spaCy gives dependency trees only. With none, documents carry their parses in the columns `conllu` and `constituency`. One parse
gives all columns. A document in a language without a model has nulls, and `parse_status` says so. Definitions are in
_syntax/trees.py and _syntax/statistics.py. No semantic roles, no coreference, no named entities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import pyarrow as pa

from tagcorpus.errors import ConfigError, unknown_name
from tagcorpus.taggers._interface.base import Parameters
from tagcorpus.taggers._interface.batch import DocumentBatch
from tagcorpus.taggers._syntax.models import Parsed, parser_code
from tagcorpus.taggers._syntax.spacy_parser import SpacyModels
from tagcorpus.taggers._syntax.stanza_parser import StanzaModels
from tagcorpus.taggers._syntax.statistics import SCHEMA, SCHEMA_WITH_LISTS, Parse, row
from tagcorpus.taggers._syntax.trees import MalformedParse, read_conllu, read_trees
from tagcorpus.taggers.language import STRIPPED, ControlCharacters, cld2_answers, main_languages


class DocumentTooLong(Exception):
    """A document of more than max_chars."""


@dataclass(frozen=True)
class Syntax(Parameters):
    """Dependency distances, constituency depths and the share of content words.

    backend    stanza; spacy, whose tokens and labels differ; or parsed: from the columns conllu and constituency
    models     stanza: folder of its models ("" = download); spacy: names or folders, comma-separated ("" = en_core_web_sm)
    language   "" = each document's own, by CLD2; otherwise the language of all
    languages  only documents in these are parsed, comma-separated; "" = in all that there is a model for
    lists      also lists with one entry a word
    device     of stanza, as torch calls it; "" = a GPU where there is one
    max_chars  a longer document is not parsed: it gets nulls and a quarantine line
    max_sentence_words  of stanza: the same for a document with a longer sentence
    control_characters  without `language`: strip = CLD2 reads text without the characters that it refuses; keep = such text is not
               parsed, as in the published values

    Raises ConfigError for parameters that do not go together and, before anything is read, for a parser or model that is not there.
    """

    backend: Literal["stanza", "spacy", "parsed"] = "stanza"
    models: str = ""
    language: str = ""
    languages: str = ""
    lists: bool = False
    device: str = ""
    max_chars: int = 1_000_000
    max_sentence_words: int = 1_000
    control_characters: ControlCharacters = "strip"

    version: ClassVar[str] = "2"
    extra: ClassVar[str] = "parse"
    status_columns: ClassVar[tuple[str, ...]] = ("parse_status", "parser_language")

    def __post_init__(self) -> None:
        for name in ("max_chars", "max_sentence_words"):
            if getattr(self, name) < 1:
                raise ConfigError(f"syntax.{name} must be at least 1, got {getattr(self, name)}")
        if self.language and self.languages:
            raise ConfigError("syntax.language (of all documents) and syntax.languages (only these) exclude each other")
        if self.control_characters == "keep" and (self.language or self.backend == "parsed"):
            raise ConfigError("syntax.control_characters=keep is about CLD2, which is not used here: leave it out")
        for name in ("models", "language", "languages", "device"):
            is_used = self.backend == "stanza" or (self.backend == "spacy" and name != "device")
            if getattr(self, name) and not is_used:
                raise ConfigError(f"syntax.{name} has no effect with syntax.backend={self.backend}: leave it out")

    @property
    def columns(self) -> pa.Schema:
        return SCHEMA_WITH_LISTS if self.lists else SCHEMA

    @property
    def needs(self) -> tuple[str, ...]:
        """Document columns besides the text."""
        return ("conllu", "constituency") if self.backend == "parsed" else ()

    def fingerprint(self) -> dict[str, Any]:
        """Parser, models and the parameters that decide. ConfigError where a parser or model is missing: a run fails before it reads."""
        if self.backend == "parsed":
            return {"backend": self.backend, "lists": self.lists}
        own = {n: getattr(self, n) for n in ("backend", "language", "languages", "lists", "max_chars")}
        if self.backend == "stanza":
            own["max_sentence_words"] = self.max_sentence_words
        if self.control_characters == "keep":
            own["control_characters"] = "keep"
        return own | self._provenance

    @cached_property
    def _provenance(self) -> dict[str, Any]:
        fingerprint = self._models.fingerprint()
        for language in [self.language] if self.language else self._only:
            if parser_code(language, self._models.languages) is None:
                raise ConfigError(
                    unknown_name(
                        "language",
                        language,
                        self._models.languages,
                        f"--set syntax.language{'s' * (not self.language)}",
                    )
                )
        return fingerprint

    @cached_property
    def _models(self) -> StanzaModels | SpacyModels:
        if self.backend == "spacy":
            return SpacyModels(self.models, self.max_chars)
        return StanzaModels(self.models, self.device, self.max_sentence_words)

    @property
    def _only(self) -> list[str]:
        return [name.strip() for name in self.languages.split(",") if name.strip()]

    def tag(self, batch: DocumentBatch) -> pa.RecordBatch:
        """Raises MalformedParse, DocumentTooLong, SentenceTooLong, WordTooLong, or whatever a parser does, for a document that cannot
        be parsed: its row is then quarantined. ConfigError or TaggerError for a parser that cannot work at all."""
        decisive = (
            "backend",
            "models",
            "language",
            "languages",
            "max_chars",
            "max_sentence_words",
            "control_characters",
        )

        parses = batch.view(("syntax", *(getattr(self, name) for name in decisive)), self._parses)
        rows = [row(_parse_or_raise(p), self.lists) for p in parses]
        columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [() for _ in self.columns]
        arrays = [pa.array(values, field.type) for values, field in zip(columns, self.columns, strict=True)]
        return pa.record_batch(arrays, schema=self.columns)

    def outdated(self, part: pa.RecordBatch) -> str:
        """Why a part that version 0.1.0 made with the same fingerprint holds other values; empty where it does not."""
        is_unread = self._is_stripping and "unknown" in part["parser_language"].to_pylist()
        return "CLD2 now reads text with control characters" if is_unread else ""

    def remarks(self, batch: DocumentBatch) -> dict[str, int]:
        """Counts that a run reports besides the columns."""
        return {STRIPPED: sum(a[2] == "stripped" for a in cld2_answers(batch))} if self._is_stripping else {}

    @property
    def _is_stripping(self) -> bool:
        return self.control_characters == "strip" and not self.language and self.backend != "parsed"

    def _parses(self, batch: DocumentBatch) -> list[Parsed]:
        if self.backend == "parsed":
            return list(map(_read, batch.column("conllu"), batch.column("constituency")))
        # A batch with a bad document comes again in parts. Kept parses are not computed twice.
        kept: dict[str, Parsed] = self.__dict__.get("_kept", {})
        if all(text in kept for text in batch.texts):
            return [kept[text] for text in batch.texts]
        parses = self._parsed(batch)
        is_bad = any(isinstance(p, Exception) for p in parses)
        self.__dict__["_kept"] = dict(zip(batch.texts, parses, strict=True)) if is_bad else {}
        return parses

    def _parsed(self, batch: DocumentBatch) -> list[Parsed]:
        parses: dict[int, Parsed] = {}
        by_language: dict[str, list[int]] = {}
        known = self._known
        is_given = bool(self.language)
        codes = [self.language] * batch.num_rows if is_given else main_languages(batch, self.control_characters)
        for i, (text, code) in enumerate(zip(batch.texts, codes, strict=True)):
            if not text.strip():
                parses[i] = Parse()
            elif (language := parser_code(code, known)) is None:
                parses[i] = Parse(code, status="no_model")
            elif len(text) > self.max_chars:
                parses[i] = DocumentTooLong(f"{len(text):,} characters, more than syntax.max_chars {self.max_chars:,}")
            else:
                by_language.setdefault(language, []).append(i)
        for language, rows in sorted(by_language.items()):
            parses.update(zip(rows, self._models.parse(language, [batch.texts[i] for i in rows]), strict=True))
        return [parses[i] for i in range(batch.num_rows)]

    @cached_property
    def _known(self) -> set[str]:
        """Codes of the languages to parse."""
        known = self._models.languages
        if not self.languages:
            return set(known)
        return {code for name in self._only if (code := parser_code(name, known))}


def _read(conllu: str | None, constituency: str | None) -> Parsed:
    try:
        return Parse(
            None,
            None if conllu is None else read_conllu(conllu),
            None if constituency is None else read_trees(constituency),
            "no_parse" if conllu is constituency is None else "",
        )
    except MalformedParse as error:
        return error


def _parse_or_raise(parse: Parsed) -> Parse:
    if isinstance(parse, Exception):
        raise parse
    return parse


TAGGER = Syntax
