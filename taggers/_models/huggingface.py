"""Models of Hugging Face transformers for taggers: packages, model and tokenizer, device, threads, digest.

A model is a name on the Hugging Face hub or a local directory. A model's own code (`trust_remote_code`) is never run.
transformers is imported when a model is loaded, never before.
"""

from __future__ import annotations

import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tagcorpus.errors import ConfigError
from tagcorpus.requirements import how_to_install
from tagcorpus.taggers._interface import digest

PATIENCE_SECONDS = 5.0
RETRY_SECONDS = 1.0
_MODEL_FILES = frozenset([".json", ".safetensors", ".bin", ".model", ".txt", ".jinja"])


class ModelParameters(Protocol):
    """The fields that such a tagger has."""

    @property
    def model(self) -> str: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def dtype(self) -> str: ...
    @property
    def device(self) -> str: ...


class Loaded(NamedTuple):
    """The module torch, and the loaded model: the network is on `device`, in evaluation mode."""

    torch: Any
    device: Any
    tokenizer: Any
    network: Any


def load(tagger: str, auto_class: str, kind: str, parameters: ModelParameters) -> Loaded:
    """Tokenizer and network by transformers' `auto_class`; `kind` is its description in messages.

    Raises ConfigError where packages, device or model cannot be had, and where the model's files leave some weights open:
    transformers would draw those at random, in every worker anew, and only warn. Where the hub cannot be reached, the cache
    must have the model.
    """
    torch, transformers = packages(tagger)
    device = _device(torch, parameters.device)
    model, dtype = parameters.model, getattr(torch, parameters.dtype)
    is_local = Path(model).is_dir()
    where: dict[str, Any] = {"revision": parameters.revision} if parameters.revision and not is_local else {}
    no_hub = "" if is_local else _no_hub()
    if no_hub:
        where["local_files_only"] = True
    try:
        with _quiet(transformers):
            tokenizer = transformers.AutoTokenizer.from_pretrained(model, **where)
            network, report = getattr(transformers, auto_class).from_pretrained(
                model, dtype=dtype, output_loading_info=True, **where
            )
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        if is_local:
            raise ConfigError(
                f"the directory {model!r} must hold a {kind} of transformers (config.json, weights, tokenizer): {reason}"
            ) from error
        if no_hub:
            reason = f"{no_hub}, and the cache does not have it whole."
        raise ConfigError(
            f"model {model!r} is not a local directory and could not be loaded from the Hugging Face hub: {reason} Give a local "
            f"directory as model (--set {tagger}.model=DIR); or, without a network, set HF_HOME to a cache that holds it"
        ) from error
    if missing := sorted(report["missing_keys"]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ConfigError(
            f"model {model!r} must be a trained {kind}; its files lack {', '.join(missing[:3])}{more}, and random weights "
            "would take their place"
        )
    return Loaded(torch, device, tokenizer, network.eval().to(device))


def _no_hub() -> str:
    """Why the Hugging Face hub cannot be reached; empty where it can, or where a proxy alone would know. huggingface_hub would try for
    most of a minute, once for each file, also where the cache has the model."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE=1 forbids requests to the hub"
    if {"http", "https", "all"} & urllib.request.getproxies().keys():
        return ""
    url = urllib.parse.urlsplit(constants.ENDPOINT)
    host, end = url.hostname or "", time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(
                (host, url.port or (80 if url.scheme == "http" else 443)), PATIENCE_SECONDS
            ).close()
        except (OSError, UnicodeError, OverflowError) as error:
            if time.monotonic() + RETRY_SECONDS > end:
                return f"{host} cannot be reached ({error})"
            time.sleep(RETRY_SECONDS)
        else:
            return ""


def packages(tagger: str) -> tuple[Any, Any]:
    """The modules torch and transformers. Raises ConfigError where they cannot be imported."""
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ConfigError(
            f"the tagger {tagger} needs the packages torch and transformers ({error}): {how_to_install('hf', 'torch', 'transformers')}"
        ) from error
    return torch, transformers


def _device(torch: Any, name: str) -> Any:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device must be one that torch has here, got {name!r} ({str(error).splitlines()[0]}): use auto or cpu"
        ) from error


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Silences transformers: every worker loads the model, and its bars would garble the run's own. Restores the settings."""
    logging = transformers.utils.logging
    had_bar, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bar:
            logging.enable_progress_bar()


@contextmanager
def one_thread(device: Any) -> Iterator[None]:
    """Limits torch to one thread, as one worker is. Restores the setting for other users of torch in this process."""
    import torch

    threads = torch.get_num_threads()
    if torch.device(device).type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def identity(tagger: str, model: str, revision: str | None) -> dict[str, str | None]:
    """The model in a fingerprint: a local directory by the digest of its files, a model of the hub by its name and revision.
    ConfigError where the name can be neither, so that a run fails before it reads."""
    path = Path(model)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigError(
                f"{tagger}.model={model!r} must be a directory with a model of transformers (config.json, weights, tokenizer); "
                "there is no config.json in it"
            )
        files = (p for p in path.iterdir() if p.suffix in _MODEL_FILES and p.name[0] != "." and p.is_file())
        return {"model": digest.of_files(path, files), "revision": None}
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ConfigError(
            f"{tagger}.model must be a local directory or the name of a model on the Hugging Face hub; there is no directory "
            f"{model!r}"
        )
    return {"model": model, "revision": revision or "main"}
