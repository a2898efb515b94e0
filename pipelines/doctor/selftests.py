"""Self-tests of `tagcorpus doctor`: models, kernels, folders. Only a remote output needs the network.

Each test imports the packages that it needs, returns one Finding, and may raise any error of a broken library.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import MISSING, fields
from pathlib import Path

from tagcorpus.errors import TagcorpusError
from tagcorpus.pipelines.doctor.installation import Finding, reinstall, repair

PROBE = "The weather was cold this morning, but the children walked to school as they always did."
LEAST_FREE_BYTES = 1 << 30


def fasttext() -> Finding:
    """Train, save, load and use a model of two labels. No downloaded model is needed."""
    import fasttext

    from tagcorpus.taggers.language import load_fasttext

    with tempfile.TemporaryDirectory(prefix="tagcorpus-doctor-", ignore_cleanup_errors=True) as folder:
        text, model = Path(folder, "text"), Path(folder, "model.bin")
        text.write_text(f"__label__cold {PROBE}\n__label__warm In summer the sea is warm enough to swim.\n" * 20)
        trained = fasttext.train_supervised(
            str(text), dim=4, epoch=5, lr=0.1, minCount=1, bucket=0, thread=1, verbose=0
        )
        trained.save_model(str(model))
        load_fasttext(model)
    return Finding("fasttext self-test", "ok", "a small model gives the right probabilities")


def ranks() -> Finding:
    """Read p50k_base from the package, and compare the ids of a text with the right ids."""
    from tagcorpus.taggers._interface.batch import DocumentBatch
    from tagcorpus.taggers._tokenizers.interface import token_ids
    from tagcorpus.taggers._tokenizers.loading import load

    ids = token_ids(DocumentBatch.from_texts(["hello world"]), load("p50k_base")).ids.tolist()
    if ids == [31373, 995]:
        return Finding("tokenizer ranks", "ok", "p50k_base is in the package")
    return Finding("tokenizer ranks", "broken", f"p50k_base gives {ids} for 'hello world', not [31373, 995]", repair())


def kernels() -> Finding:
    """Run a compiled kernel, and check that the cache of kernels can be written."""
    import numpy as np

    from tagcorpus.kernels.documents.tokens import count_distinct

    name = "compiled kernels"
    counted = count_distinct(np.array([7, 2, 7, 2, 2], np.uint32), np.array([0, 3, 3, 5]), 8).tolist()
    if counted != [2, 0, 1]:
        return Finding(name, "broken", f"a kernel gives a wrong count: {counted}", reinstall("numba"))
    folder = os.environ["NUMBA_CACHE_DIR"]
    if not _is_writable(folder):
        fix = "set NUMBA_CACHE_DIR to a folder that can be written, or unset it"
        return Finding(name, "broken", f"{folder} cannot be written", fix)
    if os.path.realpath(folder).startswith(os.path.realpath(tempfile.gettempdir()) + os.sep):
        fix = "set XDG_CACHE_HOME to a permanent folder that can be written"
        return Finding(name, "warning", f"kept in {folder}, which may be deleted", fix)
    return Finding(name, "ok", f"kept in {folder}")


def punkt() -> Finding:
    """Read the sentence splitter's parameters from the package, and split a text that needs them."""
    from tagcorpus.taggers._tokenizers.punkt import Punkt

    text = "dr. smith went home. she slept."  # the parameters are for lower-cased text
    sentences = [text[a:b] for a, b in Punkt().sentence_spans(text)]
    if sentences == ["dr. smith went home.", "she slept."]:
        return Finding("sentence splitter", "ok", "the parameters for English are in the package")
    return Finding("sentence splitter", "broken", f"it splits {text!r} into {sentences}", repair())


def cld2() -> Finding:
    """Detect the language of an English sentence with CLD2."""
    from tagcorpus.taggers._interface.batch import DocumentBatch
    from tagcorpus.taggers.language import cld2_codes

    ((code, _),) = cld2_codes(DocumentBatch.from_texts([PROBE]))
    if code == "en":
        return Finding("language detector", "ok", "CLD2 knows English")
    return Finding("language detector", "broken", f"CLD2 takes English for {code!r}", reinstall("pycld2"))


def domain_model() -> Finding:
    """Load the embedded domain classifier, and classify a text."""
    from tagcorpus.taggers._models import embedded_domain

    ((label, probability),) = embedded_domain.classify([PROBE * 10])
    if label in embedded_domain.LABELS and 0 < probability <= 1:
        return Finding("domain model", "ok", f"{embedded_domain.NAME} is in the package")
    return Finding("domain model", "broken", f"it answers {label!r} with {probability}", repair())


def plugins() -> Finding:
    """Load every tagger of other distributions, and read its columns. Taggers that need parameters are not loaded."""
    from tagcorpus.taggers import load, plugin_names, tagger_class

    name, bad = "plug-in taggers", []
    for plugin in plugin_names():
        try:
            if all(f.default is not MISSING or f.default_factory is not MISSING for f in fields(tagger_class(plugin))):
                load(plugin).columns.names  # noqa: B018
        except TagcorpusError as error:
            bad.append(str(error))
        except Exception as error:  # somebody else's code
            bad.append(f"{plugin!r}: {type(error).__name__}: {error}")
    if bad:
        return Finding(name, "broken", "; ".join(bad), "uninstall or repair the packages that bring them")
    return Finding(name, "ok", ", ".join(plugin_names()) or "none")


def temporary_folder() -> Finding:
    """Space for spooled input, and for files before they go to an object store."""
    return _space("temporary folder", tempfile.gettempdir(), "set TMPDIR to a folder with more space")


def llm_cache(path: str | None) -> Finding:
    """Open the cache of paid answers, or check that it can be made. Raises OutputError if the file is not a cache."""
    from tagcorpus.taggers._llm.cache import AnswerCache, default_path

    name, file = "LLM answer cache", Path(path).absolute() if path else default_path()
    if file.exists():
        cache = AnswerCache(file)
        cache.get(b"")
        cache.close()
        return Finding(name, "ok", f"{file} can be opened ({file.stat().st_size / 1e6:.1f} MB)")
    folder = _existing(file.parent)
    if not _is_writable(str(folder)):
        return Finding(name, "broken", f"{folder} cannot be written", "name another file with --llm-cache")
    return Finding(name, "ok", f"{file} does not exist yet, and can be made")


def output(path: str) -> Finding:
    """Publish a probe in the output folder (or the nearest folder that exists), read it, remove it, and check the space."""
    is_remote = "://" in path
    folder = path if is_remote else str(_existing(Path(path).absolute()))
    if not is_remote and not os.path.isdir(folder):
        return Finding("output", "broken", f"{folder} is not a folder", "name another folder with --output")
    from tagcorpus.pipelines.storage.folder import Folder

    probe = f"tagcorpus-doctor-{os.urandom(4).hex()}"
    try:
        target = Folder(folder)
        target.publish(probe, b"probe")
        read = target.read(probe)
        target.remove(probe)
    except Exception as error:  # a store raises any error of its client library
        fix = "check permission, space and credentials, or name another folder with --output"
        return Finding("output", "broken", f"{path} cannot be written: {type(error).__name__}: {error}", fix)
    if read != b"probe":
        return Finding("output", "broken", f"{path} does not return the written bytes", "name another folder")
    if is_remote:
        return Finding("output", "ok", f"{path} can be written and read")
    return _space("output", folder, "free some space, or name another folder with --output")


def _space(name: str, folder: str, fix: str) -> Finding:
    if not _is_writable(folder):
        return Finding(name, "broken", f"{folder} cannot be written", fix)
    free = shutil.disk_usage(folder).free
    message = f"{folder} can be written, {free / 1e9:.1f} GB free"
    return Finding(name, "ok", message) if free >= LEAST_FREE_BYTES else Finding(name, "warning", message, fix)


def _is_writable(folder: str) -> bool:
    """Write a file. Permissions are not enough: root has all of them, and a filesystem can be full or read-only."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"probe")
    except OSError:
        return False
    return True


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    return next(p for p in (path, *path.parents) if p.exists())
