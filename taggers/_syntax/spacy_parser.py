"""spaCy as a parser of `syntax`: dependency trees and parts of speech, no constituency trees.

spaCy's tokens, and in many models its labels, are not those of Universal Dependencies that Stanza has. So compare values only
with those of the same model. Runs of blanks are tokens of spaCy but not words here. A word whose head is such a token gets the
token's head.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers._interface import digest
from tagcorpus.taggers._syntax.models import Parsed, installed, parse_groups
from tagcorpus.taggers._syntax.statistics import Parse
from tagcorpus.taggers._syntax.trees import Dependencies

DEFAULT = "en_core_web_sm"
# Characters parsed together. More do not fit a CPU's caches: spaCy's own 1,000 documents take more time (docs/syntax.md) and memory.
GROUP_CHARACTERS = 20_000
# Components that neither parse nor tag, and take time.
_EXCLUDED = ("ner", "lemmatizer", "textcat", "textcat_multilabel", "spancat", "entity_linker", "entity_ruler")


class SpacyModels:
    """Models by language. `given`: names of installed packages or folders, comma-separated; "" = DEFAULT. `max_chars`: of a
    document, which spaCy bounds, too."""

    def __init__(self, given: str, max_chars: int) -> None:
        self.given, self.max_chars = given or DEFAULT, max_chars
        self._loaded: dict[str, Any] = {}

    @cached_property
    def languages(self) -> Mapping[str, Path]:
        """Folder of the model of each language. ConfigError for a missing model, and for two of one language."""
        installed("spacy")
        folders: dict[str, Path] = {}
        for name in self.given.split(","):
            folder = _folder(name.strip())
            language = _meta(folder)["lang"]
            if language in folders:
                raise ConfigError(f"syntax.models={self.given!r} has two models of the language {language!r}")
            folders[language] = folder
        return folders

    def fingerprint(self) -> dict[str, Any]:
        """The version of spaCy, and the name, version and digest of each model."""
        models = {}
        for language, folder in sorted(self.languages.items()):
            meta = _meta(folder)
            files = (p for p in folder.rglob("*") if p.is_file())
            models[language] = f"{meta.get('name')} {meta.get('version')} {digest.of_files(folder, files)}"
        return {"parser": installed("spacy"), "models": models}

    def parse(self, language: str, texts: Sequence[str]) -> list[Parsed]:
        """Documents of one language. TaggerError where its model cannot be loaded, ConfigError where it cannot parse."""
        model = self._model(language)
        # A memory zone forgets its words: otherwise the model's strings grow with the corpus. One zone a batch, since each
        # learns its words again, which takes time.
        with model.memory_zone():
            return parse_groups(
                texts, lambda group: [_parsed(d, model.lang) for d in model.pipe(group)], GROUP_CHARACTERS
            )

    def _model(self, language: str) -> Any:
        if language not in self._loaded:
            import spacy

            folder = self.languages[language]
            try:
                model = spacy.load(folder, exclude=list(_EXCLUDED))
            except Exception as error:
                raise TaggerError(f"the spaCy model {folder.name} cannot be loaded: {error}") from error
            if "parser" not in model.pipe_names:
                raise ConfigError(
                    f"syntax.models must be spaCy models with a dependency parser; {folder.name} has "
                    f"{', '.join(model.pipe_names) or 'nothing'}"
                )
            model.max_length = self.max_chars
            self._loaded[language] = model
        return self._loaded[language]


def _folder(name: str) -> Path:
    """The folder of a model: the named one, or the one inside of a package."""
    folder = Path(name)
    if not folder.is_dir():
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"syntax.models must name spaCy models, installed packages or folders; there is no {name!r}: "
                f"python -m spacy download {name}, or --set syntax.models=FOLDER"
            )
        folder = Path(spec.origin).parent
    if not (folder / "config.cfg").is_file():
        inner = sorted(p.parent for p in folder.glob("*/config.cfg"))
        if len(inner) != 1:
            raise ConfigError(
                f"syntax.models must name spaCy models; {str(folder)!r} has {len(inner)} config.cfg in it"
            )
        folder = inner[0]
    return folder


def _meta(folder: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the spaCy model {str(folder)!r} has no readable meta.json: {error}") from error
    return meta


def _parsed(document: Any, language: str) -> Parse:
    dependencies = Dependencies()
    n = len(document)
    # All tokens at once: reading the attributes token by token takes a tenth of the parser's own time.
    attributes = ["ORTH", "POS", "TAG", "IS_SPACE", "HEAD", "SENT_START"]
    orths, tags_universal, tags, is_space, offsets, starts = document.to_array(attributes).reshape(n, len(attributes)).T
    at = np.arange(n)
    is_word = is_space == 0
    heads = at + offsets.astype(np.int64)
    while (hangs := ~is_word[heads] & (heads[heads] != heads)).any():
        heads[hangs] = heads[heads[hangs]]
    is_start = (starts == 1) | (at == 0)
    sentence = np.cumsum(is_start) - 1
    words_to = np.cumsum(is_word)  # of each token, words up to it
    first = (words_to - is_word)[is_start]  # of each sentence, words before it
    is_root = (heads == at) | ~is_word[heads] | (sentence[heads] != sentence)
    numbers = np.where(is_root, 0, (words_to - first[sentence])[heads])[is_word].tolist()
    for start, end in pairwise([*first.tolist(), len(numbers)]):
        if end > start:
            dependencies.add_heads(numbers[start:end])
    strings = document.vocab.strings
    dependencies.words = [strings[k] for k in orths[is_word].tolist()]
    dependencies.upos = [strings[k] or None for k in tags_universal[is_word].tolist()]
    dependencies.xpos = [strings[k] or None for k in tags[is_word].tolist()]
    return Parse(language, dependencies)
