"""Stanza as a parser of `syntax`: its default models of each language, from a folder or by its own download.

A given folder has the form that stanza.download makes: resources.json, then <language>/<processor>/<package>.pt. With such a folder,
no file is downloaded. Without one, Stanza fills its own folder on demand. Then the digest of resources.json identifies the models,
since the file has their checksums.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.taggers._interface import digest
from tagcorpus.taggers._models.huggingface import one_thread
from tagcorpus.taggers._syntax.models import Parsed, installed, parse_groups
from tagcorpus.taggers._syntax.statistics import Parse
from tagcorpus.taggers._syntax.trees import Constituents, Dependencies

# Characters parsed together: enough to fill Stanza's own batches, and some 100 MB of its objects.
GROUP_CHARACTERS = 200_000
NEEDED = ("tokenize", "pos", "depparse")
PROCESSORS = (*NEEDED, "mwt", "lemma", "constituency")
# Stanza searches for mail and web addresses from each character of such a run to its end: 10,000 characters take more than a
# second, and the time grows with the square of the length.
MAX_RUN = 10_000
_RUNS = (re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~.-]+"), re.compile("[a-zA-Z0-9]+"))


class SentenceTooLong(Exception):
    """A sentence of more than max_sentence_words: the memory for parsing grows with the square of its length."""


class WordTooLong(Exception):
    """More than MAX_RUN letters, digits or marks in a row: Stanza's time grows with the square of their number."""


class StanzaModels:
    """Stanza's models, loaded by language.

    folder              of models; "" = Stanza's own, and download
    device              as torch calls it; "" = a GPU where there is one
    max_sentence_words  a document with a longer sentence is not parsed
    """

    def __init__(self, folder: str, device: str, max_sentence_words: int) -> None:
        self.is_own = not folder
        self.given, self.device, self.max_sentence_words = folder, device, max_sentence_words
        self._pipelines: dict[str, Any] = {}

    @cached_property
    def folder(self) -> Path:
        """The folder of the models. ConfigError where Stanza is not installed."""
        installed("stanza")
        if not self.is_own:
            return Path(self.given)
        from stanza.resources.common import DEFAULT_MODEL_DIR

        return Path(DEFAULT_MODEL_DIR)

    @cached_property
    def _resources(self) -> dict[str, Any]:
        path = self.folder / "resources.json"
        if self.is_own and not path.exists():
            from stanza.resources.common import download_resources_json

            try:
                download_resources_json(str(self.folder))
            except Exception as error:  # of requests, of the file system
                raise ConfigError(f"there are no Stanza models in {self.folder}; {_download_hint(error)}") from error
        try:
            resources: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"syntax.models must be a folder that stanza.download(LANGUAGE, model_dir=FOLDER) filled, with a "
                f"resources.json; got {str(self.folder)!r}: {error}"
            ) from error
        return resources

    @cached_property
    def languages(self) -> dict[str, tuple[str, dict[str, str]]]:
        """By code and alias: the code that names the folder, and the package of each processor. A given folder has only the
        languages whose tagger and dependency parser it holds."""
        named = {c: r for c, r in self._resources.items() if isinstance(r, dict)}
        by_code: dict[str, tuple[str, dict[str, str]]] = {}
        for code, resources in named.items():
            real = resources.get("alias", code)
            default = named.get(real, {}).get("packages", {}).get("default", {})
            packages = {p: default[p] for p in PROCESSORS if p in default and self._is_there(real, p, default[p])}
            if all(p in packages for p in NEEDED):
                by_code[code] = (real, packages)
        return by_code

    def _is_there(self, language: str, processor: str, package: str) -> bool:
        is_no_file = processor == "lemma" and package == "identity"
        return self.is_own or is_no_file or (self.folder / language / processor / f"{package}.pt").is_file()

    def fingerprint(self) -> dict[str, Any]:
        """Version and models. ConfigError where there are none."""
        parser = installed("stanza")
        if not self.languages:
            raise ConfigError(
                f"syntax.models={self.given!r} has no language with {', '.join(NEEDED)}: fill it with "
                "stanza.download(LANGUAGE, model_dir=FOLDER)"
            )
        if self.is_own:
            listed = (self.folder / "resources.json").read_bytes()
            return {"parser": parser, "models": f"resources.json {digest.of_bytes(listed)}"}
        files = (p for p in self.folder.rglob("*") if p.suffix in (".pt", ".json") and p.is_file())
        return {"parser": parser, "models": digest.of_files(self.folder, files)}

    def parse(self, language: str, texts: Sequence[str]) -> list[Parsed]:
        """Documents of one language. TaggerError where its models cannot be loaded."""
        pipeline = self._pipeline(language)
        runs = [_longest_run(text) for text in texts]
        fitting = [text for text, n in zip(texts, runs, strict=True) if n <= MAX_RUN]
        with one_thread(pipeline.device):
            parses = iter(parse_groups(fitting, lambda group: self._parse(pipeline, group), GROUP_CHARACTERS))
        return [
            next(parses)
            if n <= MAX_RUN
            else WordTooLong(f"{n:,} letters, digits or marks in a row, more than {MAX_RUN:,}")
            for n in runs
        ]

    def _parse(self, pipeline: Any, texts: Sequence[str]) -> list[Parsed]:
        import stanza

        tokenized = pipeline.bulk_process([stanza.Document([], text=t) for t in texts], processors="tokenize")
        longest = [max((len(s.words) for s in d.sentences), default=0) for d in tokenized]
        fitting = [d for d, n in zip(tokenized, longest, strict=True) if 0 < n <= self.max_sentence_words]
        pipeline.process(fitting, processors=[p for p in pipeline.processors if p not in ("tokenize", "mwt")])
        return [self._parsed(d, n, pipeline) for d, n in zip(tokenized, longest, strict=True)]

    def _parsed(self, document: Any, longest: int, pipeline: Any) -> Parsed:
        if longest > self.max_sentence_words:
            return SentenceTooLong(
                f"a sentence of {longest:,} words, more than syntax.max_sentence_words {self.max_sentence_words:,}"
            )
        dependencies = Dependencies()
        constituents = Constituents() if "constituency" in pipeline.processors else None
        try:
            for sentence in document.sentences:
                dependencies.add_heads([w.head for w in sentence.words])
                for word in sentence.words:
                    dependencies.words.append(word.text)
                    dependencies.upos.append(word.upos)
                    dependencies.xpos.append(word.xpos)
                if constituents is not None:
                    constituents.add(*walk(sentence.constituency))
        except Exception as error:  # a model failed on odd text: only this document is to blame
            return error
        return Parse(pipeline.lang, dependencies, constituents)

    def _pipeline(self, language: str) -> Any:
        if language not in self._pipelines:
            import stanza

            code, packages = self.languages[language]
            try:
                self._pipelines[language] = stanza.Pipeline(
                    code,
                    dir=str(self.folder),
                    package=None,
                    processors=packages,
                    download_method="reuse_resources" if self.is_own else None,
                    device=self.device or None,
                    logging_level="ERROR",
                )
            except Exception as error:  # of torch, pickle, requests, huggingface_hub
                reason = f"{type(error).__name__}: {str(error)[:300]}"
                if self.is_own:
                    reason = f"{_download_hint(error)}; to leave the language out, --set syntax.languages=LIST"
                raise TaggerError(f"Stanza's models of {code!r} in {self.folder} cannot be loaded: {reason}") from error
            self._pipelines[language].lang = code
        return self._pipelines[language]


def _longest_run(text: str) -> int:
    if len(text) <= MAX_RUN:
        return 0
    return max((len(match[0]) for run in _RUNS for match in run.finditer(text)), default=0)


def walk(tree: Any) -> tuple[list[str], list[str | None], list[int]]:
    """Words, tags and word depths of one of Stanza's trees, or of anything with `label` and `children`. ValueError where
    there is none."""
    if tree is None:
        raise ValueError("the parser found no constituency tree for a sentence")
    words: list[str] = []
    tags: list[str | None] = []
    depths: list[int] = []
    left = [(child, tree.label, 0) for child in reversed(tree.children)]
    while left:
        node, above, depth = left.pop()
        if node.children:
            left += [(child, node.label, depth + 1) for child in reversed(node.children)]
        else:
            words.append(node.label)
            tags.append(above)
            depths.append(depth)
    return words, tags, depths


def _download_hint(error: Exception) -> str:
    return (
        f"Stanza cannot download ({type(error).__name__}: {str(error)[:200]}). On a machine with a network: "
        "stanza.download('en', model_dir='FOLDER') in Python; then --set syntax.models=FOLDER"
    )
