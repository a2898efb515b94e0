"""`train`: model configs, the plan, windows, and (with torch) a toy model, a killed run, losses that are not numbers."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slurm_commands import invoke
from token_outputs import write_tokens

from tagcorpus.errors import ConfigError, TagcorpusError
from tagcorpus.pipelines.mixes.mix_file import Mix, read_mix
from tagcorpus.pipelines.training import hub_folder, model_config, training_plan
from tagcorpus.pipelines.training.windows import Windows, check_ids
from tagcorpus.taggers._interface import digest

WORDS = 100
LENGTH = 16
TRAIN = ("--model", "llama-toy", "--batch", "4", "--checkpoint-every", "5")


def a_tokenizer(folder: Path) -> dict[str, Any]:
    """A tokenizer.json of WORDS words; the entry of the manifest."""
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {"<eos>": 0, **{f"w{i}": i for i in range(1, WORDS)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="w1"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<eos>"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return {"name": str(path), "fingerprint": digest.of_bytes(path.read_bytes()), "vocabulary": WORDS}


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 windows of 16 tokens, of two groups; one has two files."""
    folder = tmp_path_factory.mktemp("training")
    tokenizer = a_tokenizer(folder / "tokenizer")
    tokens = write_tokens(folder / "tokens", {"web": [700, 300], "code": [500]}, held_out=True, tokenizer=tokenizer)
    arguments = ["--weight", "web=3", "--weight", "code=1", "--tokens", str(80 * LENGTH), "--epochs", "2"]
    result = invoke("mix", "make", str(tokens), "-o", str(folder / "mix"), *arguments, "--sequence-length", str(LENGTH))
    assert result.code == 0, result.err
    return folder / "mix"


# Models


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("llama-14m", 14.4),
        ("llama-60m", 57),
        ("llama-150m", 152),
        ("llama-530m", 531),
        ("llama-1b", 1177),
        ("paper-220m", 267),
        ("paper-460m", 497),
        ("paper-1b", 1138),
    ],
)
def test_packaged_models_have_their_size(name: str, millions: float) -> None:
    assert model_config.load(name).parameters / 1e6 == pytest.approx(millions, rel=0.01)


def test_every_packaged_model_loads() -> None:
    assert len(model_config.names()) == 9
    assert all(model_config.load(name).layers for name in model_config.names())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layers: 2\n", "hidden is missing"),
        ("layer: 2\n", "unknown key 'layer'"),
        ("layers: null\n", "layers must be int, got None"),
        ("layers: '2'\n", "layers must be int, got '2'"),
        ("layers: true\n", "layers must be int, got True"),
        ("layers: 0\n", "layers must be above 0"),
        ("[1]\n", "must be a mapping"),
        ("layers: [\n", "cannot be read"),
        (
            "{layers: 1, hidden: 30, heads: 4, ffn: 8, tied: true, batch: 1, learning_rate: 1, warmup: 0}",
            "a multiple of",
        ),
    ],
)
def test_bad_model_files(mix: Path, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    result = invoke("train", str(mix), "-o", str(tmp_path / "out"), "--model", str(tmp_path / "m.yaml"), "--dry-run")
    assert (result.code, message in result.err) == (2, True), result.err


# The plan


def test_a_dry_run_prints_the_plan_and_writes_nothing(mix: Path, tmp_path: Path) -> None:
    result = invoke("train", str(mix), "-o", str(tmp_path / "out"), *TRAIN, "--dry-run")
    assert result.code == 0
    plan = {line[:14].strip(): line[14:] for line in result.out.splitlines()}
    own = 2 * (4 * 64 * 64 + 3 * 64 * 256 + 2 * 64) + 64
    assert plan["model"].strip() == f"llama-toy, {own + 6400:,} parameters, {own:,} without embeddings"
    assert "1,280 in 20 steps" in result.out
    assert "4 sequences of 16 tokens, 64 tokens a step, on 1 process" in result.out
    assert f"{6 * (own + 6400) * 1280:.3g} FLOPs" in result.out
    assert "web 0.97, code 0.65" in result.out
    assert not (tmp_path / "out").exists()


def test_a_plan_beyond_this_machine_says_what_to_lower() -> None:
    assert "lower --batch" in training_plan._remedy(1 << 60)
    assert training_plan._remedy(1) == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "llama-toy", "--batch", "81"], "batch: the mix has 80 windows"),
        (["--model", "llama"], "unknown model 'llama'"),
        (["--model", "absent.yaml"], "there is no such file"),
        (["--model", "llama-toy", "--batch", "0"], "--batch must be at least 1"),
        (["--model", "llama-toy", "--executor", "ray", "--workers", "3"], "cannot be divided among 3 processes"),
    ],
)
def test_refusals(mix: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    result = invoke("train", str(mix), "-o", str(tmp_path / "out"), *arguments, "--dry-run")
    assert (result.code, message in result.err) == (2, True), result.err


def test_a_missing_package_is_named(mix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    result = invoke("train", str(mix), "-o", str(tmp_path / "out"), *TRAIN)
    assert (result.code, "train needs torch: pip install" in result.err) == (2, True), result.err
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_is_gone_or_changed_is_named(mix: Path, tmp_path: Path) -> None:
    own = read_mix(str(mix))
    path = tmp_path / "tokenizer.json"
    own.value["tokenizer"]["name"] = str(path)
    with pytest.raises(ConfigError, match=r"tokenizer: .* is not there"):
        hub_folder.check_tokenizer(own)
    path.write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer: .* has changed"):
        hub_folder.check_tokenizer(own)


def test_a_vocabulary_that_is_too_small_is_named(mix: Path, tmp_path: Path) -> None:
    text = "{layers: 1, hidden: 8, heads: 2, ffn: 8, tied: true, batch: 1, learning_rate: 1, warmup: 0, vocabulary: 99}"
    (tmp_path / "m.yaml").write_text(text)
    result = invoke("train", str(mix), "-o", str(tmp_path / "out"), "--model", str(tmp_path / "m.yaml"))
    assert (result.code, "vocabulary: the mix has token ids up to 99, and" in result.err) == (2, True)


# Windows


def naive_streams(mix: Mix) -> dict[str, list[int]]:
    return {
        name: [
            int(i)
            for f in group["files"]
            for i in np.fromfile(mix.token_folder(name).path(f["prefix"] + ".bin"), np.uint16)
        ]
        for name, group in mix.groups.items()
    }


def test_windows_are_those_of_the_order(mix: Path) -> None:
    own = read_mix(str(mix))
    streams, windows = naive_streams(own), Windows(own, 80, WORDS)
    starts = {name: set() for name in own.groups}  # type: dict[str, set[int]]
    for i in range(80):
        sample = windows[i]
        group, _, window = own.order.sample(i)
        name = list(own.groups)[group]
        assert sample["ids"].tolist() == streams[name][window * LENGTH : (window + 1) * LENGTH + 1]
        assert (sample["group"], sample["sample"]) == (group, i)
        starts[name].add(window)
    assert {name: len(s) for name, s in starts.items()} == {"web": 60, "code": 20}  # no window twice


def test_documents_of_a_window(mix: Path) -> None:
    own = read_mix(str(mix))
    windows = Windows(own, 80, WORDS)
    i = next(i for i in range(80) if own.order.sample(i)[::2] == (0, 43))  # ids 688 to 704, across both files
    places = list(windows.documents(i))
    first, second = ([p.number for p in places if p.prefix.endswith(f"train-0000{f}")] for f in (0, 1))
    assert first == [688 // 6, 115, 116]
    assert second == [0]  # ids 700 to 704 are the first five of the second file
    assert {p.group for p in places} == {"web"}


def test_ids_beyond_the_vocabulary_are_refused() -> None:
    check_ids(np.array([0, 9]), 10, "x")
    with pytest.raises(TagcorpusError, match="x: token id 10 is not below the model's vocabulary of 10"):
        check_ids(np.array([0, 10]), 10, "x")


# Training

KILLED = """
import os, sys
from tagcorpus.pipelines.training import trainer
log = trainer.Progress.on_log
def on_log(self, args, state, control, **more):
    log(self, args, state, control, **more)
    if state.global_step == 13:
        os._exit(9)
trainer.Progress.on_log = on_log
from tagcorpus.cli import main
main(sys.argv[1:])
"""


def command(mix: Path, output: Path, *more: str) -> list[str]:
    return ["train", str(mix), "-o", str(output), *TRAIN, *more]


@pytest.fixture(scope="module")
def trained(mix: Path, torch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    output = tmp_path_factory.mktemp("trained") / "acme" / "toy"
    result = invoke(*command(mix, output))
    assert result.code == 0, result.err
    assert result.out.startswith("acme/toy: 1,280 tokens in 20 steps -> ")
    return output


@pytest.mark.parametrize("processes", [1, 2])
def test_sums_of_many_tokens_are_exact(processes: int, torch: Any) -> None:
    """float32 has no number 2**24 + 1."""
    pytest.importorskip("transformers")
    from tagcorpus.pipelines.training.held_out import over_processes

    class Accelerator:
        num_processes, device = processes, "cpu"

        def reduce(self, sums: Any) -> Any:
            return sums * processes

    sums = torch.tensor([1.0, 2.0**24 + 1], dtype=torch.float64)
    assert over_processes(sums, Accelerator()).tolist() == [processes, processes * (2**24 + 1)]


def test_a_toy_model_is_a_folder_of_the_hub(trained: Path, mix: Path) -> None:
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(trained)
    tokenizer = transformers.AutoTokenizer.from_pretrained(trained)
    expected = model_config.load("llama-toy").non_embedding_parameters + WORDS * 64
    assert sum(p.numel() for p in model.parameters()) == expected
    assert (model.config.bos_token_id, model.config.eos_token_id, tokenizer.bos_token) == (0, 0, "<eos>")
    assert tokenizer("w5 <eos> w7")["input_ids"] == [5, 0, 7]
    losses = json.loads((trained / "losses.json").read_text())
    assert [e["step"] for e in losses["training"]] == list(range(1, 21))
    first = losses["training"][0]
    assert first["loss"] == pytest.approx(math.log(WORDS), rel=0.1)
    assert first["loss"] == pytest.approx((3 * first["groups"]["web"] + first["groups"]["code"]) / 4, rel=1e-5)
    assert losses["training"][-1]["loss"] < first["loss"]
    rows = list(csv.DictReader((trained / "losses.csv").read_text().splitlines()))
    assert [(r["group"], r["held_out_tokens"]) for r in rows] == [("web", "119"), ("code", "119")]
    naive = held_out_loss(model, read_mix(str(mix)), "code")
    assert losses["held_out"]["code"]["loss"] == pytest.approx(naive, rel=1e-5)
    assert not (trained / "checkpoints").exists()


def held_out_loss(model: Any, mix: Mix, group: str) -> float:
    """Token by token, in windows of LENGTH targets."""
    import torch

    prefix = mix.groups[group]["held_out"]["files"][0]["prefix"]
    ids = np.fromfile(mix.token_folder(group).path(prefix + ".bin"), np.uint16).astype(np.int64)
    nats = []
    for start in range(0, len(ids) - 1, LENGTH):
        window = torch.from_numpy(ids[start : start + LENGTH + 1])[None]
        log_probabilities = model(window[:, :-1]).logits.detach().log_softmax(-1)[0]
        nats += [-float(log_probabilities[i, t]) for i, t in enumerate(window[0, 1:].tolist())]
    return float(np.mean(nats))


def test_the_annotation_goes_into_a_store(trained: Path, tmp_path: Path) -> None:
    result = invoke("store", "import", str(tmp_path / "a.duckdb"), str(trained / "annotation.json"), "--create")
    assert result.code == 0, result.err
    query = "SELECT total_params, dimension FROM model_annotations"
    shown = json.loads(invoke("store", "query", str(tmp_path / "a.duckdb"), query, "--format", "json").out)
    n = model_config.load("llama-toy").non_embedding_parameters + WORDS * 64
    assert [(r["total_params"], r["dimension"]) for r in shown] == [(n, 64)]


def test_a_finished_run_is_done_and_another_is_refused(trained: Path, mix: Path) -> None:
    before = {p.name: p.read_bytes() for p in trained.iterdir()}
    assert invoke(*command(mix, trained)).code == 0
    for key, more in (("seed", ["--seed", "1"]), ("learning_rate", ["--learning-rate", "0.1"])):
        result = invoke(*command(mix, trained, *more))
        assert (result.code, f"{key}: " in result.err) == (2, True), result.err
    assert {p.name: p.read_bytes() for p in trained.iterdir()} == before


def test_another_mix_and_changed_token_files_are_refused(trained: Path, tmp_path: Path) -> None:
    tokenizer = a_tokenizer(tmp_path / "tokenizer")
    tokens = write_tokens(tmp_path / "tokens", {"web": [2000]}, tokenizer=tokenizer)
    arguments = ["--tokens", str(80 * LENGTH), "--sequence-length", str(LENGTH)]
    assert invoke("mix", "make", str(tokens), "-o", str(tmp_path / "mix"), *arguments).code == 0
    result = invoke(*command(tmp_path / "mix", trained))
    assert (result.code, "mix: " in result.err) == (2, True), result.err
    path = tokens / "token_files/web/train-00000.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    result = invoke(*command(tmp_path / "mix", tmp_path / "out"))
    assert (result.code, "train-00000.bin has changed since its manifest" in result.err) == (2, True), result.err
    assert not (tmp_path / "out").exists()


def test_a_killed_run_continues_to_the_same_bytes(trained: Path, mix: Path, tmp_path: Path) -> None:
    output = tmp_path / "acme" / "toy"
    killed = subprocess.run([sys.executable, "-c", KILLED, *command(mix, output)], check=False, capture_output=True)
    assert killed.returncode == 9, killed.stderr
    assert sorted(p.name for p in (output / "checkpoints").iterdir()) == ["checkpoint-10", "checkpoint-5"]
    # A checkpoint that is not whole is not taken.
    (output / "checkpoints/checkpoint-10/optimizer.pt").write_bytes(b"half")
    result = invoke(*command(mix, output))
    assert result.code == 0, result.err
    assert "continues from" in result.err
    assert "checkpoint-5" in result.err
    for name in ("model.safetensors", "losses.json", "losses.csv", "config.json", "tokenizer.json", "annotation.json"):
        assert (output / name).read_bytes() == (trained / name).read_bytes(), name


def test_a_loss_that_is_not_a_number_names_step_and_documents(
    mix: Path, torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    from tagcorpus.pipelines.training import trainer

    make = trainer.llama

    def poisoned(plan: Any) -> Any:
        model = make(plan)
        with torch.no_grad():
            model.model.embed_tokens.weight[token] = math.nan
        return model

    own = read_mix(str(mix))
    windows = Windows(own, 80, WORDS)
    token = int(windows[2]["ids"][3])
    # Embeddings are tied, so the logit of this token is not a number anywhere: all four sequences of the step.
    monkeypatch.setattr(trainer, "llama", poisoned)
    result = invoke(*command(mix, tmp_path / "nan"))
    assert result.code == 1
    assert "the loss of step 1 is not a number, in 4 of 4 sequences" in result.err
    numbers = sorted({p.number for i in range(4) for p in windows.documents(i) if p.group == "code"})
    assert f"group 'code' (token_files/code/train-00000): {', '.join(map(str, numbers))}" in result.err
    assert not (tmp_path / "nan/model.safetensors").exists()


def test_too_little_memory_names_the_way_out(
    mix: Path, torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    from tagcorpus.pipelines.training import trainer

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(trainer, "sequence_losses", full)
    result = invoke(*command(mix, tmp_path / "full"))
    assert (result.code, "a file with a device_batch below 4" in result.err) == (1, True), result.err


# Launchers


def held_out_losses(output: Path) -> dict[str, float]:
    return {g: v["loss"] for g, v in json.loads((output / "losses.json").read_text())["held_out"].items()}


@pytest.mark.slow
def test_torchrun_trains_the_same_model(trained: Path, mix: Path, tmp_path: Path) -> None:
    output = tmp_path / "acme" / "toy"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launcher, "-m", "tagcorpus", *command(mix, output)],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert held_out_losses(output) == pytest.approx(held_out_losses(trained), rel=1e-3)
    for one, other in zip(
        *(json.loads((o / "losses.json").read_text())["training"] for o in (output, trained)), strict=True
    ):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert one["groups"] == pytest.approx(other["groups"], rel=1e-3)


@pytest.mark.slow
def test_ray_trains_the_same_model(trained: Path, mix: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray.train.torch")
    output = tmp_path / "acme" / "toy"
    result = invoke(*command(mix, output, "--executor", "ray", "--workers", "2"))
    assert result.code == 0, result.err
    assert held_out_losses(output) == pytest.approx(held_out_losses(trained), rel=1e-3)
