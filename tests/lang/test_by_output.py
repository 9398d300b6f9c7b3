"""Slopes from values."""

from __future__ import annotations

import math

import pytest

from softknee.lang import exp, sigmoid, symbol, tanh, where
from softknee.lang.by_output import _holds, slope_by_output
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import evaluate
from softknee.lang.nodes import make, number

X = symbol("x")
RISING = [
    sigmoid(X), tanh(3 * X), 2 - exp(-X) / 3, -sigmoid(X / 2) * 4, where(X > 0, X, exp(X) - 1),
    where(X < 1, 2 * X, X + 1), where(make("ge", (number(1), X)), exp(X), X + math.e - 1),
]  # fmt: skip


@pytest.mark.parametrize("f", RISING, ids=repr)
def test_it_is_the_slope(f) -> None:
    slope = slope_by_output(f, "x", "y")
    assert slope is not None
    for x in (-3.3, -0.2, 0.7, 1.9):
        want = evaluate(derivative(f, "x"), {"x": x}, "float")
        assert evaluate(slope, {"y": evaluate(f, {"x": x}, "float")}, "float") == pytest.approx(
            want, rel=1e-9
        )


@pytest.mark.parametrize("f", [X * sigmoid(X), sigmoid(X * X), where(X > 0, X, -2 * X), X * X], ids=repr)
def test_there_is_none(f) -> None:
    assert slope_by_output(f, "x", "y") is None


def test_a_wrong_expression_does_not_hold() -> None:
    y = symbol("y")
    assert _holds(tanh(X), 1 - y * y, "x", "y")
    assert not _holds(tanh(X), 1 - y, "x", "y")
