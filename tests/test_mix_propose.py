"""`mix propose`: slopes against differences, bounds, the file that is never replaced."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slurm_commands import invoke

pytest.importorskip("scipy")

from tagcorpus.errors import ConfigError
from tagcorpus.pipelines.mix_models.content import Content
from tagcorpus.pipelines.mix_models.fit import model_of
from tagcorpus.pipelines.mix_models.propose import _check_direction
from tagcorpus.pipelines.mix_models.regressors import EXPONENT, Columns, Process, fit_process
from tagcorpus.pipelines.mix_models.search import Objective, lowest, within
from tagcorpus.pipelines.mix_models.swarm import Swarm
from tagcorpus.pipelines.progress.display import Display
from tagcorpus.pipelines.report.contents.trained import read_trained
from tagcorpus.pipelines.storage.folder import Folder

SOURCES = ("web", "code", "books")
TAGS = Content(SOURCES, ("x",), np.array([[0.1], [0.9], [0.4]]))


def shares_of(mixes: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet([0.7] * 3, mixes)


def process(content: Content | None = None, mixes: int = 30) -> Process:
    """Of a loss that is lowest near 60 % web and 40 % books."""
    shares = shares_of(mixes)
    loss = 2 + (shares[:, 0] - 0.6) ** 2 + 2 * shares[:, 1] ** 2 + (shares[:, 2] - 0.4) ** 2
    own = content.of_mixes(SOURCES, shares) if content else np.empty((mixes, 0))
    return fit_process(Columns(shares, own), loss, np.ones(mixes))


def objective(content: Content | None = None, kl: float = 0.0) -> Objective:
    return Objective([process(content)], SOURCES, content, 1, kl, np.array([0.2, 0.5, 0.3]))


@pytest.mark.parametrize(("content", "kl"), [(None, 0.0), (TAGS, 0.3)])
def test_slope_is_that_of_the_value(content: Content | None, kl: float) -> None:
    goal = objective(content, kl)
    roots = np.array([0.5, 0.2, 0.3]) ** EXPONENT
    slope = goal.slope(roots)
    for j, step in enumerate(1e-5 * np.eye(3)):
        ends = [goal.value((roots + sign * step) ** (1 / EXPONENT)) for sign in (1, -1)]
        assert slope[j] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-6)


def test_the_lowest_mix_is_near_the_true_one_and_keeps_its_bounds() -> None:
    tried = shares_of(30)
    free = lowest(objective(), tried, np.ones(3), seed=0)
    np.testing.assert_allclose(free, [0.6, 0.0, 0.4], atol=0.06)
    assert free.sum() == pytest.approx(1)
    capped = lowest(objective(), tried, np.array([0.3, 1.0, 0.5]), seed=0)
    assert capped.sum() == pytest.approx(1)
    assert (capped <= np.array([0.3, 1.0, 0.5]) + 1e-9).all()
    natural = lowest(objective(kl=100.0), tried, np.ones(3), seed=0)
    np.testing.assert_allclose(natural, [0.2, 0.5, 0.3], atol=0.01)


@given(
    st.lists(st.tuples(st.floats(0.001, 1), st.floats(0, 1)), min_size=2, max_size=6).filter(
        lambda rows: sum(cap for _, cap in rows) >= 1
    )
)
def test_a_mix_within_caps_adds_up_to_1(rows: list[tuple[float, float]]) -> None:
    shares, caps = (np.array(c) for c in zip(*rows, strict=True))
    mix = within(shares / shares.sum(), caps)
    assert mix.sum() == pytest.approx(1)
    assert (mix >= 0).all()
    assert (mix <= caps + 1e-9).all()


@pytest.fixture
def fit_folder(tmp_path: Path) -> Path:
    """A fit without its figures: what mix propose reads."""
    shares, own = shares_of(30), process()
    outcome = own.outcome(own.surface.y)[:, None]
    nothing = np.array([np.nan])
    swarm = Swarm(
        tuple((f"m{i}",) for i in range(30)),
        SOURCES,
        ("loss",),
        shares,
        outcome,
        np.ones((30, 1), int),
        nothing,
        nothing,
    )
    document = {"format": 1, "inputs": {}, "sources": list(SOURCES), "outcomes": ["loss"]}
    (tmp_path / "fit.json").write_text(json.dumps({**document, "model": model_of(swarm, None, [own], [1.7])}))
    (tmp_path / "tokens.csv").write_text("source,tokens\nweb,1000\ncode,5000\nbooks,2000\n")
    return tmp_path


def test_the_proposal_is_written_once(fit_folder: Path) -> None:
    result = invoke("mix", "propose", str(fit_folder), "--lowest", "--at-most", "web=0.5")
    assert result.code == 0, result.err
    path = fit_folder / "proposal.json"
    proposal = json.loads(path.read_text())
    assert proposal["shares"]["web"] == pytest.approx(0.5, abs=1e-4)
    assert sum(proposal["shares"].values()) == pytest.approx(1, abs=1e-5)
    expected = proposal["expected"][0]
    assert expected["interval"][0] < expected["predicted"] < expected["interval"][1]
    assert expected["against"][0]["mix"] == "mean of the tried mixes"
    assert expected["against"][0]["probability_better"] > 0.9
    first = path.read_bytes()
    assert invoke("mix", "propose", str(fit_folder), "--lowest", "--at-most", "web=0.5").code == 0
    assert path.read_bytes() == first
    other = invoke("mix", "propose", str(fit_folder), "--lowest", "--at-most", "web=0.4")
    assert other.code == 2
    assert "a pre-registration is never replaced" in other.err
    assert path.read_bytes() == first


def test_an_edited_proposal_is_named_and_not_shown(fit_folder: Path) -> None:
    """An older one has no checksum; another version may write the same proposal."""
    path = fit_folder / "proposal.json"
    assert invoke("mix", "propose", str(fit_folder), "--lowest").code == 0
    written = path.read_bytes()
    older = json.loads(written)
    del older["checksum"]
    older["tagcorpus"] = "0.0.1"
    path.write_text(json.dumps(older, indent=1))
    assert invoke("mix", "propose", str(fit_folder), "--lowest").code == 0
    path.write_bytes(written.replace(b'"predicted": ', b'"predicted": 1', 1))
    again = invoke("mix", "propose", str(fit_folder), "--lowest")
    assert (again.code, "proposal.json is damaged or was edited" in " ".join(again.err.split())) == (2, True)
    fit = json.loads((fit_folder / "fit.json").read_text())
    (fit_folder / "fit.json").write_text(json.dumps({**fit, "on_folds": {}}))
    assert read_trained(Folder(str(fit_folder)), False).damaged == ("proposal.json",)
    path.write_bytes(written)  # whole, and of the fit as it was
    trained = read_trained(Folder(str(fit_folder)), False)
    assert (trained.damaged, trained.proposals) == (("proposal.json",), {})


def test_repetition_limits_the_shares(fit_folder: Path) -> None:
    tokens = str(fit_folder / "tokens.csv")
    result = invoke(
        "mix", "propose", str(fit_folder), "--tokens", tokens, "--budget", "8000", "--epochs", "2", "--json", "--lowest"
    )
    assert result.code == 0, result.err
    proposal = json.loads(result.out)
    assert proposal["shares"]["web"] <= 0.25 + 1e-6
    assert proposal["epochs"]["web"] <= 2.001
    assert proposal["expected"][0]["against"][0]["mix"] == "natural mix"


def test_infinite_epochs_are_no_limit(fit_folder: Path) -> None:
    tokens = str(fit_folder / "tokens.csv")
    result = invoke(
        "mix",
        "propose",
        str(fit_folder),
        "--tokens",
        tokens,
        "--budget",
        "1e9",
        "--epochs",
        "inf",
        "--json",
        "--lowest",
    )
    assert result.code == 0, result.err
    proposal = json.loads(result.out)
    assert proposal["bounds"]["epochs"] is None
    assert sum(proposal["shares"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--at-most", "code"), "--at-most takes SOURCE=X, such as "),
        (("--at-most", "wep=0.5"), "unknown source 'wep' (--at-most): did you mean 'web'"),
        (("--at-most", "web=2"), "--at-most web=2: '2' is not a share between 0 and 1"),
        (("--at-most", "web=0.1", "--at-most", "code=0.1", "--at-most", "books=0.1"), "add up to 0.3"),
        (("--budget", "1000"), "--budget needs the tokens of each source: --tokens CSV"),
        (("--tokens", "tokens.csv", "--budget", "40000"), "the largest budget that fits is 32,000"),
        (
            ("--tokens", "tokens.csv", "--budget", "nan"),
            "takes a whole number such as 300000, 20M, 1.5B or 1e6, got 'nan'",
        ),
        (("--tokens", "tokens.csv", "--budget", "-5"), "--budget must be at least 1, got -5"),
        (("--tokens", "tokens.csv", "--kl", "nan"), "--kl must be at least 0, got nan"),
        (("--tokens", "tokens.csv", "--kl", "-1"), "--kl must be at least 0, got -1"),
        (("--tokens", "tokens.csv", "--kl", "inf"), "--kl must be at least 0 and finite, got inf"),
        (("--epochs", "nan"), "--epochs must be above 0, or inf, got nan"),
        (("--epochs", "0"), "--epochs must be above 0, or inf, got 0"),
        (("--outcome", "los"), "unknown outcome 'los' (--outcome): did you mean 'loss'"),
        (("--output", "here.txt"), "the proposal is a file in .json"),
    ],
)
def test_what_cannot_be_proposed_is_said(fit_folder: Path, options: tuple[str, ...], message: str) -> None:
    given = [str(fit_folder / o) if o == "tokens.csv" else o for o in options]
    result = invoke("mix", "propose", str(fit_folder), "--lowest", *given)
    assert result.code == 2
    assert message in " ".join(result.err.split())


@pytest.mark.parametrize("options", [(), ("--lowest", "--highest")])
def test_the_better_direction_is_not_guessed(fit_folder: Path, options: tuple[str, ...]) -> None:
    result = invoke("mix", "propose", str(fit_folder), *options)
    assert result.code == 2
    assert "Give --lowest where they are losses, or --highest where they are scores" in " ".join(result.err.split())
    assert not (fit_folder / "proposal.json").exists()


def test_the_highest_and_the_lowest_are_opposite_proposals(fit_folder: Path) -> None:
    shares = {}
    for flag in ("--lowest", "--highest"):
        result = invoke("mix", "propose", str(fit_folder), flag, "-o", str(fit_folder / f"{flag}.json"), "--json")
        assert result.code == 0, result.err
        shares[flag] = json.loads(result.out)["shares"]
        assert ("is a loss by its name" in result.err) == (flag == "--highest")
    assert shares["--lowest"]["code"] < 0.1
    assert shares["--highest"]["code"] > 0.5


@pytest.mark.parametrize(
    ("outcomes", "is_refused"),
    [
        (["train_pile_loss", "arc_acc"], True),
        (["bits_python", "f1"], True),
        (["arc_bpb", "mmlu_bpb"], False),
        (["hellaswag", "arc"], False),
        (["pass@1", "accuracy"], False),
        (["loss_score", "acc"], False),
    ],
)
def test_losses_beside_scores_have_no_common_direction(outcomes: list[str], is_refused: bool) -> None:
    with pytest.raises(ConfigError, match="Name outcomes of one kind") if is_refused else nullcontext():
        _check_direction(outcomes, False, Display())


def test_a_folder_without_a_fit(tmp_path: Path) -> None:
    result = invoke("mix", "propose", str(tmp_path), "--lowest")
    assert result.code == 2
    assert "has no fit.json; name the folder that tagcorpus mix fit wrote" in " ".join(result.err.split())


@pytest.mark.parametrize("tokens", ["1e308", "inf", "nan", "-1", "0", "many"])
def test_tokens_of_a_source_are_a_number(fit_folder: Path, tokens: str) -> None:
    path = fit_folder / "odd.csv"
    path.write_text(f"source,tokens\nweb,1000\ncode,{tokens}\nbooks,2000\n")
    result = invoke("mix", "propose", str(fit_folder), "--lowest", "--tokens", str(path))
    assert result.code == 2
    assert f"line 3: the source 'code' has '{tokens}' tokens, not a number above 0" in " ".join(result.err.split())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    result = invoke("mix", "propose", str(tmp_path / "nofit"), "--lowest")
    assert result.code == 2
    assert result.err.endswith(
        f"there is no folder '{tmp_path / 'nofit'}'; name the folder that tagcorpus mix fit wrote\n"
    )
