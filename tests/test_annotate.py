"""`run annotate` against a stub server over real HTTP, and its schemas and answers alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from slurm_commands import invoke
from stub_llm import Call, Reply, StubLLM, answer, failure

import tagcorpus
from tagcorpus.errors import ConfigError, TaggerError
from tagcorpus.pipelines.runs.result import Result
from tagcorpus.taggers._annotation.answers import is_bare, values_in
from tagcorpus.taggers._annotation.properties import Flaw
from tagcorpus.taggers._annotation.read import parse_schema, preset_names, read_schema

SCHEMA = {
    "name": "every_type",
    "max_text_chars": 60,
    "properties": {
        "kind": {"type": "enum", "choices": ["news", "code"]},
        "score": {"type": "ordinal", "least": 0, "most": 5},
        "share": {"type": "number", "least": 0, "most": 1},
        "is_spam": {"type": "boolean"},
        "summary": {"type": "text", "max_chars": 20},
        "topics": {"type": "enums", "choices": ["a", "b", "c"]},
    },
    "examples": [
        {
            "text": "an example",
            "answer": {"kind": "code", "score": 1, "share": 0, "is_spam": False, "summary": "x", "topics": []},
        }
    ],
}
GOOD = {"kind": "news", "score": 3, "share": 0.5, "is_spam": False, "summary": "short", "topics": ["b", "a"]}
OWN = ("n_calls", "is_truncated", "answered_by", "error")
FAST = {"backoff_seconds": 0.001, "max_attempts": 2, "patience": 0.3}


def said(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes})


def without(name: str) -> str:
    return json.dumps({k: v for k, v in GOOD.items() if k != name})


def user(call: Call) -> str:
    return str(call.body["messages"][-1]["content"])


def schema_file(folder: Path, **changes: Any) -> Path:
    path = folder / "schema.yaml"
    path.write_text(yaml.safe_dump({**SCHEMA, **changes}))
    return path


def documents(folder: Path, *texts: str) -> Path:
    path = folder / "in.jsonl"
    path.write_text("".join(json.dumps({"id": f"d{i}", "text": t}) + "\n" for i, t in enumerate(texts)))
    return path


def annotate(stub: StubLLM, folder: Path, *texts: str, cache: str = "none", **options: Any) -> Result:
    changes = options.pop("schema", {})
    parameters = {
        "schema": str(schema_file(folder, **changes)),
        "base_url": stub.base_url,
        "llm_cache": cache,
        **FAST,
        **options.pop("annotate", {}),
    }
    result: Result = tagcorpus.run(
        "annotate", input=documents(folder, *texts), output=folder / "out", annotate=parameters, **options
    )
    return result


def rows(folder: Path, name: str = "every_type") -> list[dict[str, Any]]:
    (path,) = (folder / "out" / "attributes" / name).rglob("*.parquet")
    return [dict(row) for row in pq.read_table(path).to_pylist()]


def by_mark(replies: dict[str, str | list[str]], otherwise: str = "") -> Callable[[Call], Reply]:
    """The answer whose mark is in the document; of several answers one after the other, and the last one again."""
    n: dict[str, int] = dict.fromkeys(replies, 0)

    def reply(call: Call) -> Reply:
        for mark, given in replies.items():
            if mark in user(call):
                answers = [given] if isinstance(given, str) else given
                n[mark] += 1
                return answer(answers[min(n[mark], len(answers)) - 1])
        return answer(otherwise or said())

    return reply


def test_typed_columns_and_metadata(tmp_path: Path) -> None:
    with StubLLM(lambda _: answer(said())) as stub:
        result = annotate(stub, tmp_path, "one", "  ", "two")
    table = result.table()
    first, blank, _ = rows(tmp_path)
    assert {name: first[name] for name in GOOD} == GOOD
    assert blank["n_calls"] == 0
    assert blank["kind"] is None
    assert blank["error"] is None
    kinds = [
        str(table.schema.field(f"every_type.{name}" if "every_type.kind" in table.column_names else name).type)
        for name in GOOD
    ]
    assert [k.replace("large_", "") for k in kinds[:5]] == ["string", "int64", "double", "bool", "string"]
    assert len(stub.calls) == 2
    body = stub.calls[0].body
    assert [m["role"] for m in body["messages"]] == ["system", "user", "assistant", "user"]
    assert json.loads(body["messages"][2]["content"])["kind"] == "code"
    assert body["response_format"]["json_schema"]["schema"]["properties"]["score"]["enum"] == [0, 1, 2, 3, 4, 5]
    assert result.summary["annotation"] == {"asked": 2, "errors": 0, "answered_by": {"gpt-4o-mini": 2}}


@pytest.mark.parametrize(
    "bad",
    [
        without("score"),
        said(kind="sports"),
        said(score=6),
        said(score=2.5),
        said(score="3"),
        said(score=True),
        said(share=-0.1),
        said(share=None),
        said(is_spam="no"),
        said(summary="x" * 21),
        said(topics=["a", "z"]),
        said(topics="a"),
        "news",
        "[]",
        f"{said()} or {said(score=4)}",
        '{"score": 1, ' + said()[1:],
        said() + "{",
    ][:-1],
)
def test_what_misses_the_schema(bad: str) -> None:
    schema = parse_schema(yaml.safe_dump(SCHEMA), "s")
    with pytest.raises(Flaw):
        schema.values(bad)


@pytest.mark.parametrize(
    "good",
    [
        said(),
        f"Here you are:\n```json\n{said()}\n```\nAnything else?",
        f"<think>{{hm}}</think>{said()}",
        f"{said()} {said()}",
        said(kind=" NEWS "),
        said(extra=1),
        said(score=3.0),
        f"I {{really}} think {said()}",
    ],
)
def test_what_fits_the_schema(good: str) -> None:
    assert parse_schema(yaml.safe_dump(SCHEMA), "s").values(good) == GOOD | {"topics": ["b", "a"]}


def test_only_an_object_is_bare() -> None:
    assert is_bare(f"```json\n{said()}\n```")
    assert not is_bare(f"So: {said()}")
    assert values_in(
        '{"x": null}', parse_schema("properties: {x: {type: boolean, optional: true}}", "s").properties
    ) == {"x": None}


def test_missed_schema_is_asked_again_and_others_keep_theirs(tmp_path: Path) -> None:
    replies: dict[str, str | list[str]] = {"twice": ["no idea", said(score=1)], "never": said(kind="sports")}
    with StubLLM(by_mark(replies)) as stub:
        result = annotate(stub, tmp_path, "fine", "twice", "never", max_quarantined=5)
    fine, twice, never = rows(tmp_path)
    assert (fine["score"], twice["score"], never["score"]) == (3, 1, None)
    assert "misses the schema (kind cannot be 'sports')" in never["error"]
    assert fine["error"] is twice["error"] is None
    assert result.summary["annotation"]["errors"] == 1


def test_model_that_never_fits_ends_the_run(tmp_path: Path) -> None:
    with StubLLM(lambda _: answer("I cannot say")) as stub, pytest.raises(TaggerError, match="misses the schema"):
        annotate(stub, tmp_path, *(f"document {i}" for i in range(40)))
    assert len(stub.calls) < 30


@pytest.mark.parametrize(
    "refusal",
    [
        failure(400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."),
        failure(400, "this server has no grammar support"),
        failure(422, "response format is unknown here"),
    ],
)
def test_server_without_response_format(tmp_path: Path, refusal: Reply) -> None:
    def reply(call: Call) -> Reply:
        return refusal if "response_format" in call.body else answer(said())

    cache = str(tmp_path / "llm.sqlite")
    with StubLLM(reply) as stub:
        annotate(stub, tmp_path, "one", "two", cache=cache)
        assert [row["score"] for row in rows(tmp_path)] == [3, 3]
        n = len(stub.calls)
        annotate(
            stub, tmp_path, "one", "two", "three", cache=cache, schema={"instructions": "Otherwise."}, overwrite=True
        )
        assert all("response_format" not in call.body for call in stub.calls[n:])
    assert "response_format" in Path(f"{cache}.requests.json").read_text()


def test_resume_and_retry_errors(tmp_path: Path) -> None:
    cache = str(tmp_path / "llm.sqlite")
    good = by_mark({})
    with StubLLM(by_mark({"odd": "nothing"})) as stub:
        annotate(stub, tmp_path, "fine", "odd", cache=cache, max_quarantined=5)
        n = len(stub.calls)
        annotate(stub, tmp_path, "fine", "odd", cache=cache, max_quarantined=5)
        assert len(stub.calls) == n
        stub.reply = good
        result = annotate(stub, tmp_path, "fine", "odd", cache=cache, retry_errors=True)
        assert len(stub.calls) == n + 1
    assert result.exit_code == 0
    assert [row["topics"] for row in rows(tmp_path)] == [["b", "a"], ["b", "a"]]


def test_windows_and_rules(tmp_path: Path) -> None:
    long = "BEGIN" + "x" * 95 + "MIDDLE" + "x" * 95 + "END"
    replies: dict[str, str | list[str]] = {
        "BEGIN": said(score=1, share=0.1, topics=["a"], kind="code", summary="b"),
        "MIDDLE": said(score=5, share=0.3, topics=["c"]),
        "END": said(score=4, share=0.8, is_spam=True),
    }
    with StubLLM(by_mark(replies)) as stub:
        annotate(stub, tmp_path, long, "short", schema={"windows": ["begin", "middle", "end"]})
    first, short = rows(tmp_path)
    assert {name: first[name] for name in GOOD} == {
        "kind": "news", "score": 4, "share": pytest.approx(0.4), "is_spam": False, "summary": "b", "topics": ["a", "c", "b"],
    }  # fmt: skip
    assert (first["n_calls"], first["is_truncated"]) == (3, True)
    assert (short["n_calls"], short["is_truncated"]) == (1, False)
    (path,) = (tmp_path / "out" / "attributes").rglob("*.parquet")
    metadata = pq.read_schema(path).field("score").metadata
    assert (metadata[b"aggregation"], metadata[b"windows"]) == (b"median", b"begin, middle, end")


def test_show_buys_nothing_and_ask_prints_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    template = tmp_path / "prompt.txt"
    template.write_text("{properties}\nRate <<{text}>> {as it is}")
    path = documents(tmp_path, "one {text}", "two")
    command = [
        "run",
        "annotate",
        "--input",
        str(path),
        "--schema",
        str(schema_file(tmp_path)),
        "--prompt",
        str(template),
    ]
    with StubLLM(lambda _: answer(said())) as stub:
        command += ["--base-url", stub.base_url, "--no-llm-cache", "--show", "1"]
        shown = invoke(*command)
        assert not stub.calls
        asked = invoke(*command, "--ask")
        assert len(stub.calls) == 1
    for text in (str(getattr(shown, "output", shown)), str(getattr(asked, "output", asked))):
        assert "Rate <<one {text}>> {as it is}" in text
        assert "<<two>>" not in text
    assert said() in str(getattr(asked, "output", asked))
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("name", preset_names())
def test_packaged_schemas_are_valid(name: str) -> None:
    schema = parse_schema(read_schema(name), name)
    sizes = {"educational_value": 1, "code_quality": 4, "taxonomy_12": 12, "properties_18": 18}
    assert schema.name == name
    assert len(schema.properties) == sizes[name]


def test_json_schema() -> None:
    given = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "My labels",
        "type": "object",
        "properties": {
            "level": {"type": "integer", "minimum": 1, "maximum": 3},
            "year": {"type": "integer"},
            "kind": {"enum": ["a", "b"]},
            "tags": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}, "maxItems": 1},
            "note": {"type": ["string", "null"], "maxLength": 5},
            "ok": {"type": "boolean"},
        },
        "required": ["level", "kind", "tags", "note", "ok"],
    }
    schema = parse_schema(json.dumps(given), "s.json")
    assert schema.name == "my_labels"
    assert [p.kind for p in schema.properties] == ["ordinal", "number", "enum", "enums", "text", "boolean"]
    values = {"level": 2, "kind": "b", "tags": ["y"], "note": None, "ok": True}
    assert schema.values(json.dumps(values)) == {**values, "year": None}
    with pytest.raises(ConfigError, match=r"properties.ok: unknown key 'pattern'"):
        parse_schema(json.dumps(given | {"properties": {"ok": {"type": "boolean", "pattern": "x"}}}), "s.json")


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"properties": {}}, "properties"),
        ({"properties": {"error": {"type": "boolean"}}}, "properties.error"),
        ({"properties": {"a": {"type": "bool"}}}, "did you mean 'boolean'"),
        ({"properties": {"a": {"type": "enum", "choices": [True]}}}, "quote them"),
        ({"properties": {"a": {"type": "ordinal", "least": 0}}}, "properties.a.most"),
        ({"properties": {"a": {"type": "text", "aggregate": "mean"}}}, "properties.a.aggregate"),
        ({"windows": ["front"]}, "windows"),
        ({"prompt": "no mark"}, "prompt"),
        ({"examples": [{"text": "x", "answer": {"kind": "news"}}]}, "examples"),
        ({"request": {"model": "x"}}, "request.model"),
    ],
)
def test_wrong_schema_names_the_place(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigError, match=place):
        parse_schema(yaml.safe_dump({**SCHEMA, **changes}), "s.yaml")


def test_a_filter_over_another_input_names_run_annotate(tmp_path: Path) -> None:
    with StubLLM(lambda _: answer(said())) as stub:
        annotate(stub, tmp_path, "one")
    other = tmp_path / "other.jsonl"
    other.write_text('{"text": "another text"}\n')
    done = invoke("run", "filter", "--input", str(other), "--output", str(tmp_path / "out"), "--where", "score > 1")
    assert done.code == 2
    assert f"First tagcorpus run annotate --input {other} --output {tmp_path / 'out'} " in done.err
