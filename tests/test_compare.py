"""`tagcorpus compare`: effects against numpy and scipy, null splits, and the command on small outputs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slurm_commands import invoke

from tagcorpus.pipelines.comparing import documents
from tagcorpus.pipelines.comparing.counts import Numbers
from tagcorpus.pipelines.comparing.differences import of_numbers
from tagcorpus.pipelines.comparing.token_entropy import Sampled
from tagcorpus.pipelines.distributions import effects
from tagcorpus.pipelines.distributions.binning import Sample, bins_of

ROOT = Path(__file__).resolve().parents[1]


def differing(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    sample = Sample(len(a) + len(b))
    random = np.random.default_rng(0)
    sample.add(np.concatenate([a, b]), random)
    bins = bins_of(sample)
    counts = np.stack([np.bincount(bins.of(x), minlength=len(bins)) for x in (a, b)])
    return of_numbers(Numbers(bins, counts, np.zeros(1, np.int64), None), False, random)


def test_a_shift_is_found_with_its_size() -> None:
    random = np.random.default_rng(1)
    a, b = random.standard_normal(4_000) + 0.5, random.standard_normal(4_000)
    found = differing(a, b)
    assert found["p"] < 1e-6
    assert found["wasserstein_by_sd"] == pytest.approx(0.5, abs=0.06)
    assert found["delta_interval"][0] < found["delta"] < found["delta_interval"][1]
    assert found["delta"] == pytest.approx(0.276, abs=0.03)  # 2 Phi(0.5 / sqrt 2) - 1


def test_a_change_of_spread_alone_is_found() -> None:
    random = np.random.default_rng(2)
    found = differing(random.standard_normal(4_000) * 1.3, random.standard_normal(4_000))
    assert abs(found["delta"]) < 0.05
    assert found["p"] < 1e-6


def test_jensen_shannon_is_that_of_scipy() -> None:
    distance = pytest.importorskip("scipy.spatial.distance")
    p, q = np.array([3.0, 0.0, 7.0]), np.array([1.0, 4.0, 5.0])
    assert effects.jensen_shannon(p, q) == pytest.approx(distance.jensenshannon(p, q, 2) ** 2)
    assert effects.share_moved(p, q) == pytest.approx(0.4)


def output(folder: Path, name: str, texts: list[str], *options: str) -> str:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    done = invoke("run", "tag", "--input", str(path), "--output", str(folder / name), *options)
    assert done.code == 0, done.err
    return str(folder / name)


def test_command(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    a = output(tmp_path, "a", ["x" * int(n) for n in random.integers(10, 60, 200)], "--taggers", "length")
    b = output(tmp_path, "b", ["x" * int(n) for n in random.integers(30, 80, 200)], "--taggers", "length")
    document = json.loads(invoke("compare", a, b, "--json").out)
    column = document["columns"]["length.char_len"]
    lengths = [[len(json.loads(line)["text"]) for line in (tmp_path / f"{n}.jsonl").open()] for n in "ab"]
    naive = np.sign(np.array(lengths[0])[:, None] - np.array(lengths[1])).mean()
    assert (column["delta"], column["differs"]) == (pytest.approx(naive), True)
    same = json.loads(invoke("compare", a, a, "--json").out)["columns"]["length.char_len"]
    assert (same["delta"], same["differs"]) == (pytest.approx(0, abs=1e-12), False)


def test_two_outputs_of_one_name_have_two_files(tmp_path: Path) -> None:
    """Each is renewed by the same command; an output that is gone makes room."""
    (tmp_path / "one").mkdir()
    a = output(tmp_path, "a", ["x", "yy"], "--taggers", "length")
    one = output(tmp_path / "one", "b", ["x", "yy"], "--taggers", "length")
    two = output(tmp_path, "b", ["xxx", "yy"], "--taggers", "length")

    def compared(b: str) -> set[str]:
        assert invoke("compare", a, b).code == 0
        return {
            json.loads(path.read_text())["b"] + " " + path.name.partition("-")[0]
            for path in Path(a, "compare").glob("*.json")
        }

    both = {f"{one} b.json", f"{two} b"}
    assert compared(one) == compared(one) == {f"{one} b.json"}
    assert compared(two) == compared(two) == compared(one) == both
    for groups in (["input=a,input=b"], ["input=a.jsonl"]):
        invoke("compare", a, *(word for group in groups for word in ("--group", group)))
    assert compared(f"{one}/../b") == both
    shutil.rmtree(one)
    assert compared(two) == {f"{two} b.json", f"{two} b"}


def test_outputs_without_a_shared_column(tmp_path: Path) -> None:
    a = output(tmp_path, "a", ["x"], "--taggers", "length")
    b = output(tmp_path, "b", ["x"], "--taggers", "repetition")
    done = invoke("compare", a, b)
    assert (done.code, "share no column" in done.err) == (2, True)


def test_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/compare.md").read_text(encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^\$ (.*)$", page, re.MULTILINE):
        done = invoke(*shlex.split(line)[1:])
        assert done.code in (0, 3), done.err


def test_groups_of_one_output(tmp_path: Path) -> None:
    texts = ["word " * n for n in range(2, 42)] + ["das Wort und der Satz " * n for n in range(2, 42)]
    both = output(tmp_path, "both", texts, "--taggers", "length,language")
    names = ["--group", "language.language=de", "--columns", "char_len"]
    shown = invoke("compare", both, *names).out
    assert re.search(r"length.char_len, more in A: \d+ to \d+ .*\n  both.jsonl:\d\d: das Wort und der Satz", shown)
    document = json.loads(invoke("compare", both, *names, "--json").out)
    assert (document["a"], document["b"]) == ("language.language=de", "all but language.language=de")
    assert list(document["columns"]) == ["length.char_len"]
    for excess in document["columns"]["length.char_len"]["excess"]:
        for one in excess["documents"]:
            assert (len(texts[one["row"]]), one["text"]) == (one["value"], texts[one["row"]][:600])
            assert excess["low"] <= one["value"] <= excess["high"]
            assert (one["row"] < 40) == (excess["more_in"] == "b")
    (tmp_path / "both.jsonl").write_text("")
    gone = json.loads(invoke("compare", both, *names, "--json").out)["columns"]["length.char_len"]["excess"][0]
    assert (gone["documents"][0]["text"], "changed" in gone["documents"][0]["problem"]) == (None, True)
    assert (tmp_path / "both/compare/language.language%3Dde.json").exists()
    one = invoke("compare", both, "--group", "language.language=de", "--group", "language.language=xx")
    assert (one.code, "no document" in one.err) == (2, True)


@pytest.fixture(scope="module")
def two_documents(tmp_path_factory: pytest.TempPathFactory) -> str:
    return output(tmp_path_factory.mktemp("two"), "a", ["x", "xx"], "--taggers", "length")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "compare needs two outputs"),
        (["--group", "length.char_len=1", "--floor", "nan"], "--floor must be at least 0, got nan"),
        (["--group", "length.char_len=1", "--floor", "-1"], "--floor must be at least 0, got -1"),
        (["--group", "length.char_len"], "write COLUMN=VALUE"),
        (["--group", "length.char_len=1", "--group", "length.char_len=1"], "both groups are the same"),
        (["--group", "length.char_len=1", "--columns", "char_len"], "it makes the groups"),
        (["--group", "length.chars=1"], "unknown column"),
    ],
)
def test_refusals(two_documents: str, options: list[str], message: str) -> None:
    done = invoke("compare", two_documents, *options)
    assert done.code == 2
    assert message in done.err


@pytest.mark.e2e
def test_entropy_at_one_budget(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    words = np.array([f"w{i}" for i in range(100)])

    def texts(n_words: int) -> list[str]:
        return [" ".join(random.choice(words[:n_words], 60)) for _ in range(120)]

    a, b, c = (
        output(tmp_path, name, texts(n), "--taggers", "length") for name, n in (("a", 100), ("b", 100), ("c", 20))
    )
    assert json.loads(invoke("compare", a, b, "--json").out)["entropy"] is None
    for path in (a, b, c):
        assert invoke("run", "entropy", "--input", f"{path}.jsonl", "--output", path).code == 0
    same = json.loads(invoke("compare", a, b, "--json").out)["entropy"]
    less = json.loads(invoke("compare", a, c, "--json").out)["entropy"]
    low, high = same["chao_wang_jost"]["interval"]
    assert (same["token_budget"] >= 1_000, low < 0 < high) == (True, True)
    assert less["chao_wang_jost"]["interval"][0] > 0.5
    assert "next-token entropy in bits" in invoke("compare", a, c).out


def test_figures_of_a_sample_are_those_of_all_pairs() -> None:
    sample = Sampled()
    for ids in ([1, 2, 1, 3], [2, 1, 2]):
        sample.add(np.array(ids))
    # Pairs in 6 tokens: 12, 21, 13 and 21: after 1 there are 2 and 3, after 2 always 1.
    assert sample.figures(6)["plug_in"] == pytest.approx(0.5)


def test_documents_of_a_file_among_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MOST_CHUNKS", 1)  # of B, the first chunk by chance is enough
    (tmp_path / "in").mkdir()
    for i in range(6):
        rows = [{"text": ("long " * 40 if i == 3 else "short ") + str(j)} for j in range(20 if i == 3 else 1)]
        (tmp_path / f"in/{i}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    out = str(tmp_path / "out")
    assert invoke("run", "tag", "--input", str(tmp_path / "in"), "--output", out, "--taggers", "length").code == 0
    document = json.loads(invoke("compare", out, "--group", "input=3.jsonl", "--json").out)
    in_a, in_b = document["columns"]["length.char_len"]["excess"]
    assert [d["text"][:5] for d in in_a["documents"] + in_b["documents"]] == ["long ", "long ", "short"]
