"""The embedded domain classifier: its stated figures, every label, and odd input."""

from __future__ import annotations

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagcorpus.errors import TaggerError
from tagcorpus.taggers import _domain_fasttext as domain

EVALUATE = Path(__file__).resolve().parents[1] / "benchmarks" / "domain_model" / "evaluate.py"

TEXTS = {
    "books": (
        "The old man set down his lantern and looked at her for a long while. 'You came back,' he said at last. She did "
        "not answer him. Outside the wind had risen, and the shutters knocked against the wall as though someone stood "
        "there and wished to be let in. He thought of his brother, and of the winter when they had crossed the river "
        "together; he had never spoken of it to anyone. 'I came for the letter,' she said, and her voice was so low "
        "that he scarcely heard her. His hands trembled as he opened the drawer."
    ),
    "reference": (
        "Basalt is a fine-grained volcanic rock, dark in colour, that is formed by the rapid cooling of lava rich in "
        "magnesium and iron. It is the most common rock of the ocean floor. Basalt is composed chiefly of the minerals "
        "plagioclase and pyroxene. The term is derived from the Latin basaltes. Types of basalt are tholeiite, which is "
        "relatively rich in silica, and alkali basalt, which is relatively poor in silica."
    ),
    "academic": (
        "We study the bias of maximum likelihood estimators in mixed models with few clusters. Using simulation, we "
        "compare restricted likelihood with three corrections proposed in the literature (Kessler and Brandt, 2009). "
        "Our results show that the parametric bootstrap yields coverage closest to the nominal level, whereas the "
        "asymptotic test is too liberal for small samples. We discuss the implications for the analysis of "
        "multi-centre trials, and illustrate the method on data from a longitudinal study of lung function."
    ),
    "code": (
        "import os\nimport sys\n\n\ndef walk(root, suffix='.txt'):\n    found = []\n    for folder, _, names in "
        "os.walk(root):\n        for name in names:\n            if name.endswith(suffix):\n                "
        "found.append(os.path.join(folder, name))\n    return sorted(found)\n\n\nif __name__ == '__main__':\n    for "
        "path in walk(sys.argv[1]):\n        print(path)\n"
    ),
    "web": (
        "Looking for a new bike this summer? Our shop in the heart of town has more than 200 models on display, and our "
        "friendly staff will help you find the right one for your budget. Order online today and get free shipping on "
        "all orders over $50! Sign up for our newsletter to hear about special offers and events. Visit us Monday to "
        "Saturday or contact us for a free test ride. We love what we do, and we know you will too!"
    ),
    "specific_datasets": (
        "Question 1: Which planet is the largest?\nA) Mars\nB) Jupiter\nC) Venus\nD) Saturn\nAnswer: B\n\n"
        "Question 2: What is the capital of Portugal?\nA) Madrid\nB) Porto\nC) Lisbon\nD) Rome\nAnswer: C\n\n"
        "Question 3: How many legs has a spider?\nA) six\nB) eight\nC) ten\nD) four\nAnswer: B\n"
    ),
    "incoherent": "lantern of the of green seventeen the and spoon spoon yesterdays it of it of it quickly "
    "beneath table wxq plm the the purple seven seven gravel if gravel of under wrm tskk " * 4,
}

CHESS = """[Event "Club match"]
[Site "?"]
[Date "2011.03.04"]
[Round "2"]
[White "A. Lind"]
[Black "R. Moreno"]
[Result "1-0"]

1. e4 e5 2. Nf3 Nc6 3. Bc4 Bc5 4. c3 Nf6 5. d4 exd4 6. cxd4 Bb4+ 7. Nc3 Nxe4 8. O-O Bxc3 9. d5 Bf6 10. Re1 Ne7
11. Rxe4 d6 12. Bg5 Bxg5 13. Nxg5 h6 14. Qe2 hxg5 15. Re1 Be6 16. dxe6 f6 17. Re3 c6 18. Rh3 Rxh3 1-0
"""


@pytest.mark.parametrize("label", domain.LABELS)
def test_every_label_is_reached(label: str) -> None:
    ((found, probability),) = domain.classify([TEXTS[label]])
    assert found == label
    assert probability >= domain.THRESHOLD


def test_chess_is_a_specific_dataset() -> None:
    assert domain.classify([CHESS])[0][0] == "specific_datasets"
