"""`tagcorpus distil`: read labels, train a student, judge it by documents that were held out, and save it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import tagcorpus
from tagcorpus.errors import ConfigError, InputError, unknown_name
from tagcorpus.pipelines.distilling import calibration, card, training
from tagcorpus.pipelines.distilling.examples import Examples, read_examples, split, without
from tagcorpus.pipelines.distilling.gate import Gate, judged
from tagcorpus.pipelines.labels.agreement import LENGTH, Pair
from tagcorpus.pipelines.labels.label_table import Labelled, in_two_spellings
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.runs.made_from import MadeFrom, made_from
from tagcorpus.pipelines.storage.folder import Folder
from tagcorpus.pipelines.storage.outputs import check_folder
from tagcorpus.taggers._interface.digest import of_file
from tagcorpus.taggers._models.sentence_encoder import Encoder
from tagcorpus.taggers._models.student import DESCRIPTION, Student, student_at
from tagcorpus.taggers.fasttext import load_student

FEWEST_TRAINING = 20
REFUSED = 3
SAVED_FILES = (
    DESCRIPTION,
    "figures.json",
    "reliability.csv",
    "reliability.png",
    "README.md",
    "model.bin",
    "model.ftz",
    "head.npy",
)


def distil(
    labels: Sequence[str],
    output: str,
    column: str = "",
    student: str = "fasttext",
    encoder: str = "",
    held_out: str | None = None,
    held_out_share: float = 0.2,
    within: Sequence[str] = (),
    min_kappa: float = 0.4,
    min_group_kappa: float = 0.2,
    min_group: int = 50,
    min_label: int = 10,
    trials: int = 8,
    save_anyway: bool = False,
    seed: int = 0,
    as_json: bool = False,
) -> tuple[str, int]:
    """Train a student, and return the text to print and the exit code: 0 = saved, 3 = refused by the gate and not saved.

    labels    output folders or tables, of one task
    held_out  labelled texts that judge the student; none of them is learnt, and `held_out_share` is not used
    Raises ConfigError for what does not fit, InputError for tables that cannot be read or are too few.
    """
    display = Display()
    folder = check_folder("distil", output, SAVED_FILES)
    if not folder.is_local:
        raise ConfigError(f"--output {output}: a student is written to a local folder; copy the folder afterwards")
    options = {
        "--column": column,
        "--student": student,
        "--encoder": encoder,
        "--held-out": held_out,
        "--held-out-share": held_out_share,
        "--min-label": min_label,
        "--trials": trials,
        "--seed": seed,
    }
    origin = made_from(folder, DESCRIPTION, {"LABELS": labels}, options)
    with display.phase("reading labels"):
        examples = read_examples(labels, column, seed)
    with display.phase("choosing held-out documents"):
        train, judges = _sides(examples, held_out, column, held_out_share, seed)
    not_learnt = training.rare(train, min_label)
    train = [d for d in train if d.label not in not_learnt]
    names = sorted({d.label for d in train})
    if len(names) < 2 or len(train) < FEWEST_TRAINING:
        raise InputError(
            f"{', '.join(labels)}: a student needs {FEWEST_TRAINING} documents and 2 labels to learn from, and {len(train):,} with "
            f"{len(names)} are left. Label more documents, or lower --min-label ({min_label})"
        )
    for group in in_two_spellings(d.label for d in (*train, *judges)):
        display.say(
            f"labels {', '.join(map(repr, group))} count as {len(group)} labels: are they one, in several spellings?"
        )
    _check_columns(within, judges)
    codes = [f"l{i}" for i in range(len(names))]
    kind = training.kind_of(student, encoder, names, codes, seed)
    display.say(f"{len(train):,} documents to learn from, {len(judges):,} held out, {len(names)} labels")
    with display.phase("reading texts"):
        kind.prepare([*train, *judges])
    choice = training.search(kind, train, names, trials, seed, display)
    gate = Gate(min_kappa, min_group_kappa, min_group)
    with TemporaryDirectory() as work:
        with display.phase("training the student"):
            path, same = training.written(kind, choice, train, judges, Path(work))
        description = {
            "name": f"distilled-{of_file(path)[-8:]}",
            "file": path.name,
            "labels": dict(zip(codes, names, strict=True)),
            "preparation": kind.preparation,
            "max_chars": kind.max_chars,
            "digest": of_file(path),
            "encoder": _place_of(kind.encoder) if path.suffix == ".npy" else {},
            "figures": {},
        }
        (Path(work) / DESCRIPTION).write_text(json.dumps(description))
        # The file itself is judged, as the taggers load it.
        with display.phase("judging by the held-out documents"):
            pairs, probabilities = _answers(student_at(work, "distil"), judges)
            verdict = judged(pairs, within, gate, seed)
        curve = training.curve(kind, choice.settings, train, judges, names, seed, display)
        document: dict[str, Any] = {
            "tagcorpus": tagcorpus.__version__,
            "name": description["name"],
            "student": student,
            "encoder": {"name": kind.encoder.name, "digest": kind.encoder.digest} if kind.encoder else None,
            "seed": seed,
            "data": {
                "labels": [Path(p).name for p in labels],
                "columns": examples.columns,
                "held_out": Path(held_out).name if held_out else f"{held_out_share:.0%} of each label",
                "digest": examples.digest,
                "documents": {"training": len(train), "held out": len(judges)},
                "left_out": examples.left_out,
                "not_learnt": not_learnt,
                "labels_of": {
                    name: [sum(d.label == name for d in train), sum(d.label == name for d in judges)] for name in names
                },
            },
            "settings": kind.describe(choice.settings),
            "temperature": choice.temperature,
            "tried": choice.tried,
            "model": {"file": path.name, "digest": description["digest"], "bytes": path.stat().st_size, "same": same},
            "gate": vars(gate),
            "baseline": _baseline(train, judges),
            **verdict,
            "calibration": calibration.reliability(
                probabilities, np.array([p.labels[0] == p.labels[1] for p in pairs])
            ),
            "curve": curve,
        }
        document["use"] = card.use(document)
        is_saved = not document["failed"] or save_anyway
        document["saved"] = is_saved
        if is_saved:
            if origin.note:
                display.say(origin.note)
            _save(folder, path, description, document, origin)
    text = json.dumps(document, indent=1, ensure_ascii=False) if as_json else card.as_text(document, output)
    return text, 0 if is_saved else REFUSED


def _place_of(encoder: Encoder | None) -> dict[str, str]:
    return {"folder": str(Path(encoder.folder).resolve()), "digest": encoder.digest} if encoder else {}


def _sides(
    examples: Examples, held_out: str | None, column: str, share: float, seed: int
) -> tuple[list[Labelled], list[Labelled]]:
    """(training, held out); where the second has a table of its own, the first has none of its texts."""
    if held_out is None:
        train, judges = split(examples.documents, share, seed)
    else:
        judges = read_examples([held_out], column, seed).documents
        train = without(examples.documents, judges, seed)
        if n := len(examples.documents) - len(train):
            examples.left_out["held out"] = n
    if not judges:
        raise InputError(f"{len(examples.documents):,} documents are too few to hold out {share:.0%}: label more")
    return train, judges


def _check_columns(within: Sequence[str], documents: Sequence[Labelled]) -> None:
    known = set.intersection(*(set(d.columns) for d in documents))
    for name in within:
        if name not in known and name != LENGTH:
            raise ConfigError(unknown_name("column", name, sorted(known), f"--within {name}"))


def _answers(student: Student, documents: Sequence[Labelled]) -> tuple[list[Pair], Any]:
    """The pairs of LLM's and student's label, and the probabilities of the latter."""
    answers = student.ranked(load_student(student), [d.columns["text"] for d in documents])
    pairs = [
        Pair(d, Labelled(d.key, own[0][0], d.id, {"text": d.columns["text"]}))
        for d, own in zip(documents, answers, strict=True)
    ]
    # As `agreement` counts characters: of the text, not of a column that another tagger wrote.
    pairs = [replace(p, gold=replace(p.gold, columns={**p.gold.columns, "char_len": None})) for p in pairs]
    return pairs, np.array([own[0][1] for own in answers])


def _baseline(train: Sequence[Labelled], documents: Sequence[Labelled]) -> dict[str, Any]:
    names = [d.label for d in train]
    commonest = max(sorted(set(names)), key=names.count)
    return {"label": commonest, "accuracy": float(np.mean([d.label == commonest for d in documents]))}


def _save(folder: Folder, path: Path, description: dict[str, Any], document: dict[str, Any], origin: MadeFrom) -> None:
    """student.json is last: without it, no tagger takes the folder for a student."""
    if folder.exists(DESCRIPTION):
        for name in folder.files():
            if name in SAVED_FILES:
                folder.remove(name)
    origin.publish()
    folder.publish("figures.json", (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())
    folder.publish(path.name, path.read_bytes())
    folder.publish("reliability.csv", card.reliability_csv(document["calibration"]))
    image = calibration.picture(document["calibration"])
    if image is not None:
        folder.publish("reliability.png", image)
    folder.publish("README.md", card.model_card(document, image is not None).encode())
    overall = document["overall"]
    description["figures"] = {
        "n": overall["n"],
        "accuracy": overall["accuracy"]["value"],
        "macro_f1": overall["macro_f1"]["value"],
        "kappa": overall["kappa"]["value"],
        "kappa_low": overall["kappa"]["low"],
        "kappa_high": overall["kappa"]["high"],
        "coverage": 1.0,  # a student gives every document a label
        "majority_accuracy": document["baseline"]["accuracy"],
    }
    folder.publish(DESCRIPTION, (json.dumps(description, indent=1, ensure_ascii=False) + "\n").encode())
