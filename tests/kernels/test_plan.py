"""Which arithmetic a kernel computes in."""

from __future__ import annotations

import pytest

import softknee.lang as f
from softknee.kernels.llvm import Operand
from softknee.kernels.plan import Plan, arithmetic_for
from softknee.kernels.primitives import Double, Pair
from softknee.lang.nodes import symbol

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
