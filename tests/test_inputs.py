"""From --input arguments to files: folders, globs, labels, names, and what is said when nothing is found."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tagcorpus.errors import ConfigError, InputError
from tagcorpus.pipelines.inputs import discover


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b'{"text": "x"}\n')


def names(*arguments: object, globs: tuple[str, ...] = (), excludes: tuple[str, ...] = ()) -> list[str]:
    found = discover.find([str(a) for a in arguments], globs, excludes)
    assert all(os.path.isfile(f.path) for f in found)
    return [f.name for f in found]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jsonl", ("jsonl", "")),
        ("a.ndjson.gz", ("jsonl", "gz")),
        ("a.JSONL.ZST", ("jsonl", "zst")),
        ("a.json", ("jsonl", "")),
        ("a.csv.gz", ("csv", "gz")),
        ("a.tsv", ("tsv", "")),
        ("a.tsv.xz", ("tsv", "xz")),
        ("a.jsonl.bz2", ("jsonl", "bz2")),
        ("a.parquet", ("parquet", "")),
        ("a.arrow", ("arrow", "")),
        ("a.feather", ("arrow", "")),
        ("a.ipc", ("arrow", "")),
        ("a b=c [1] é😀.jsonl", ("jsonl", "")),
        ("label=x.jsonl", ("jsonl", "")),
        ("q?.jsonl", ("jsonl", "")),
        ("a::b.jsonl", ("jsonl", "")),
        ("a:b.jsonl", ("jsonl", "")),
        ("%41.jsonl", ("jsonl", "")),
    ],
)
def test_a_file_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: tuple[str, str]) -> None:
    put(tmp_path, name)
    (found,) = discover.find([str(tmp_path / name)])
    assert (found.name, found.path, (found.format, found.compression)) == (name, str(tmp_path / name), kind)
    monkeypatch.chdir(tmp_path)
    assert discover.find([name]) == [found]
    with found.open() as file:
        assert file.read() == b'{"text": "x"}\n'
    assert found.size() == 14


@pytest.mark.parametrize("name", ["a.txt", "a", "a.parquet.gz", "a.jsonl.lz4", "a.gz"])
def test_an_unknown_suffix(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    with pytest.raises(
        InputError, match=r"has no known suffix \(--input\)\. Name its format .* known suffixes are \.jsonl"
    ):
        names(tmp_path / name)


def test_a_folder_brings_known_suffixes_only(tmp_path: Path) -> None:
    put(
        tmp_path,
        "b.jsonl",
        "a.csv",
        "sub/c.parquet",
        "sub/deep er/d.jsonl.zst",
        "é.arrow",
        "x=1/e.jsonl",
        "s [1]/f.csv",
    )
    put(tmp_path, "README.md", "config.json", ".hidden.jsonl", ".git/x.jsonl", "results_1.jsonl", "removed_b.jsonl")
    put(tmp_path, "out.tagcorpus/a.parquet", "results_old/a.jsonl", "sub/removed_x/a.jsonl", "sub/notes")
    expected = sorted(
        ["a.csv", "b.jsonl", "s [1]/f.csv", "sub/c.parquet", "sub/deep er/d.jsonl.zst", "x=1/e.jsonl", "é.arrow"]
    )
    assert names(tmp_path) == expected
    assert names(f"{tmp_path}/") == expected
    assert names(tmp_path / "s [1]") == ["f.csv"]


def test_compressed_json_counts_in_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.json", "b.json.gz", "c.JSON.zst", "sub/d.json.gz")
    assert names(tmp_path) == ["b.json.gz", "c.JSON.zst", "sub/d.json.gz"]


def test_what_a_folder_leaves_out_is_told(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", "b.jsonl.lz4", "c.txt", "d.txt", "notes", "removed_a.jsonl", "e.json", "f.parquet.gz")
    put(tmp_path, ".hidden.jsonl", ".git/x", "old.tagcorpus/plan/a.json", "out.jsonl")
    skipped: Counter[str] = Counter()
    found = discover.find([str(tmp_path)], excludes=["out*"], skipped=skipped)
    assert [f.name for f in found] == ["a.jsonl"]
    told = "2 .txt, 1 *.tagcorpus, 1 .json, 1 .lz4, 1 .parquet.gz, 1 removed_*, 1 without a suffix"
    assert discover.skipped_line(skipped) == f"skipped in folders: {told}"
    assert discover.skipped_line(Counter()) == ""
    many = discover.skipped_line(Counter({f".s{i}": 20 - i for i in range(12)}))
    assert many.endswith("13 .s7, 42 others")
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(InputError, match=r"--exclude; skipped in folders: 2 \.txt, "):
        names(tmp_path, excludes=("out*",))


@pytest.mark.parametrize("output", ["out", "deep/er/out", "."])
def test_the_output_inside_an_input_folder_is_no_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    put(
        tmp_path,
        "a.jsonl",
        "deep/b.jsonl",
        f"{output}/quarantine/a.jsonl/part-00000.jsonl",
        f"{output}/summary/tag.csv",
    )
    put(tmp_path, f"{output}/filtered/a.jsonl", "outer/c.jsonl", "result.csv")
    expected = ["a.jsonl", "deep/b.jsonl", "outer/c.jsonl"]
    place = tmp_path / output
    given = [str(place), str(tmp_path / "result.csv")]
    assert [f.name for f in discover.find([str(tmp_path)], outputs=given)] == expected
    assert [f.name for f in discover.find([f"{tmp_path}/**/*.*"], outputs=given)] == expected
    monkeypatch.chdir(tmp_path)
    assert [f.name for f in discover.find(["."], outputs=[output, "result.csv"])] == expected
    # What an earlier run kept is read where it is named.
    (kept,) = discover.find([str(place / "filtered")], outputs=given)
    assert kept.name == "a.jsonl"
    assert len(discover.find([str(tmp_path)])) == 7


@pytest.mark.parametrize("output", ["", "sub/old/"])
def test_the_output_of_another_run_is_no_input(tmp_path: Path, output: str) -> None:
    put(tmp_path, "a.jsonl", f"{output}plan/a.jsonl.json", f"{output}attributes/length/a.jsonl/part-00000.parquet")
    put(
        tmp_path,
        f"{output}quarantine/a.jsonl/part-00000.jsonl",
        "dolma/attributes/b.jsonl",
        "planner/attributes/c.jsonl",
    )
    assert names(tmp_path) == ["a.jsonl", "dolma/attributes/b.jsonl", "planner/attributes/c.jsonl"]


def test_glob_and_exclude_filter_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", "b.jsonl", "sub/a.jsonl", "sub/c.csv")
    assert names(tmp_path, globs=("*.jsonl",)) == ["a.jsonl", "b.jsonl", "sub/a.jsonl"]
    assert names(tmp_path, globs=("sub/*",), excludes=("*.csv",)) == ["sub/a.jsonl"]
    assert names(tmp_path, excludes=("sub/*", "b*")) == ["a.jsonl"]
    with pytest.raises(InputError, match="none of 4 files has a known suffix"):
        names(tmp_path, globs=("*.parquet",))


def test_a_globs_root_is_its_literal_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "d/en/a.jsonl", "d/de/a.jsonl", "d/de/b.csv", "d/lang=fr/x.jsonl")
    assert names(tmp_path / "d" / "*" / "a.jsonl") == ["de/a.jsonl", "en/a.jsonl"]
    assert names(tmp_path / "d" / "**" / "*.jsonl") == ["de/a.jsonl", "en/a.jsonl", "lang=fr/x.jsonl"]
    assert names(tmp_path / "d" / "de" / "[ab].*") == ["a.jsonl", "b.csv"]
    monkeypatch.chdir(tmp_path / "d")
    assert names("lang=fr/*.jsonl") == ["x.jsonl"]
    assert names("lang=fr/x.jsonl") == ["x.jsonl"]
    assert names("L=de/*.jsonl") == ["L/a.jsonl"]
    with pytest.raises(InputError, match="no file matches"):
        names("*/nothing*.jsonl")


def test_labels_tell_equal_names_apart(tmp_path: Path) -> None:
    put(tmp_path, "a/x.jsonl", "b/x.jsonl", "b/y.jsonl")
    with pytest.raises(InputError, match=r"two inputs have the same name 'x.jsonl'.*--input LABEL=PATH"):
        names(tmp_path / "a", tmp_path / "b")
    with pytest.raises(InputError, match="same name"):
        names(tmp_path / "a" / "x.jsonl", tmp_path / "a" / "x.jsonl")
    assert names(f"one={tmp_path / 'a'}", tmp_path / "b") == ["one/x.jsonl", "x.jsonl", "y.jsonl"]
    assert names(f"one={tmp_path / 'a'}", f"org/two.v1={tmp_path / 'b'}") == [
        "one/x.jsonl",
        "org/two.v1/x.jsonl",
        "org/two.v1/y.jsonl",
    ]


@pytest.mark.parametrize("label", ["..", ".", "../../x", "a/../..", "a/.", "./a"])
def test_a_label_cannot_lead_out_of_the_output(tmp_path: Path, label: str) -> None:
    put(tmp_path, "a.jsonl")
    with pytest.raises(InputError, match="leads out of the output folder"):
        names(f"{label}={tmp_path}/a.jsonl")


def test_a_name_cannot_lead_out_of_the_output() -> None:
    """In an object store `..` is a name like any other."""
    store = fsspec.filesystem("memory")
    store.pipe("/odd/names/../x.jsonl", b"{}")
    try:
        with pytest.raises(InputError, match=r"would be called '\.\./x\.jsonl'"):
            discover.find(["memory://odd/names/*/x.jsonl"])
    finally:
        store.rm("/odd", recursive=True)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder, and only the rights that its modes give: root may read anything."""
    me = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        if me == 0:
            os.chown(folder, 65534, -1)
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            os.seteuid(me)


@pytest.mark.skipif(os.name != "posix", reason="modes and users as POSIX has them")
def test_what_may_not_be_read_is_told(unprivileged: Path) -> None:
    put(unprivileged, "a.jsonl", "b.jsonl", "sub/c.jsonl")
    (unprivileged / "b.jsonl").chmod(0)
    for argument in (unprivileged, unprivileged / "b.jsonl", f"{unprivileged}/*.jsonl"):
        with pytest.raises(
            InputError, match=r"b\.jsonl \(--input\) cannot be read: Permission denied\. See to its perm"
        ):
            names(argument)
    assert names(unprivileged, excludes=("b*",)) == ["a.jsonl", "sub/c.jsonl"]
    (unprivileged / "sub").chmod(0)
    with pytest.raises(InputError, match=r"Permission denied: .*/sub/'\. Check the permissions"):
        names(unprivileged, excludes=("b*",))
    (unprivileged / "sub").chmod(0o700)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        names(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="no such file or folder"):
        names(f"label={tmp_path}/none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the folder is empty"):
        names(tmp_path / "empty")
    put(tmp_path, "only/notes.txt")
    with pytest.raises(InputError, match=r"none of 1 files has a known suffix \(\.jsonl, "):
        names(tmp_path / "only")
    with pytest.raises(InputError, match="cannot be opened"):
        names("nosuchprotocol://bucket/x.jsonl")
    assert InputError.exit_code == 2


def test_symbolic_links(tmp_path: Path) -> None:
    put(tmp_path, "real/a.jsonl", "far/sub/b.jsonl")
    (tmp_path / "real" / "link.jsonl").symlink_to(tmp_path / "far" / "sub" / "b.jsonl")
    assert names(tmp_path / "real") == ["a.jsonl", "link.jsonl"]
    assert names(tmp_path / "real" / "link.jsonl") == ["link.jsonl"]
    (tmp_path / "folder").symlink_to(tmp_path / "real")
    assert names(tmp_path / "folder") == ["a.jsonl", "link.jsonl"]
    assert names(tmp_path / "re*" / "link.jsonl") == ["real/link.jsonl"]


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl")
    (tmp_path / "dangling.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"dangling\.jsonl"):
        names(tmp_path)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    put(tmp_path, "d/a.jsonl")
    (tmp_path / "d" / "again").symlink_to(tmp_path / "d")
    assert names(tmp_path / "d") == ["a.jsonl"]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path, "d/a.jsonl", "far/b.jsonl", "far/sub/c.jsonl", "other/e.jsonl")
    (tmp_path / "d" / "far").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "d")
    (tmp_path / "far" / "round").symlink_to(tmp_path / "far")
    (tmp_path / "d" / "up").symlink_to(tmp_path)
    (tmp_path / "d" / "zfar").symlink_to(tmp_path / "far")
    (tmp_path / "d" / "loop").symlink_to(tmp_path / "d" / "loop")
    skipped: Counter[str] = Counter()
    found = discover.find([str(tmp_path / "d")], skipped=skipped)
    assert [f.name for f in found] == ["a.jsonl", "far/b.jsonl", "far/sub/c.jsonl"]
    assert skipped == {"link to a folder that is read already": 4, "without a suffix": 1}


def test_identity_changes_with_the_file(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl")
    (file,) = discover.find([str(tmp_path / "a.jsonl")])
    before = file.identity()
    assert before == file.identity()
    assert before is not None
    stat = os.stat(file.path)
    (tmp_path / "b").write_bytes(b'{"text": "y"}\n')
    os.replace(tmp_path / "b", file.path)
    os.utime(file.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.identity() != before, "an edit of equal size whose time was set back"


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jsonl")
    for argument in (tmp_path / "x.jsonl", tmp_path):
        with pytest.raises(InputError, match=r"x\.jsonl \(--input\) is a named pipe, .* --input - < .*x\.jsonl"):
            names(argument)
    read, write = os.pipe()
    try:
        with pytest.raises(InputError, match=r"is a named pipe, .*--input - <"):
            names(f"/dev/fd/{read}")
    finally:
        os.close(read)
        os.close(write)


def test_a_folder_whose_name_has_brackets(tmp_path: Path) -> None:
    put(tmp_path, "data[1]/a.jsonl", "data[1]/sub/b.jsonl", "data1/c.jsonl", "data2/d.jsonl")
    assert names(f"{tmp_path}/data[1]/*.jsonl") == ["a.jsonl"]
    assert names(f"{tmp_path}/data[1]/**/*.jsonl") == ["a.jsonl", "sub/b.jsonl"]
    assert names(f"{tmp_path}/data[12]/*.jsonl") == ["data1/c.jsonl", "data2/d.jsonl"]
    assert names(f"{tmp_path}/dat*[1]/*.jsonl") == ["data1/c.jsonl"]


def test_json_files_in_folders_count_where_a_glob_says_so(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", "b.json", "sub/c.json", "config.json")
    assert names(tmp_path) == ["a.jsonl"]
    assert names(tmp_path, globs=("*.json",)) == ["b.json", "config.json", "sub/c.json"]
    assert names(tmp_path, globs=("*.json", "*.jsonl"), excludes=("config*",)) == ["a.jsonl", "b.json", "sub/c.json"]
    assert names(tmp_path, globs=("*",)) == ["a.jsonl"]


def formats(argument: object, input_format: str, globs: tuple[str, ...] = ()) -> dict[str, tuple[str, str]]:
    return {f.name: (f.format, f.compression) for f in discover.find([str(argument)], globs, input_format=input_format)}


def test_the_format_of_files_whose_names_do_not_say(tmp_path: Path) -> None:
    put(tmp_path, "part-00000", "part-00001", "part-00002.gz", "shard.0001", "x.csv", "README.md", "_SUCCESS", ".crc")
    jsonl = {"part-00000": ("jsonl", ""), "part-00001": ("jsonl", ""), "part-00002.gz": ("jsonl", "gz")}
    assert formats(tmp_path, "jsonl") == {**jsonl, "shard.0001": ("jsonl", ""), "x.csv": ("csv", "")}
    assert formats(f"{tmp_path}/part-*", "jsonl") == jsonl
    assert formats(tmp_path / "part-00000", "csv.zst") == {"part-00000": ("csv", "zst")}
    assert formats(tmp_path / "part-00000", "tsv") == {"part-00000": ("tsv", "")}
    assert formats(tmp_path, "jsonl", ("*.md",)) == {"README.md": ("jsonl", "")}
    assert formats(tmp_path / "README.md", ".jsonl") == {"README.md": ("jsonl", "")}
    assert formats(tmp_path, "") == {"x.csv": ("csv", "")}
    with pytest.raises(InputError, match=r"has no known suffix .* Name its format with --input-format"):
        names(tmp_path / "part-00000")
    with pytest.raises(InputError, match="has no known suffix"):
        formats(tmp_path / "part-00002.gz", "parquet")
    with pytest.raises(ConfigError, match=r"--input-format 'lines' is not known\. Name one of jsonl, csv, tsv"):
        formats(tmp_path, "lines")
