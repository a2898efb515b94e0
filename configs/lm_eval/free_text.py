"""The documents of the task generate_only: n times the begin of a text, as this model's tokenizer writes it."""

from __future__ import annotations

from typing import Any


def dataset(n: int = 1000, seed: int = 0, first: str | None = None, **of_model: Any) -> dict[str, Any]:
    """n, seed and first come from --metadata, what names the model from --model_args.

    The begin is the begin-of-text token as text (else the end-of-text token) where the tokenizer adds none, and nothing where
    it does. The seed is PyTorch's, set after the harness has set its own.
    """
    from datasets import Dataset

    if first is None:
        first = _begin(str(of_model.get("tokenizer") or of_model.get("pretrained") or ""))
    try:
        import torch
    except ImportError:  # an endpoint computes the generations
        pass
    else:
        torch.manual_seed(seed)
    return {"test": Dataset.from_dict({"first": [first] * n, "number": list(range(n))})}


def _begin(name: str) -> str:
    from transformers import AutoTokenizer

    if not name:
        raise ValueError(
            "generate_only: no tokenizer is named (pretrained= or tokenizer= of --model_args); name the begin of a text with "
            '--metadata \'{"first": "<s>"}\''
        )
    tokenizer = AutoTokenizer.from_pretrained(name)
    if tokenizer.bos_token_id is not None and tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]:
        return ""
    begin = tokenizer.bos_token or tokenizer.eos_token
    if not begin:
        raise ValueError(f"generate_only: the tokenizer {name} has no begin-of-text and no end-of-text token")
    return str(begin)
