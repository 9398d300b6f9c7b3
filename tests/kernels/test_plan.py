"""What a kernel computes, and in which arithmetic."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import softknee.lang as f
from softknee.kernels.arrays import run
from softknee.kernels.llvm import Operand
from softknee.kernels.plan import Plan, arithmetic_for, compile_plan, kernel_of, sources
from softknee.kernels.primitives import Double, Pair
from softknee.lang.evaluate import compiled
from softknee.lang.nodes import Node, symbol, symbols_in
from softknee.testing.metric import ulp_error

X, G, B = symbol("x"), symbol("g"), symbol("b")


@pytest.mark.parametrize("changed", ["kernels/llvm.py", "lang/stabilise.py"])
def test_what_is_cached_is_never_older_than_the_code(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read, find = Path.read_bytes, sources.__wrapped__
    before = find()
    assert find() == before
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: read(path) + (b"\n" if path.as_posix().endswith(changed) else b"")
    )
    assert find() != before


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


@pytest.mark.parametrize("b", [1.0, 1.1, -2.9])
@pytest.mark.parametrize(
    "expression",
    [
        X * f.sigmoid(-X) + 1,
        f.exp(X) - 3,
        f.sigmoid(X) * (f.tanh(X) + B / 4),
        2 * (f.normal_cdf(B * X) - 0.75),
        f.where(X > -1, (f.softplus(X) - 1) / 3, X),
        X * (f.atan(X) - B) * B,
        f.sin(B * X) * 3 - X,
        f.asinh(B * X) + f.erf(X) - f.expm1(-X) - B / 2,
        f.log1p(X * X) - f.cos(B * X),
        B * X * X * X - B * B * B * X + B * B * B * B * 0.3,
    ],
    ids=repr,
)
@pytest.mark.parametrize("storage", ["float32", "float64"])
def test_digits_are_kept_at_roots(expression: Node, b: float, storage: Any) -> None:
    """Where the terms have as many digits in common as what they are computed in is good to"""
    of_x = compiled((expression,), ("x", "b"), "mpmath")
    kind = np.dtype(storage).type
    b = float(kind(b))
    given = ("x", Operand(storage)), ("b", Operand(storage, "splat"))
    plan = Plan(((expression, Operand(storage)),), given[: len(symbols_in(expression))])
    grid = np.linspace(-3.03, 3.05, 100)
    found = 0
    with mp.workdps(60):
        for low, high in pairwise(map(mp.mpf, grid.tolist())):
            if low < 0 < high or not of_x(low, b)[0] * of_x(high, b)[0] < 0:
                continue
            near = kind(mp.findroot(lambda x: of_x(x, b)[0], (low, high), solver="anderson"))
            x = np.array(
                [near + k * np.spacing(near) for k in range(-3, 4)]
                + [near * (1 + s * 2.0**-k) for s in (1, -1) for k in range(4, 52)],
                kind,
            )
            arguments = [x, np.full(1, b, kind)][: len(plan.inputs)]
            (results,) = run(compile_plan(plan).call, kernel_of(plan), arguments)
            for at, got in zip(x.tolist(), results.tolist(), strict=True):
                assert ulp_error(got, of_x(mp.mpf(at), mp.mpf(b))[0], storage) <= 1.5, at
                found += 1
    assert found or b != 1


def test_digits_are_kept_where_the_terms_of_a_factor_hold_the_cancelling_one() -> None:
    """Far out nothing is left of this but -x sigmoid(b), of which rounding sigmoid(b) + 3/4 leaves little."""
    expression = (f.sigmoid(B) + 0.75) * (f.expm1(X) - X) + 0.75 * X
    given = ("x", Operand("float32")), ("b", Operand("float32", "splat"))
    plan = Plan(((expression, Operand("float32")),), given)
    x, b = -np.logspace(0, 30, 61, dtype="f4"), -33.0
    (found,) = run(compile_plan(plan).call, kernel_of(plan), [x, np.full(1, b, "f4")])
    of_x = compiled((expression,), ("x", "b"), "mpmath")
    with mp.workdps(60):
        for at, got in zip(x.tolist(), found.tolist(), strict=True):
            assert ulp_error(got, of_x(mp.mpf(at), mp.mpf(b))[0], "float32") <= 0.51, at


def test_more_digits_only_where_terms_may_cancel() -> None:
    def finer(expression: Node, storage: Any = "float64", **more: Any) -> bool:
        inputs = ("x", Operand(storage)), ("b", Operand(storage, "splat"))
        return kernel_of(Plan(((expression, Operand(storage)),), inputs, **more)).finer is not None

    for expression in (
        X * f.sigmoid(B * X),
        X + X * f.sigmoid(B * X),
        f.exp(B * X + 1),
        f.where(X > B, X - B, 0),
    ):
        assert not finer(expression)
    assert not finer(B * X + 1)  # which pairs hold exactly
    for expression in (f.exp(X) - 3, X * (f.tanh(X) + B), f.where(X > 0, X, f.exp(X) - B), B * X * X - 1):
        assert finer(expression)
    assert finer(f.exp(X) - B, "float32")
    assert finer(f.exp(X) - 3, "float32")
    assert not finer(B * X * X - 1, "float32")
    assert not finer(X * (f.exp(X) - 3), factors=frozenset({"b"}))
