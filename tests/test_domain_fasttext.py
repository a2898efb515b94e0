"""The embedded domain classifier: its stated figures, every label, and odd input."""

from __future__ import annotations

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagcorpus.errors import TaggerError
from tagcorpus.taggers._models import embedded_domain as domain

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


def _evaluate() -> Any:
    spec = importlib.util.spec_from_file_location("domain_model_evaluate", EVALUATE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_stated_figures_are_measured_on_documents_the_model_has_not_seen(labelled: Path) -> None:
    evaluate = _evaluate()
    path = labelled / "allenai_c4_sample_predicted_domains.csv"
    found, truth, ours = evaluate.held_out_views(path)
    assert len(truth) == len(ours) == found["all"]["n"] == sum(held_out for _, _, held_out in evaluate.rows(path))
    assert evaluate.rounded(found["labelled"]) == domain.FIGURES
    assert found["labelled"]["kappa_low"] > 0.3
    assert found["labelled"]["accuracy"] > found["labelled"]["majority_accuracy"]


def test_kappa_and_its_interval_on_a_table_worked_by_hand() -> None:
    evaluate = _evaluate()
    # Agreement 35 of 50; by chance .5 * .6 + .5 * .4 = .5; kappa = (.7 - .5) / (1 - .5).
    truth = ["web"] * 25 + ["books"] * 25
    ours = ["web"] * 20 + ["books"] * 5 + ["web"] * 10 + ["books"] * 15
    assert evaluate.kappa(truth, ours) == pytest.approx(0.4)
    found = evaluate.agreement(truth, ours, domain.LABELS)
    assert found["kappa"] == pytest.approx(0.4)
    assert found["accuracy"] == pytest.approx(0.7)
    assert found["macro_f1"] == pytest.approx((40 / 55 + 30 / 45) / 2)
    # The large-sample standard error of this table is 0.127: the interval must be about 4 of them wide.
    assert 0.4 < found["kappa_high"] - found["kappa_low"] < 0.6
    assert evaluate.kappa(["web"] * 3, ["web"] * 3) == 0.0


def test_abstentions_count_as_disagreement_and_leave_the_answered_view() -> None:
    evaluate = _evaluate()
    truth = ["web", "web", "books", "books", "unknown", "unknown"]
    ours = ["web", "unknown", "books", "books", "unknown", "web"]
    found = evaluate.views(truth, ours, domain.LABELS)
    assert found["labelled"]["n"] == 4
    assert found["labelled"]["accuracy"] == found["labelled"]["coverage"] == 0.75
    assert found["all"]["n"] == 6
    assert found["all"]["accuracy"] == pytest.approx(4 / 6)
    assert found["answered"]["n"] == 3
    assert found["answered"]["accuracy"] == 1.0
    assert found["answered"]["coverage"] == 0.75


def test_same_result_alone_in_any_batch_and_from_any_thread() -> None:
    texts = [*TEXTS.values(), CHESS] * 5
    alone = [domain.classify([text])[0] for text in texts]
    assert domain.classify(texts) == alone
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(domain.classify, [texts] * 8)) == [alone] * 8


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\r\n",
        " \t ",
        "\x00",
        "a\x00b\x00",
        "😀🎉" * 50,
        "\ud83d",
        "__label__web </s>",
        "x" * 1_000_000,
        "long text. " * 100_000,
    ],
    ids=["empty", "newlines", "blanks", "nul", "nuls", "emoji", "surrogate", "markers", "one word", "1 MB"],
)
def test_odd_input_gets_a_label(text: str) -> None:
    ((label, probability),) = domain.classify([text])
    assert label in domain.LABELS
    assert 0 <= probability <= 1
    assert not {"\n", "\0"} & set(domain.features(text))


def test_no_text_no_answer() -> None:
    assert domain.classify([]) == []


@given(st.lists(st.text(max_size=200), min_size=1, max_size=4))
def test_any_text_gets_a_label_and_a_probability(texts: list[str]) -> None:
    answers = domain.classify(texts)
    assert len(answers) == len(texts)
    for label, probability in answers:
        assert label in domain.LABELS
        assert 0 <= probability <= 1


def test_features_damp_repetition_and_fold_case_and_digits() -> None:
    words = [t for t in domain.features("Word word WORD 1999\nword").split() if not t.startswith("§")]
    # Four times "word": 1 + ln 4 = 2.39.
    assert words == ["word", "word", "0000", "¶"]


def test_only_the_head_is_read() -> None:
    head = TEXTS["books"] * 10
    assert len(head) > domain.MAX_CHARS
    assert domain.features(head[: domain.MAX_CHARS]) == domain.features(head)


def test_the_digest_names_the_shipped_file() -> None:
    import xxhash

    path = Path(domain.__file__).parents[1] / "_data" / "domain.ftz"
    assert domain.digest() == xxhash.xxh3_128_hexdigest(path.read_bytes())
    assert path.stat().st_size < 1_400_000


class _WrongBuild:
    """Answers as the builds do whose probabilities depend on k."""

    def __init__(self, shares: dict[int, float], label: str = "academic") -> None:
        self.shares, self.label = shares, label

    def predict(self, text: Any, k: int) -> Any:
        others = [name for name in domain.LABELS if name != self.label]
        labels = [f"__label__{name}" for name in (self.label, *others)][:k]
        first = self.shares[k]
        shares = [first, *[(1 - first) / 6] * 6][:k]
        return ([labels], [shares]) if isinstance(text, list) else (labels, shares)


def test_a_build_with_wrong_probabilities_is_refused() -> None:
    label, right = domain._PROBE_RESULT
    domain._verify(_WrongBuild({1: right, 7: right}))
    for wrong in (
        _WrongBuild({1: right, 7: right / 2}),
        _WrongBuild({1: 1.0, 7: 1.0}),
        _WrongBuild({1: right, 7: right}, label="web"),
    ):
        with pytest.raises(TaggerError, match=r"pip install fasttext-community==0\.11\.9"):
            domain._verify(wrong)
    assert label == "academic"


def test_loading_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    domain._load.cache_clear()
    domain.classify(["text"])
    assert capfd.readouterr() == ("", "")
