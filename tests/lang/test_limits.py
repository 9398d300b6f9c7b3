"""Limits and asymptotes, and the cost of expressions."""

from __future__ import annotations

import math

import pytest

from softknee.lang import (
    OPS,
    Node,
    absolute,
    asinh,
    atan,
    clamp,
    cos,
    cost,
    erf,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    normal_cdf,
    normal_pdf,
    number,
    pi,
    sigmoid,
    sign,
    sin,
    softplus,
    sqrt,
    symbol,
    tanh,
    where,
)  # fmt: skip
from softknee.lang.differentiate import derivative
from softknee.lang.limits import _numeric, asymptote, limit

x, a = symbol("x"), symbol("a")
INF = math.inf
silu, gelu, mish = x * sigmoid(x), x * normal_cdf(x), x * tanh(softplus(x))

LIMITS: list[tuple[Node, float, float]] = [
    (x, -INF, INF),
    (silu, 0, INF),
    (gelu, 0, INF),
    (mish, 0, INF),
    (derivative(silu, "x"), 0, 1),
    (derivative(gelu, "x"), 0, 1),
    (derivative(mish, "x"), 0, 1),
    (derivative(mish, "x", 2), 0, 0),
    (softplus(x) - x, INF, 0),
    (x - tanh(x), -INF, INF),
    (x * (number("0.5") + atan(x) / pi), -1 / math.pi, INF),
    (x / (1 + absolute(x)), -1, 1),
    (x / sqrt(1 + x * x), -1, 1),
    (sqrt(1 + x * x) - x, INF, 0),
    (asinh(x) - log(absolute(x)), -INF, math.log(2)),
    (where(x > 0, x, a * expm1(x)), -1.5, INF),
    (maximum(x, 0) + minimum(0, a * expm1(x / a)), -1.5, INF),
    (x**3 - x * x, -INF, INF),
    (exp(x) / (1 + exp(x)), 0, 1),
    (exp(-x) * x**20, INF, 0),
    (log1p(exp(x)), 0, INF),
    (erf(x) + x * normal_pdf(x) + sign(x), -2, 2),
    (clamp(x + 3, 0, 6) / 6, 0, 1),
    (tanh(exp(x)) * x, 0, INF),
    (exp(-exp(-x)), 0, 1),
    (1 - exp(-exp(x)), 0, 1),
    (sin(x) / x, 0, 0),
    (x + sin(x), -INF, INF),
    (cos(exp(x)), 1, None),  # type: ignore[list-item]
    (sin(x), None, None),  # type: ignore[list-item]
    (tanh(sin(exp(-x)) + 1), None, math.tanh(1)),  # type: ignore[list-item]
    (softplus(1 / x) + sigmoid(exp(-x * x)) + atan(1 + 1 / x), math.log(2) + 0.5 + math.pi / 4,
     math.log(2) + 0.5 + math.pi / 4),
    (x ** (1 / x), None, 1),  # type: ignore[list-item]
]  # fmt: skip


@pytest.mark.parametrize(
    ("node", "below", "above"), LIMITS, ids=lambda v: repr(v) if isinstance(v, Node) else ""
)
def test_limits_by_rule(node: Node, below: float | None, above: float | None) -> None:
    for at, expected in ((-INF, below), (INF, above)):
        found = limit(node, at, {"a": 1.5})
        if expected is None:
            assert found.value is None, at
        else:
            assert found.how == "rule"
            assert found.value == pytest.approx(expected, abs=1e-15)


NUMERIC = [
    e for e, *_ in LIMITS if "exp(-x)" not in repr(e) and "log(abs" not in repr(e) and "x**" not in repr(e)
]


@pytest.mark.parametrize("node", NUMERIC, ids=repr)
def test_rules_agree_with_numbers(node: Node) -> None:
    for at in (-INF, INF):
        ruled, measured = limit(node, at, {"a": 1.5}), _numeric(node, at, {"a": 1.5}, "x")
        if measured.value is None:
            assert ruled.value is None or measured.how == "unproven"
        else:
            assert ruled.value is not None
            assert measured.value == pytest.approx(ruled.value, abs=1e-6)


def test_the_side_from_which_a_limit_is_approached() -> None:
    assert limit(silu, -INF).side == -1
    assert limit(sigmoid(x), -INF).side == 1
    assert limit(sigmoid(x), INF).side == -1
    assert limit(maximum(x, 0), -INF).side == 0  # reached


@pytest.mark.parametrize(
    ("node", "at", "slope", "intercept"),
    [
        (mish, INF, 1, 0), (mish, -INF, 0, 0), (x - tanh(x), INF, 1, -1), (x + sin(x), INF, 1, None),
        (x * x, INF, None, None), (asinh(x), INF, 0, None), (exp(x), INF, None, None),
        (x * (number("0.5") + atan(x) / pi), INF, 1, -1 / math.pi), (sqrt(1 + x * x), -INF, -1, 0),
        (2 * x - 3, -INF, 2, -3), (absolute(x - 1), -INF, -1, 1), (sin(x), INF, 0, None),
    ],
)  # fmt: skip
def test_asymptotes(node: Node, at: float, slope: float | None, intercept: float | None) -> None:
    found = asymptote(node, at)
    assert found.slope == (None if slope is None else pytest.approx(slope, abs=1e-15))
    assert found.intercept == (None if intercept is None else pytest.approx(intercept, abs=1e-15))


def test_what_the_rules_leave_open_is_measured_and_said() -> None:
    slow = log(log(absolute(x) + 3)) - log(log(absolute(x) + 2))  # an iterated logarithm
    found = limit(slow, INF)
    assert found.how != "rule"
    assert limit(sin(x), INF).how == "numeric"  # oscillates: seen, not proven
    assert limit(log(-x), INF).value is None


def test_errors_name_the_culprit() -> None:
    with pytest.raises(KeyError, match="'a'"):
        limit(a * x, INF)
    with pytest.raises(ValueError, match=r"0\.0"):
        limit(x, 0.0)


def test_cost_counts_shared_nodes_once() -> None:
    s = sigmoid(x)
    assert cost.cost(s * s + s) == cost.Cost(
        operations=3, weight=2 + cost.WEIGHTS["sigmoid"], transcendental=1
    )
    assert cost.cost(x) == cost.Cost(0, 0, 0)
    assert [c.transcendental for c in cost.derivative_costs(where(x > 0, x, expm1(x)))] == [1, 1, 1]
    assert cost.WEIGHTS.keys() == OPS.keys()
