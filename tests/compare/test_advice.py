"""Recommendations: a field narrowed down, and what is said of what is left."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest

from softknee.compare import advice
from softknee.compare.advice import recommend
from softknee.compare.errors import CompareError

SMALL = {"data": "iris", "epochs": 4, "width": 8, "lr": 0.01, "depth": 6}


def test_the_field_is_narrowed_and_the_rest_compared(tmp_path: Path) -> None:
    ask = partial(recommend, activations="sigmoid,softsign,tanh,relu,gelu,elu", minutes=5, out=tmp_path)
    found = ask(**SMALL)
    first = found.rungs[0]
    assert (first.epochs, len(first.scores), first.kept) == (1, 6, 4)
    assert sorted(s for _, s in first.scores) == [s for _, s in first.scores][::-1]
    assert set(found.evidence.labels) == {"relu", *(label for label, _ in first.scores[:4])}
    assert len(found.evidence.seeds) == 10
    assert found.activation in found.evidence.labels
    assert found.answer.startswith(
        f"Use {found.activation}: " if found.matters else "It does not matter here: "
    )
    assert "6 activations tried on iris" in found.answer == found.evidence.answer
    assert found.evidence.before[0].startswith("Round 1: 6 activations, 1 epoch, 3 seeds; the first 4: ")
    again = ask(**SMALL)
    assert (again.answer, again.rungs, again.evidence.trained) == (found.answer, found.rungs, 0)


def test_a_small_budget_tries_fewer_and_says_so_and_runs_that_learn_nothing_decide_nothing() -> None:
    found = recommend("iris", minutes=0.001, epochs=4, width=4, lr=1e-9, depth=1)
    assert len(found.rungs[0].scores) == 8
    assert "8 activations tried on iris" in found.answer
    assert re.search(r"the budget left \d\d untried; the budget allowed 1 of 4 epochs", found.answer)
    assert re.match(r"Undecided: \d\d of the last 50 runs learned nothing", found.answer)
    assert (found.activation, found.matters) == ("relu", False)


def test_those_of_the_catalogue_that_cannot_be_trained_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(advice, "candidates", lambda: ["sign", "relu", "binary_step", "tanh"])
    found = recommend("iris", minutes=1, epochs=1, width=4, lr=0.01, depth=1)
    assert {label for label, _ in found.rungs[0].scores} == {"relu", "tanh"}


def test_a_better_one_is_recommended_with_its_interval() -> None:
    found = recommend(activations="sigmoid,tanh", minutes=5, **SMALL)
    assert found.matters
    assert found.activation == "tanh"
    assert "better than sigmoid (95 % interval" in found.answer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minutes": 0}, "a positive number"),
        ({"activations": "relu"}, "nothing to choose from"),
        ({"depth": (1, 2)}, "one value of each setting"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    with pytest.raises(CompareError, match=message):
        recommend(**({"activations": "relu,tanh"} | SMALL | change))
