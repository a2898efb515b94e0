"""The manifest, `token_files.json` in the output: what the token files hold, and how they came about.

It is written last, and removed before the first file of another content is written. So files beside a manifest are whole,
and as the manifest says. The settings of the output are written first: another run with other settings is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import xxhash

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.attributes.ledger import listed
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.sealed import opened, sealed
from tagcorpus.pipelines.token_files.layout import FOLDER, TokenFile
from tagcorpus.pipelines.token_files.pieces import Piece
from tagcorpus.pipelines.token_files.sides import HELD_OUT, SIDES, TRAIN
from tagcorpus.pipelines.token_files.work import Work
from tagcorpus.pipelines.token_files.writing import SUFFIXES, is_whole, receipt_name

MANIFEST = "token_files.json"
SETTINGS = f"summary/{FOLDER}.settings.json"
FORMAT = 1
# Options that decide the content of token files besides tokenizer and EOS.
DECIDING = ("group_by", "where", "held_out", "held_out_by", "seed", "file_bytes")


def read_manifest(output: Folder, path: str) -> dict[str, Any]:
    """The manifest of an output, whose folder is at `path` as the user names it. Raises ConfigError where it is missing or damaged."""
    manifest = opened(output.read(MANIFEST))
    if manifest is None:
        raise ConfigError(f"{output} has no complete {MANIFEST}: first run `tagcorpus run tokenize --output {path}`")
    return manifest


def check_settings(output: Folder, settings: dict[str, Any]) -> None:
    """Raise ConfigError where the output has token files of other settings."""
    stored = opened(output.read(SETTINGS))
    if stored is None:
        return
    before, now = _deciding(stored), _deciding(settings)
    for key, value in now.items():
        if before.get(key) != value:
            named = [_shown(s.get(key)) for s in (stored, settings)]
            option = key if key == "file_bytes" else f"--{key.replace('_', '-')}"
            raise ConfigError(
                f"{output} already has token files with {option} {named[0]}, and this run has {option} {named[1]}: name "
                "another --output, or write them anew with --overwrite"
            )


def _deciding(settings: dict[str, Any]) -> dict[str, Any]:
    """Without names: a tokenizer's file may have moved."""
    tokenizer = settings.get("tokenizer", {}).get("fingerprint")
    return {"tokenizer": tokenizer, "eos": settings.get("eos"), **{key: settings.get(key) for key in DECIDING}}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("name", value.get("token"))
    return "(none)" if value is None else str(value)


def corpus_key(work: Work, settings: dict[str, Any]) -> str:
    """Of everything that decides the token files."""
    deciding = [FORMAT, _deciding(settings), work.chunk_keys]
    return xxhash.xxh3_128_hexdigest(json.dumps(deciding, sort_keys=True).encode())


def current(output: Folder, key: str, *, with_texts: bool) -> dict[str, Any] | None:
    """The manifest of this key, where all its files are whole; else None. with_texts: those of held-out documents, too."""
    value = opened(output.read(MANIFEST))
    if value is None or value.get("key") != key:
        return None
    sides = [sides[HELD_OUT] for sides in value["groups"].values() if HELD_OUT in sides]
    if with_texts and not all("texts" in side for side in sides):
        return None
    return value if is_whole(output, files_of(value)) else None


def files_of(manifest: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name of every file, with its size and digest."""
    for sides in manifest["groups"].values():
        for side in sides.values():
            for file in side["files"]:
                for suffix in SUFFIXES:
                    yield file["prefix"] + suffix, file[suffix[1:]]
            if "texts" in side:
                yield side["texts"]["name"], side["texts"]


def manifest_of(
    work: Work,
    settings: dict[str, Any],
    key: str,
    pieces: Sequence[Piece],
    files: Sequence[TokenFile],
    entries: Sequence[dict[str, Any]],
    overlap: dict[str, Any] | None,
    texts: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """The value of the manifest. entries: of each file; texts: by group, the file of its held-out texts."""
    groups: dict[str, dict[str, Any]] = {}
    for file, entry in zip(files, entries, strict=True):
        sides = groups.setdefault(file.group, {})
        side = sides.setdefault(file.side, {"documents": 0, "tokens": 0, "bytes": 0, "files": []})
        side["documents"] += entry["documents"]
        side["tokens"] += entry["tokens"]
        side["bytes"] += entry["bin"]["bytes"]
        side["files"].append(entry)
    for group, entry in texts.items():
        groups[group][HELD_OUT]["texts"] = entry
    in_files = sum(f.documents for f in files)
    left_out = sum(p.left_out for p in pieces)
    totals = {
        side: {k: sum(g[side][k] for g in groups.values() if side in g) for k in ("documents", "tokens", "bytes")}
        for side in SIDES
    }
    return {
        "format": FORMAT,
        "key": key,
        **settings,
        "dtype": {"<u2": "uint16", "<i4": "int32"}[work.dtype],
        "documents": {"in_files": in_files, "left_out": left_out},
        "totals": totals,
        "overlap": overlap,
        "groups": groups,
    }


def figures(manifest: dict[str, Any]) -> dict[str, Any]:
    """What the summary says of the token files."""
    groups = {
        group: {side: {k: v[k] for k in ("documents", "tokens")} for side, v in sides.items()}
        for group, sides in manifest["groups"].items()
    }
    names = ("tokenizer", "eos", "dtype", "documents", "totals", "overlap")
    return {"manifest": MANIFEST, **{name: manifest[name] for name in names}, "groups": groups}


def empty_sides(manifest: dict[str, Any]) -> Iterator[str]:
    """Sentences on groups without documents on a side."""
    if manifest["held_out"] is None:
        return
    for side, words in ((TRAIN, "training document: all are held out"), (HELD_OUT, "held-out document")):
        names = [group for group, sides in manifest["groups"].items() if side not in sides]
        if names:
            yield f"{len(names):,} group{'s have' if len(names) != 1 else ' has'} no {words} ({listed(names)})"


def publish(output: Folder, manifest: dict[str, Any]) -> None:
    output.publish(MANIFEST, sealed(manifest, allow_nan=False))


def make_room(output: Folder, settings: dict[str, Any], files: Sequence[TokenFile]) -> None:
    """Remove the manifest, and token files and receipts that are not of this layout. Write down the settings."""
    output.remove(MANIFEST)
    output.publish(SETTINGS, sealed(settings))
    names = {f.prefix + s for f in files for s in SUFFIXES}
    receipts = {receipt_name(f.prefix) for f in files}
    for folder, own in ((FOLDER, names), (f"summary/{FOLDER}", receipts)):
        for name in output.files(folder):
            if name not in own:
                output.remove(name)
