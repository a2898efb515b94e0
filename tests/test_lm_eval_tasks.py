"""`tagcorpus tasks`: what it writes, and what it says of outputs without held-out texts; the pages' commands."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from slurm_commands import invoke

ROOT = Path(__file__).resolve().parents[1]


class Loader(yaml.SafeLoader):
    """Takes `!function` as text."""


Loader.add_constructor("!function", lambda _, node: node.value)


def test_commands_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    page = (ROOT / "docs/tokenize.md").read_text()
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        done = invoke(*shlex.split(block)[2:])
        assert done.code == 0, done.err
    manifest = json.loads((tmp_path / "tokens/token_files.json").read_text())
    groups = {g for g, sides in manifest["groups"].items() if "held_out" in sides}
    assert groups
    written = {p.name: yaml.load(p.read_text(), Loader) for p in (tmp_path / "tasks").glob("*.yaml")}
    assert set(written) == {"generate_only.yaml", *(f"held_out_{g}.yaml" for g in groups)}
    for group in groups:
        task = written[f"held_out_{group}.yaml"]
        lines = Path(task["dataset_kwargs"]["data_files"]["test"]).read_text().splitlines()
        assert len(lines) == manifest["groups"][group]["held_out"]["documents"]
        assert task["task"] == f"held_out_{group}"
        assert task["output_type"] == "loglikelihood_rolling"
    free = written["generate_only.yaml"]
    settings = {"until": [], "do_sample": True, "temperature": 1.0, "top_k": 0}
    assert settings.items() <= free["generation_kwargs"].items()
    assert free["metric_list"] == []
    assert (tmp_path / "tasks" / f"{free['custom_dataset'].partition('.')[0]}.py").is_file()


def test_without_token_files(tmp_path: Path) -> None:
    assert invoke("tasks", str(tmp_path / "tasks")).code == 0
    assert {p.name for p in (tmp_path / "tasks").iterdir()} == {"generate_only.yaml", "free_text.py"}
    done = invoke("tasks", str(tmp_path / "tasks"), "--token-files", str(tmp_path))
    assert done.code == 2
    assert "has no complete token_files.json" in done.err


@pytest.mark.slow
def test_commands_of_generate_with_a_toy_model(tmp_path: Path) -> None:
    """docs/generate.md from a model folder to the features, with six generations of a toy model."""
    pytest.importorskip("lm_eval")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    rows = [{"text": f"document {i} of the web speaks about rain and trains", "group": "web"} for i in range(30)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["-i", str(tmp_path / "a.jsonl"), "-o", str(tmp_path / "tokens"), "--group-by", "group"]
    assert invoke("run", "tokenize", *words, "--held-out", "0.3", "--held-out-texts").code == 0
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    model.train_from_iterator([row["text"] for row in rows], trainer)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "max_position_embeddings": 256}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 0}
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=300, **sizes, **heads))
    folder = tmp_path / "models/acme/toy"
    llama.save_pretrained(folder)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=model, eos_token="<|endoftext|>")
    fast.save_pretrained(folder)

    page = (ROOT / "docs/generate.md").read_text()
    blocks = [b for b in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "local-completions" not in b]
    script = "set -e\n" + "".join(blocks).replace('"n": 1000', '"n": 6')
    script = script.replace("--log_samples", "--gen_kwargs max_gen_toks=200 --device cpu --log_samples")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "PATH": path}
    done = subprocess.run(
        ["bash", "-c", script], check=False, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **offline}
    )
    assert done.returncode == 0, done.stderr
    [samples] = (tmp_path / "results/acme__toy").glob("samples_generate_only_*.jsonl")
    texts = [json.loads(line)["resps"][0][0] for line in samples.read_text().splitlines()]
    assert len(set(texts)) == 6
    [results] = (tmp_path / "results/acme__toy").glob("results_*.json")
    loss = json.loads(results.read_text())["results"]["held_out_web"]["bits_per_byte,none"]
    n_tokens = sum(len(fast(row["text"])["input_ids"]) for row in rows)
    n_bytes = sum(len(row["text"].encode()) for row in rows)
    assert loss == pytest.approx(math.log2(300) * n_tokens / n_bytes, rel=0.1)  # an untrained model knows nothing
    assert (tmp_path / "models.csv").read_text().splitlines()[1].startswith("acme/toy,")
