"""A corpus of distinct real documents, out of the documentation that Debian packages carry.

    python benchmarks/corpus.py --work DIR [--megabytes N] [--package NAME ...] [--processes 2]

Downloads PACKAGES with apt-get as it is set up here (`apt-get update` first), unpacks them with dpkg-deb, takes the text out of
HTML, DocBook, manual pages, info, plain text, dictionaries and WordNet, and writes DIR/{jsonl,zst,parquet}/part-00000...
(32 shards in each format, the same documents, fields id, text and source) and DIR/manifest.json (packages with versions, sizes,
documents, tokens). Real means: written by people for reading, about software mostly, in English and a dozen other languages. Not web text.

A document is one file (longer ones are cut near 100,000 characters, at an end of line). Lines that stand in more than 20 documents
of a package (menus, licences) are dropped, documents below 200 characters and those of markup and tables (under half letters)
too, and of documents with equal normalised text (case and white space) one is kept. Order is that of the texts' digests, so
shards are alike and `--megabytes` takes a random but fixed part. The same packages give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
import zstandard

# Each stands for the package of the release's version, which it depends on.
METAPACKAGES = "linux-doc python3-doc postgresql-doc libboost-doc libreoffice-help-de"
PACKAGES = """
rust-doc cppreference-doc-en-html dict-gcide wordnet-base dict-foldoc dict-jargon dict-vera fortunes manpages
manpages-dev manpages-cs manpages-de manpages-es manpages-fr manpages-it manpages-ja manpages-nl manpages-pl
manpages-pt-br manpages-ru manpages-uk manpages-zh freebsd-manpages perl-doc libreoffice-help-en-us
libreoffice-help-fr libreoffice-help-es libreoffice-help-it libreoffice-help-ja libreoffice-help-ru
libreoffice-help-zh-cn libreoffice-help-ko libreoffice-help-pt-br libreoffice-help-hi debian-handbook debian-policy
debian-faq debian-reference-de debian-reference-ja developers-reference maint-guide installation-guide-amd64
aptitude-doc-en aptitude-doc-fr gnome-user-docs gimp-help-en gimp-help-de python-scipy-doc python-django-doc
python-pandas-doc python-sympy-doc python-sqlalchemy-doc python-astropy-doc python-tornado-doc python-sklearn-doc
python-dask-doc erlang-doc libgtk-3-doc libglib2.0-doc nodejs-doc llvm-14-doc cmake-doc git-doc sqlite3-doc vim-doc
zsh-doc bash-doc emacs-common octave-doc maxima-doc r-doc-html tcl8.6-doc tk8.6-doc scheme48-doc openscap-doc
shorewall-doc lilypond-doc-html asymptote-doc lintian
"""

SHARDS = 32
QUICK_SHARDS = 12
LONGEST = 100_000
SHORTEST = 200
QUICK = {".py", ".pyi", ".pyx", ".c", ".h", ".cpp", ".hpp", ".md", ".rst", ".txt", ".html"}
COMMON_LINE = 20  # documents of one package
DOWNLOADS_AT_ONCE = 20

MARKUP = {".html", ".htm", ".xhtml", ".page", ".docbook"}
PLAIN = {".txt", ".rst", ".md", ".text", ".info", ".pod", ".org"}
WITHOUT_SUFFIX = re.compile(r"(?i)(readme|news|changelog|changes|history|todo|faq)(\.debian)?")
MANUAL = re.compile(r"\.[1-9][a-z]*")

_UNSEEN = re.compile(r"(?is)<(script|style|head|nav|footer|noscript|svg|template)\b.*?</\1\s*>|<!--.*?-->")
_BLOCK = re.compile(r"(?i)</?(p|div|li|ul|ol|h[1-6]|tr|table|br|pre|dt|dd|section|title|para|item|note|entry)\b[^>]*>")
_TAG = re.compile(r"<[/!?a-zA-Z][^>]*>")
_BLANKS = re.compile(r"[ \t\f\v\xa0]+")
_GAPS = re.compile(r"\n\s*\n+")


class Document(NamedTuple):
    digest: bytes
    """xxh3-128 of the normalised text: what is equal, and the order."""
    text: str
    source: str
    """package:path in the package."""


def from_markup(text: str) -> str:
    return html.unescape(_TAG.sub("", _BLOCK.sub("\n", _UNSEEN.sub(" ", text))))


def from_manual(text: str) -> str:
    """Roff source without its requests and escapes; arguments of headings and fonts stay."""
    lines = []
    for written in text.splitlines():
        line = written
        if line.startswith((".", "'")):
            found = re.match(r"\.(SH|SS|B|I|BR|BI|IR|RB|RI|IB|Sh|Ss|Nm|Nd|Ar|Fl|Xr|Dq|Ql|Em|It) +(.*)", line)
            if found is None:
                lines.append("")
                continue
            line = found.group(2).replace('"', "")
        lines.append(line)
    escapes = {r"\-": "-", r"\(aq": "'", r"\(cq": "'", r"\(oq": "'", r"\(lq": '"', r"\(rq": '"', r"\e": "\\", r"\&": ""}
    bare = re.sub(r"\\f(\[\w*\]|\(..|.)|\\s[-+]?\d|\\[|^/,%]", "", "\n".join(lines))
    return re.sub(r"\\(-|e|&|\((aq|cq|oq|lq|rq))", lambda m: escapes[m.group()], bare)


def from_wordnet(text: str) -> str:
    """Words and gloss of each synset."""
    lines = []
    for line in text.splitlines():
        fields, _, gloss = line.partition(" | ")
        if gloss and not line.startswith(" "):
            numbers = fields.split()
            words = numbers[4 : 4 + 2 * int(numbers[3], 16) : 2]
            lines.append(f"{', '.join(words).replace('_', ' ')}: {gloss.strip()}")
    return "\n".join(lines)


def text_of(path: Path) -> str | None:
    """The file's text, or None where it is of no kind that holds any."""
    name = path.name
    is_packed = name.endswith((".gz", ".dz"))
    name = name.rsplit(".", 1)[0] if is_packed else name
    suffix = Path(name).suffix.lower()
    is_wordnet = name.startswith("data.") and "wordnet" in str(path)
    is_manual = "/man/" in str(path) and MANUAL.fullmatch(suffix)
    is_plain = suffix in PLAIN or suffix == ".dict" or (is_packed and re.search(r"\.info-\d+$", name))
    # Fortunes lie in a folder of their own, without a suffix that says so.
    is_plain = is_plain or WITHOUT_SUFFIX.fullmatch(name) or (path.parent.parent.name == "games" and not suffix)
    if not (suffix in MARKUP or is_plain or is_manual or is_wordnet):
        return None
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if is_packed else data).decode(errors="replace")
    except (OSError, EOFError):
        return None
    if text.count("\ufffd") > len(text) / 1000:
        return None  # not UTF-8, nor UTF-8 with a slip
    if suffix in MARKUP:
        return from_markup(text)
    if is_manual:
        return from_manual(text)
    return from_wordnet(text) if is_wordnet else text


def cleaned(text: str) -> str:
    lines = "\n".join(line.strip() for line in _BLANKS.sub(" ", text.replace("\0", "")).splitlines())
    return _GAPS.sub("\n\n", lines).strip()


def pieces(text: str) -> Iterator[str]:
    """Parts of at most LONGEST characters (a longer line stays whole), cut at ends of lines."""
    start = 0
    while len(text) - start > LONGEST:
        cut = text.rfind("\n", start, start + LONGEST) + 1
        if cut <= start:
            cut = text.find("\n", start + LONGEST) + 1 or len(text)
        yield text[start:cut].strip()
        start = cut
    yield text[start:].strip()


def documents(package: str, archive: Path) -> list[Document]:
    """All documents of a package, equal ones once."""
    texts: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        subprocess.run(["dpkg-deb", "-x", archive, folder], check=True)
        for path in sorted(p for p in Path(folder).rglob("*") if p.is_file() and not p.is_symlink()):
            text = text_of(path)
            if text is not None:
                texts.append((cleaned(text), f"{package}:{path.relative_to(folder)}"))
    common = Counter(line for text, _ in texts for line in set(map(hash, text.split("\n"))))
    found: dict[bytes, Document] = {}
    for text, source in texts:
        kept = "\n".join(line for line in text.split("\n") if not line or common[hash(line)] <= COMMON_LINE)
        for piece in pieces(_GAPS.sub("\n\n", kept)):
            if len(piece) >= SHORTEST and sum(map(str.isalpha, piece[:2000])) > len(piece[:2000]) / 2:
                digest = xxhash.xxh3_128_digest(" ".join(piece.casefold().split()).encode())
                found.setdefault(digest, Document(digest, piece, source))
    return list(found.values())


def run(*command: str, cwd: Path | None = None) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd).stdout


def chosen(names: list[str] | None) -> list[str]:
    """Names that apt knows; metapackages are replaced by what they depend on."""
    found = set(names or PACKAGES.split())
    for meta in METAPACKAGES.split() if not names else ():
        needs = re.findall(r"Depends: (\S+-doc\S*)$", run("apt-cache", "depends", "--important", meta), re.MULTILINE)
        found.update(needs or [meta])
    known = set(re.findall(r"^Package: (\S+)$", run("apt-cache", "show", "--no-all-versions", *found), re.MULTILINE))
    for name in sorted(found - known):
        print(f"no package {name} here: left out", file=sys.stderr)
    return sorted(known)


def download(names: list[str], folder: Path) -> dict[str, Path]:
    """Package -> archive, out of `folder`, where an earlier run may have left it."""
    folder.mkdir(parents=True, exist_ok=True)
    have = {p.name.split("_")[0] for p in folder.glob("*.deb")}
    needed = [n for n in names if n not in have]
    for i in range(0, len(needed), DOWNLOADS_AT_ONCE):
        run("apt-get", "download", *needed[i : i + DOWNLOADS_AT_ONCE], cwd=folder)
    archives = {p.name.split("_")[0]: p for p in sorted(folder.glob("*.deb"))}
    missing = [n for n in names if n not in archives]
    if missing:
        raise SystemExit(f"could not be downloaded (apt-get update first?): {', '.join(missing)}")
    return {n: archives[n] for n in names}


def n_tokens(texts: list[str]) -> int:
    """Tokens under p50k_base."""
    from tagcorpus.taggers._tokenizers.loading import load

    tokenizer = load("p50k_base")
    return sum(len(tokenizer.encode_batch(texts[i : i + 256]).ids) for i in range(0, len(texts), 256))


def write(folder: Path, shard: int, rows: list[Document]) -> int:
    """One shard in the formats that have a folder; returns its tokens."""
    name = f"part-{shard:05d}"
    records = [{"id": r.digest.hex()[:16], "text": r.text, "source": r.source} for r in rows]
    lines = b"".join(json.dumps(r, ensure_ascii=False).encode() + b"\n" for r in records)
    (folder / "jsonl" / f"{name}.jsonl").write_bytes(lines)
    if (folder / "zst").exists():
        (folder / "zst" / f"{name}.jsonl.zst").write_bytes(zstandard.ZstdCompressor(level=3).compress(lines))
    table = pa.Table.from_pylist(records, schema=pa.schema([(k, pa.string()) for k in ("id", "text", "source")]))
    path = folder / "parquet" / f"{name}.parquet"
    pq.write_table(table, path, compression="zstd", row_group_size=1000, use_dictionary=["source"])
    return n_tokens([r.text for r in rows])


def quick(folder: Path, megabytes: float) -> None:
    """Distinct source and text files of this Python and its packages, by random but fixed order of their paths: JSONL and
    Parquet in QUICK_SHARDS shards. Another machine has other packages and gets another corpus."""
    roots = {Path(p) for k, p in sysconfig.get_paths().items() if k in ("stdlib", "purelib", "platlib")}
    roots |= {Path(p) for p in sys.path if p.endswith("site-packages")}
    paths = {p for r in roots for p in r.rglob("*") if p.suffix in QUICK and p.is_file() and not p.is_symlink()}
    rows: dict[bytes, Document] = {}
    left = megabytes * 1e6
    for path in sorted(paths, key=lambda p: hashlib.sha256(str(Path(*p.parts[-4:])).encode()).digest()):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for piece in pieces(text.replace("\0", "")):
            digest = xxhash.xxh3_128_digest(" ".join(piece.casefold().split()).encode())
            if len(piece) >= SHORTEST and digest not in rows:
                rows[digest] = Document(digest, piece, str(Path(*path.parts[-3:])))
                left -= len(piece.encode())
        if left < 0:
            break
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    for name in ("jsonl", "parquet"):
        (temporary / name).mkdir(parents=True)
    for shard in range(QUICK_SHARDS):
        write(temporary, shard, sorted(rows.values())[shard::QUICK_SHARDS])
    temporary.rename(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", required=True, type=Path, help="new folder for the corpus; downloads go to DIR.packages"
    )
    parser.add_argument("--megabytes", type=float, help="of text, at most (default: all there is, some 570)")
    parser.add_argument("--package", action="append", help="instead of the list in this file; repeatable")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    if options.work.exists():
        parser.error(f"{options.work} is there already: give a new folder")
    # What hash() says of a line differs between processes but is used within one only.
    archives = download(chosen(options.package), options.work.with_name(options.work.name + ".packages"))
    with ProcessPoolExecutor(options.processes) as pool:
        whole: dict[bytes, Document] = {}
        taken: dict[str, dict[str, Any]] = {}
        for (package, archive), found in zip(
            archives.items(), pool.map(documents, archives, archives.values()), strict=True
        ):
            new = {d.digest: d for d in found if d.digest not in whole}
            whole.update(new)
            size = sum(len(d.text.encode()) for d in new.values())
            taken[package] = {
                "version": archive.name.split("_")[1].replace("%3a", ":"),
                "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
                "documents": len(new),
                "bytes": size,
            }
            print(f"{package:28} {len(new):>7,} documents {size / 1e6:>7.1f} MB", file=sys.stderr, flush=True)
        rows, left = [], (options.megabytes or 1e12) * 1e6
        for document in sorted(whole.values()):
            left -= len(document.text.encode())
            if left < 0:
                break
            rows.append(document)
        temporary = options.work.with_name(f".{options.work.name}.{os.getpid()}")
        try:
            for name in ("jsonl", "zst", "parquet"):
                (temporary / name).mkdir(parents=True)
            shards = [rows[k::SHARDS] for k in range(SHARDS)]
            tokens = sum(pool.map(partial(write, temporary), range(SHARDS), shards))
            manifest = {
                "documents": len(rows),
                "bytes": sum(len(r.text.encode()) for r in rows),
                "characters": sum(len(r.text) for r in rows),
                "tokens_p50k_base": tokens,
                "shards": SHARDS,
                "packages": taken,
            }
            (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
            temporary.rename(options.work)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    print(json.dumps({k: v for k, v in manifest.items() if k != "packages"}))


if __name__ == "__main__":
    main()
