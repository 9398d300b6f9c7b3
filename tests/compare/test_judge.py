"""Standings and the sentence, from outcomes made by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from softknee.compare.conditions import Condition
from softknee.compare.engine import Outcome
from softknee.compare.judge import answer, chosen_run, judge
from softknee.compare.protocol import Protocol, Run
from softknee.compare.records import Level
from softknee.compare.tasks import Task

BLANK = Outcome(
    0.5, 0.7, 0.5, 1.0, (1.0, 0.5), (1.0, 0.6), (0.3, 0.5), (0.0,), (0.1,), {}, 1, 1e-4, 1000, 2000, 8, ""
)
TASK = Task("digits", np.zeros((20, 1)), np.arange(20) % 10, tuple("0123456789"))


def condition(depth: int = 2) -> Condition:
    return Condition(TASK, Protocol(depth=depth), {"depth": depth}, f"{depth} hidden layers")


def outcomes(
    means: dict[str, float], depth: int = 2, seeds: int = 10, spread: float = 0.01
) -> dict[Run, Outcome]:
    """Scores around the means; the seed moves all alike, and each a little by itself."""
    random = np.random.default_rng(depth)
    common = random.normal(0, spread, seeds)
    return {
        Run(label, 1e-3, seed): dataclasses.replace(
            BLANK, test_score=mean + common[seed] + random.normal(0, spread / 10)
        )
        for label, mean in means.items()
        for seed in range(seeds)
    }


def judged(means: dict[str, float], **more: float) -> Level:
    seeds = int(more.get("seeds", 10))
    found = outcomes(means, **more)  # type: ignore[arg-type]
    return judge({condition(): found}, list(means), range(seeds))[0]


def test_the_best_stands_first_and_the_rest_are_held_against_it() -> None:
    level = judged({"a": 0.7, "b": 0.9, "c": 0.9001})
    assert [s.label for s in level.standings[2:]] == ["a"]
    best, second, last = level.standings
    assert best.behind is None
    assert best.tied
    assert second.tied
    assert not last.tied
    assert last.behind is not None
    assert last.behind.difference.mean == pytest.approx(0.2, abs=0.01)
    assert last.behind.p == pytest.approx(2 / 2**10)
    assert last.behind.wins == 1.0
    assert last.gap == pytest.approx(1 - last.score.mean)
    assert level.differences == 2
    assert level.pairs == 3


def test_the_matrix_is_antisymmetric() -> None:
    level = judged({"a": 0.7, "b": 0.9, "c": 0.8})
    for i, row in enumerate(level.versus):
        assert row[i] is None
        for j, one in enumerate(row):
            other = level.versus[j][i]
            if one is not None and other is not None:
                assert one.difference.mean == -other.difference.mean
                assert one.difference.low == -other.difference.high
                assert one.wins == 1 - other.wins
                assert one.p == other.p


def test_a_seed_takes_the_rate_its_validation_data_like_best() -> None:
    runs = [Run("a", rate, 0) for rate in (1e-3, 1e-2, 1e-1)]
    values = [(0.8, 0.5), (0.9, 0.4), (0.9, 0.3)]
    found = {
        run: dataclasses.replace(
            BLANK, validation_score=accuracy, validation_loss=(9.0, loss), test_score=0.1
        )
        for run, (accuracy, loss) in zip(runs, values, strict=True)
    }
    assert chosen_run(found, runs) == runs[2]
    found[runs[2]] = dataclasses.replace(found[runs[2]], validation_loss=(9.0, float("nan")))
    assert chosen_run(found, runs) == runs[1]
    found[runs[0]] = found[runs[1]]
    assert chosen_run(found, runs) == runs[0]
    level = judge({condition(): found}, ["a"], [0])[0]
    assert level.standings[0].rates == (1e-3,)
    assert [rate for rate, _ in level.standings[0].by_rate] == [1e-3, 1e-2, 1e-1]


def test_curves_are_medians_between_quartiles_and_survive_nan() -> None:
    found = outcomes({"a": 0.5}, seeds=4)
    for i, run in enumerate(found):
        found[run] = dataclasses.replace(
            found[run],
            train_loss=(float(i), float("nan") if i == 0 else 1.0),
            validation_curve=(0.1, 0.2 * i),
        )
    standing = judge({condition(): found}, ["a"], range(4))[0].standings[0]
    assert standing.train_loss.low[0] <= standing.train_loss.middle[0] <= standing.train_loss.high[0]
    assert standing.train_loss.middle[1] == 1.0


def test_epochs_to_target() -> None:
    found = outcomes({"fast": 0.5, "slow": 0.5, "never": 0.5}, seeds=3)
    curves = {"fast": (0.96, 1.0, 1.0), "slow": (0.1, 0.5, 0.97), "never": (0.1, 0.1, 0.1)}
    found = {
        run: dataclasses.replace(
            o, validation_curve=curves[run.activation], validation_score=curves[run.activation][-1]
        )
        for run, o in found.items()
    }
    level = judge({condition(): found}, list(curves), range(3))[0]
    assert level.target == pytest.approx(0.1 + 0.95 * 0.9)
    assert {s.label: s.epochs_to_target for s in level.standings} == {"fast": 1, "slow": 3, "never": None}


def sentence(*levels: dict[str, float], seeds: int = 10) -> str:
    depths = [2, 12][: len(levels)]
    found = {
        condition(depth): outcomes(means, depth, seeds) for depth, means in zip(depths, levels, strict=True)
    }
    return answer(judge(found, list(levels[0]), range(seeds)), seeds)


TIE = {"a": 0.9, "b": 0.9, "c": 0.9}


def test_a_tie_among_all_is_an_answer() -> None:
    assert sentence(TIE).startswith(
        "On digits over 10 seeds, with 2 hidden layers the 3 activations are not distinguishable (means "
    )
    assert "seeds, the 3 activations are not distinguishable in any of 2 conditions (" in sentence(TIE, TIE)


def test_a_loser_is_named_with_its_loss_and_p() -> None:
    text = sentence(TIE, TIE | {"b": 0.3})
    assert "with 2 hidden layers the 3 activations are not distinguishable" in text
    assert "; with 12 hidden layers " in text
    assert "while b loses 6" in text
    assert text.endswith("points (p = 0.002).")


def test_several_losers_are_ranked_from_the_worst() -> None:
    assert "while c and b lose 60." in sentence({"a": 0.9, "b": 0.6, "c": 0.3})
    many = {letter: 0.9 - 0.1 * i for i, letter in enumerate("abcdef")}
    text = sentence(many)
    assert "while 5 lose 10." in text or "while 5 lose 9." in text
    assert "f the most (p ≤ 0.00" in text


def test_too_few_seeds_are_said_to_be_too_few() -> None:
    text = sentence({"a": 0.9, "b": 0.1}, seeds=4)
    assert "4 seeds cannot show a difference" in text
    assert "smallest p attainable is 0.12" in text
    assert "at least 6 seeds" in text


def test_one_activation_alone() -> None:
    assert sentence({"a": 0.9}, {"a": 0.5}).endswith("name a second activation to compare.")
