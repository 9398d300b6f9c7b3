"""Recommendations: a field narrowed down, a budget that is kept, and what is said of what is left."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from softknee.compare import advice
from softknee.compare.advice import recommend
from softknee.compare.errors import CompareError
from softknee.compare.schedule import Schedule

SMALL = {"data": "iris", "epochs": 4, "width": 8, "lr": 0.01, "depth": 6}
FIELD = "sigmoid,softsign,tanh,relu,gelu,elu"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that goes on by so many seconds with every batch that is finished, and else stands still."""
    time = [0.0, 0.0]
    collect = Schedule._collect

    def ticking(self: Schedule, future: object) -> None:
        collect(self, future)  # type: ignore[arg-type]
        time[0] += time[1]

    monkeypatch.setattr(Schedule, "_collect", ticking)
    monkeypatch.setattr(advice, "_clock", lambda: time[0])
    return lambda seconds: time.__setitem__(1, seconds)


def test_the_field_is_narrowed_and_the_rest_compared(tmp_path: Path, clock: Callable[[float], None]) -> None:
    clock(0.01)
    ask = partial(recommend, activations=FIELD, minutes=5, out=tmp_path)
    found = ask(**SMALL)
    first = found.rungs[0]
    assert (first.epochs, len(first.scores), first.kept) == (1, 6, 4)
    assert sorted(s for _, s in first.scores) == [s for _, s in first.scores][::-1]
    assert found.evidence is not None
    assert set(found.evidence.labels) == {"relu", *(label for label, _ in first.scores[:4])}
    assert (len(found.evidence.seeds), found.evidence.protocol.epochs) == (10, 4)
    assert found.activation in found.evidence.labels
    assert found.answer.startswith(
        f"Use {found.activation}: " if found.matters else "It does not matter here: "
    )
    assert "6 activations tried on iris" in found.answer == found.evidence.answer
    assert found.evidence.before[0].startswith("Round 1: 6 activations, 1 epoch, 3 seeds; the first 4: ")
    clock(1e9)  # nothing is finished any more that would let it pass
    again = ask(**SMALL)
    assert again.evidence is not None
    assert (again.answer, again.rungs, again.evidence.trained) == (found.answer, found.rungs, 0)


# one batch after the other: the six of the round, then the first six seeds of each finalist, then the other four
@pytest.mark.parametrize(
    ("batches", "minutes", "says", "seeds"),
    [
        (1, 1, "Undecided: 1 minute was not enough to train two activations; give it more.", None),
        (3, 2, "Undecided: 2 minutes were not enough for the last comparison, so this is the last round;", 3),
        (
            10,
            2,
            "Undecided: 2 minutes were not enough for the last comparison, so this is the last round;",
            3,
        ),
        (12, 2, "the budget allowed 6 of 10 seeds", 6),
        (30, 2, "compared over 10 seeds", 10),
    ],
)
def test_the_budget_ends_it_and_what_is_finished_alike_is_judged(
    clock: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    batches: int,
    minutes: int,
    says: str,
    seeds: int | None,
) -> None:
    monkeypatch.setattr(advice, "_PLANNED", 1e9)  # the last comparison takes all epochs, in time or not
    monkeypatch.setattr(advice, "_SHARE", 0.0)
    clock(60 * minutes / batches)
    ended: list[int] = []
    collect = Schedule._collect
    monkeypatch.setattr(Schedule, "_collect", lambda self, f: (ended.append(1), collect(self, f)))
    found = recommend(activations=FIELD, minutes=minutes, jobs=1, **SMALL)
    assert len(ended) <= batches
    assert says in found.answer
    assert (found.evidence and len(found.evidence.seeds)) == seeds
    if found.evidence and seeds == 3:
        assert (found.activation, found.matters) == ("relu", False)
        assert len(found.evidence.labels) == min(batches, 6)


def test_what_a_budget_has_cut_off_goes_on_with_the_next_call(
    tmp_path: Path, clock: Callable[[float], None]
) -> None:
    ask = partial(recommend, activations=FIELD, minutes=1, jobs=1, out=tmp_path, **SMALL)
    clock(60 / 3)
    first = ask()
    assert "not enough for the last comparison" in first.answer
    clock(0.01)
    second = ask()
    assert second.evidence is not None
    assert len(second.rungs[0].scores) == 6
    assert len(second.evidence.seeds) == 10


def test_a_small_budget_tries_fewer_and_says_so_and_runs_that_learn_nothing_decide_nothing(
    clock: Callable[[float], None],
) -> None:
    clock(2)
    found = recommend("iris", minutes=1, epochs=4, width=4, lr=1e-9, depth=1, jobs=1)
    assert 4 <= len(found.rungs[0].scores) < 20
    assert re.search(r"the budget left \d\d untried", found.answer)
    assert re.match(r"Undecided: \d\d of the last \d\d runs learned nothing", found.answer)
    assert (found.activation, found.matters) == ("relu", False)


def test_those_of_the_catalogue_that_cannot_be_trained_are_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(advice, "candidates", lambda: ["sign", "relu", "binary_step", "tanh"])
    found = recommend("iris", minutes=5, epochs=1, width=4, lr=0.01, depth=1)
    assert {label for label, _ in found.rungs[0].scores} == {"relu", "tanh"}
    assert "untried" not in found.answer


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
