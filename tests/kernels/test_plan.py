"""What a kernel computes, and in which arithmetic."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest

import softknee.lang as f
from softknee.kernels.arrays import run
from softknee.kernels.llvm import Operand
from softknee.kernels.plan import Plan, arithmetic_for, compile_plan, kernel_of
from softknee.kernels.primitives import Double, Pair
from softknee.lang.evaluate import compiled
from softknee.lang.nodes import Node, symbol
from softknee.testing.metric import ulp_error

X, G = symbol("x"), symbol("g")


@pytest.mark.parametrize("access", ["sum_row", "sum_rows"])
def test_sums_do_not_ask_for_pairs(access: str) -> None:
    """They are of float64 whatever is summed: backward with a learned parameter must not pay for it."""
    for storage, arithmetic in (("float32", Double), ("bfloat16", Double), ("float64", Pair)):
        inputs = tuple((name, Operand(storage)) for name in ("x", "g"))  # type: ignore[arg-type]
        outputs = (
            (G * f.exp(X), Operand(storage)),  # type: ignore[arg-type]
            (G * f.sigmoid(X), Operand("float64", access)),  # type: ignore[arg-type]
        )
        assert arithmetic_for(Plan(outputs, inputs)) is arithmetic


@pytest.mark.parametrize(
    "expression",
    [X * f.sigmoid(-X) + 1, f.exp(X) - 3, f.sigmoid(X) * (f.tanh(X) + 0.25), 2 * (f.normal_cdf(X) - 0.75)],
    ids=repr,
)
def test_float64_keeps_its_digits_at_roots(expression: Node) -> None:
    """Where the terms have as many digits in common as the pairs that they are computed in are good to"""
    of_x = compiled((expression,), ("x",), "mpmath")
    plan = Plan(((expression, Operand("float64")),), (("x", Operand("float64")),))
    with mp.workdps(60):
        root = mp.findroot(lambda x: of_x(x)[0], (-0.2, 0.6))
        near = float(root)
        x = np.array(
            [near + k * math.ulp(near) for k in range(-3, 4)] + [near * (1 + 2.0**-k) for k in range(4, 52)]
        )
        (found,) = run(compile_plan(plan).call, kernel_of(plan), [x])
        for at, got in zip(x.tolist(), found.tolist(), strict=True):
            assert ulp_error(got, of_x(mp.mpf(at))[0], "float64") <= 1, at
