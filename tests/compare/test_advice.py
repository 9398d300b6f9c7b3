"""Recommendations: a field narrowed down, and what is said of what is left."""

from __future__ import annotations

import pytest

from softknee.compare.advice import recommend
from softknee.compare.errors import CompareError

SMALL = {"data": "iris", "epochs": 4, "width": 8, "lr": 0.01, "depth": 6}


def test_the_field_is_narrowed_and_the_rest_compared() -> None:
    found = recommend(activations="sigmoid,softsign,tanh,relu,gelu,elu", minutes=5, **SMALL)
    first = found.rungs[0]
    assert (first.epochs, len(first.scores), first.kept) == (1, 6, 4)
    assert sorted(s for _, s in first.scores) == [s for _, s in first.scores][::-1]
    assert set(found.evidence.labels) == {"relu", *(label for label, _ in first.scores[:4])}
    assert len(found.evidence.seeds) == 10
    assert found.activation in found.evidence.labels
    assert found.answer.startswith(
        f"Use {found.activation}: " if found.matters else "It does not matter here: "
    )
    assert "6 activations tried on iris" in found.answer


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
