"""Stanza models small enough to train in a test: they load and run as real ones do, and know four kinds of sentence.

    python tests/stanza_models.py FOLDER

A folder as Stanza's download leaves it: resources.json, then <language>/<processor>/<package>.pt. Linguistically
worthless.
"""

from __future__ import annotations

import json
import logging
import random
import sys
from pathlib import Path
from typing import Any

DETERMINERS = ("the", "a", "every", "this")
ADJECTIVES = ("small", "old", "green", "quiet", "heavy")
NOUNS = ("dog", "house", "river", "letter", "window", "garden", "teacher", "road")
VERBS = ("sees", "finds", "paints", "leaves", "holds")
ADVERBS = ("slowly", "often", "today")

Word = tuple[str, str, str, int, str]  # text, UPOS, XPOS, head, relation


def sentence(rng: random.Random) -> tuple[list[Word], str]:
    """The words of a sentence, and its tree."""
    words: list[list[Any]] = []

    def phrase(relation: str) -> tuple[list[Any], str]:
        start = len(words)
        texts = [(rng.choice(DETERMINERS), "DET", "DT", "det")]
        texts += [(rng.choice(ADJECTIVES), "ADJ", "JJ", "amod")] * (rng.random() < 0.4)
        head = start + len(texts) + 1
        words.extend([t, upos, xpos, head, rel] for t, upos, xpos, rel in texts)
        noun = [rng.choice(NOUNS), "NOUN", "NN", 0, relation]
        words.append(noun)
        return noun, "(NP " + " ".join(f"({w[2]} {w[0]})" for w in words[start:]) + ")"

    subject, subject_tree = phrase("nsubj")
    verb = [rng.choice(VERBS), "VERB", "VBZ", 0, "root"]
    words.append(verb)
    at = len(words)
    subject[3] = at
    found, object_tree = phrase("obj")
    found[3] = at
    adverb = ""
    if rng.random() < 0.4:
        words.append([rng.choice(ADVERBS), "ADV", "RB", at, "advmod"])
        adverb = f" (ADVP (RB {words[-1][0]}))"
    words.append([".", "PUNCT", ".", at, "punct"])
    tree = f"(ROOT (S {subject_tree} (VP (VBZ {verb[0]}) {object_tree}{adverb}) (. .)))"
    return [(t, u, x, h, r) for t, u, x, h, r in words], tree


def text_of(words: list[Word]) -> str:
    return " ".join(w[0] for w in words[:-1]) + "."


def conllu(words: list[Word]) -> str:
    last = len(words) - 1
    return "\n".join(
        f"{i}\t{t}\t{t}\t{u}\t{x}\t_\t{h}\t{r}\t_\t{'SpaceAfter=No' if i == last else '_'}"
        for i, (t, u, x, h, r) in enumerate(words, 1)
    )


def _write_treebank(folder: Path, name: str, n: int, rng: random.Random) -> None:
    made = [sentence(rng) for _ in range(n)]
    (folder / f"{name}.conllu").write_text("\n\n".join(conllu(w) for w, _ in made) + "\n\n")
    (folder / f"{name}.mrg").write_text("\n".join(t for _, t in made) + "\n")
    texts, labels = [], []
    for first in range(0, n, 4):
        text, label = "", ""
        for words, _ in made[first : first + 4]:
            joined = text_of(words)
            marks = ["1" if following in (" ", ".") else "0" for following in joined[1:]] + ["2"]
            marks = ["0" if c == " " else m for c, m in zip(joined, marks, strict=True)]
            text, label = f"{text}{' ' if text else ''}{joined}", f"{label}{'0' if label else ''}{''.join(marks)}"
        texts.append(text)
        labels.append(label)
    (folder / f"{name}.txt").write_text("\n\n".join(texts) + "\n\n")
    (folder / f"{name}.toklabels").write_text("\n\n".join(labels) + "\n\n")


def train(folder: Path, language: str = "en") -> Path:
    """Train all models of a language into `folder` (some seconds), and return the folder."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads wait for each other far longer than such models take
    try:
        _train(folder, language)
    finally:
        torch.set_num_threads(threads)
    return folder


def _train(folder: Path, language: str) -> None:
    from stanza.models import parser, tagger, tokenizer

    logging.getLogger("stanza").setLevel(logging.ERROR)
    scratch = folder / "treebank"
    scratch.mkdir(parents=True, exist_ok=True)
    rng = random.Random(7)
    (scratch / "mwt.json").write_text("[]")
    _write_treebank(scratch, "train", 200, rng)
    _write_treebank(scratch, "dev", 8, rng)

    def home(processor: str) -> list[str]:
        (folder / language / processor).mkdir(parents=True, exist_ok=True)
        return ["--save_dir", str(folder / language / processor), "--save_name", "tiny.pt", "--cpu"]

    common = ["--lang", language, "--shorthand", f"{language}_tiny", "--no_pretrain"]
    sizes = ["--hidden_dim", "16", "--char_hidden_dim", "8", "--word_emb_dim", "16", "--char_emb_dim", "8"]
    sizes += ["--transformed_dim", "8", "--tag_emb_dim", "8", "--num_layers", "1", "--deep_biaff_hidden_dim", "16"]
    trees = ["--train_file", str(scratch / "train.conllu"), "--eval_file", str(scratch / "dev.conllu")]
    trees += ["--word_cutoff", "1", "--dropout", "0", "--word_dropout", "0"]
    tokenizer.main(
        [
            *("--txt_file", str(scratch / "train.txt"), "--label_file", str(scratch / "train.toklabels")),
            *("--dev_txt_file", str(scratch / "dev.txt"), "--dev_label_file", str(scratch / "dev.toklabels")),
            *("--dev_conll_gold", str(scratch / "dev.conllu"), "--lang", language, "--shorthand", f"{language}_tiny"),
            *("--mwt_json_file", str(scratch / "mwt.json")),
            *("--hidden_dim", "16", "--emb_dim", "16", "--steps", "80", "--eval_steps", "1000", "--no_use_mwt"),
            *("--lr0", "0.02", "--unit_dropout", "0", "--dropout", "0", *home("tokenize")),
        ]
    )
    tagger.main([*common, *sizes, *trees, *home("pos"), "--max_steps", "20", "--eval_interval", "20", "--lr", "0.02"])
    parser.main(
        [
            *(*common, *sizes, *trees, *home("depparse"), "--max_steps", "20", "--eval_interval", "20"),
            *("--optim", "adam", "--lr", "0.02", "--no_second_optim", "--no_checkpoint"),
            *("--deep_biaff_output_dim", "16"),
        ]
    )
    _train_constituency(
        [
            *("--train_file", str(scratch / "train.mrg"), "--eval_file", str(scratch / "dev.mrg")),
            *("--lang", language, "--shorthand", f"{language}_tiny", *home("constituency")),
            *(
                "--hidden_size",
                "16",
                "--transition_hidden_size",
                "8",
                "--no_retag",
                "--retag_method",
                "xpos",
                "--no_multistage",
            ),
            *("--wordvec_pretrain_file", str(_word_vectors(folder / language / "pretrain", rng))),
        ]
    )
    processors: dict[str, Any] = {p: {"tiny": {}} for p in ("tokenize", "pos", "depparse", "constituency")}
    processors["constituency"]["tiny"] = {"dependencies": [{"model": "pretrain", "package": "tiny"}]}
    processors["lemma"] = {"identity": {}}
    default = {**dict.fromkeys(processors, "tiny"), "lemma": "identity"}
    known = {"lang_name": language, **processors, "pretrain": {"tiny": {}}, "packages": {"default": default}}
    (folder / "resources.json").write_text(json.dumps({language: known}, indent=1))


def _train_constituency(arguments: list[str]) -> None:
    """One epoch. Stanza's own loop would measure every epoch with a Java program."""
    import torch
    from stanza.models import constituency_parser
    from stanza.models.common.foundation_cache import FoundationCache
    from stanza.models.constituency import parser_training, tree_reader
    from stanza.models.constituency.in_order_oracle import InOrderOracle

    args = constituency_parser.parse_args(arguments)
    args["save_name"] = str(Path(args["save_dir"]) / args["save_name"])
    train_trees, dev_trees = (tree_reader.read_treebank(args[name]) for name in ("train_file", "eval_file"))
    trainer, sequences, _, _ = parser_training.build_trainer(args, train_trees, dev_trees, [], FoundationCache(), None)
    tensors = {t: torch.tensor(y).unsqueeze(0) for y, t in enumerate(trainer.transitions)}
    data = parser_training.compose_train_data(train_trees, sequences)
    loss = torch.nn.CrossEntropyLoss(reduction="sum")
    oracle = InOrderOracle(trainer.root_labels, None, None, None)
    trainer.train()
    parser_training.train_model_one_epoch(1, trainer, tensors, lambda x: x, loss, data, oracle, args)
    trainer.save(args["save_name"], save_optimizer=False)


def _word_vectors(folder: Path, rng: random.Random) -> Path:
    from stanza.models.common.pretrain import Pretrain

    folder.mkdir(parents=True, exist_ok=True)
    words = [*DETERMINERS, *ADJECTIVES, *NOUNS, *VERBS, *ADVERBS, "."]
    rows = [f"{word} {' '.join(f'{rng.gauss(0, 1):.3f}' for _ in range(8))}" for word in words]
    (folder / "vectors.txt").write_text(f"{len(words)} 8\n" + "\n".join(rows) + "\n")
    Pretrain(str(folder / "tiny.pt"), str(folder / "vectors.txt")).load()
    return folder / "tiny.pt"


if __name__ == "__main__":
    print(train(Path(sys.argv[1])))
