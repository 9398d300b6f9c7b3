"""The named rewrites: each changes its example, keeps the value, and cannot be reached without need."""

from __future__ import annotations

import math

import mpmath as mp
import pytest

from softknee.lang import Node, absolute, exp, log, sigmoid, sqrt, symbol, symbols_in, tanh, walk
from softknee.lang.evaluate import evaluate, evaluate_mp
from softknee.lang.stabilise import (
    EXAMPLES,
    GUARDS,
    IDENTITIES,
    guard_dead_branches,
    rewrite,
    series,
    stabilise,
    tame,
    vanishes,
)

x = symbol("x")
POINTS = (-37.5, -3.25, -1.0, -0.5, -(2.0**-40), 2.0**-40, 0.125, 1.0, 2.5, 30.0)


def rules() -> dict[str, object]:
    return IDENTITIES | GUARDS


def changed_somewhere(root: Node, rule: object) -> bool:
    return any(rule(n) is not None for n in walk(root))  # type: ignore[operator]


def same_value(a: Node, b: Node, at: float) -> bool:
    values = dict.fromkeys((*symbols_in(a), *symbols_in(b)), 0.75) | {"x": at}
    try:
        one = evaluate_mp(a, values, 25)
    except (ValueError, ZeroDivisionError, TypeError):
        return True  # the example is not defined there
    if isinstance(one, mp.mpc) or not mp.isfinite(one):
        return True
    two = evaluate_mp(b, values, 25)
    return bool(abs(one - two) <= mp.mpf(10) ** -22 * abs(one))


def test_every_rule_has_an_example() -> None:
    assert set(EXAMPLES) == set(IDENTITIES) | set(GUARDS)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_it_changes_its_example_and_keeps_the_value(name: str) -> None:
    example, rule = EXAMPLES[name], rules()[name]
    assert changed_somewhere(example, rule)
    result = stabilise(example) if name in GUARDS else rewrite(example)
    for at in POINTS:
        assert same_value(example, result, at), f"at {at}: {example!r} became {result!r}"


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_rewriting_ends(name: str) -> None:
    once = rewrite(EXAMPLES[name])
    assert rewrite(once) is once


def test_series_keep_digits_where_terms_cancel() -> None:
    formula = x - tanh(x)
    stable = series(formula)
    for at in (1e-8, -1e-4, 1e-3, 0.01):
        assert evaluate(stable, {"x": at}) == pytest.approx(float(evaluate_mp(formula, {"x": at})), rel=1e-15)
    assert series(x + tanh(x)) is x + tanh(x)


def test_series_keep_digits_where_terms_cancel_far_out() -> None:
    from softknee.lang import atan, where

    formula = atan(1 / x) - x / (x * x + 1)
    stable = series(formula)
    for at in (-1e30, -1e6, -9.0, 9.0, 1e3, 1e12):
        assert evaluate(stable, {"x": at}) == pytest.approx(
            float(evaluate_mp(formula, {"x": at}, 80)), rel=4e-15
        )
    near = where(absolute(x) < 1, formula, x)  # it is not taken far out
    assert series(near) is near
    assert series(exp(-x) + 1 - 1 / (1 + exp(x))) is exp(-x) + 1 - 1 / (1 + exp(x))  # no power of 1/x


@pytest.mark.parametrize("flipped", [False, True])
def test_series_around_a_center_that_is_a_symbol(flipped: bool) -> None:
    """The slope of x F(u), where the center and the scale of u are given later"""
    from softknee.lang import atan, minimum, pi, where
    from softknee.lang.differentiate import derivative

    m, s = symbol("m"), symbol("s")
    u = (m - x) / s if flipped else (x - m) / s
    tail = -atan(1 / minimum(u, -1)) / pi
    formula = where(u < -1, tail, atan(u) / pi + 0.5) + x * derivative(atan(u), "x") / pi
    stable = series(formula)
    sign = -1 if flipped else 1
    for at in (-1e30, -1e6, -40.0, 5.0, 1e3):
        for center, scale in ((0.55, 1.475), (-3.0, 0.2), (0.0, 2.0)):
            values = {"x": sign * at, "m": center, "s": scale}
            exact = float(evaluate_mp(formula, values, 150))
            assert evaluate(stable, values) == pytest.approx(exact, rel=1e-13), values
    # the terms without the center depend on the scale; the center is squared; there are two of them
    p = symbol("p")
    for other in (formula + s * x, formula + x * x, formula + atan((x - p) / s)):
        assert series(other) is other
    # it is known where a condition on such a u holds far out
    apart = where(u < -1, tail, atan(u) / pi + 0.5)
    assert series(apart) is apart
    assert series(apart.args[2]) is not apart.args[2]


def test_sums_that_vanish_elsewhere_than_at_0() -> None:
    from softknee.lang import cos, number, sin

    a = symbol("a")
    for vanishing in (
        x * sigmoid(-x) + 1,
        tanh(x) + 0.25,
        x - number("0.3"),
        cos(x) - 0.5,
        exp(x) - a,
        a * sin(x) + x,
    ):
        assert vanishes(vanishing, "x")
    for other in (x + sigmoid(x) * x, x - sin(x), exp(x) + 1, x * sigmoid(a * x) + x, a + exp(absolute(a))):
        assert not vanishes(other, "x")


def test_a_root_of_a_square_whose_factor_may_vanish() -> None:
    a = symbol("a")
    stable = stabilise(x / sqrt(1 + a * x * x))
    for at, factor, right in (
        (1e20, 0.0, 1e20),
        (1e200, 0.0, 1e200),
        (1e20, 1e-40, 1e20 / math.sqrt(2)),
        (1e200, 4.0, 0.5),
    ):
        assert evaluate(stable, {"x": at, "a": factor}) == pytest.approx(right)


def test_products_that_overflow_on_the_way_have_their_small_factors_first() -> None:
    a = symbol("a")
    for side, formula in ((-1, a * x * sigmoid(x)), (1, (a * x * sigmoid(-a * x) + 1) * x)):
        values = {"x": side * 1.7e308, "a": 1.5}
        assert math.isnan(evaluate(formula, values))
        stable = tame(formula)
        assert evaluate(stable, values) == (0 if side < 0 else 1.7e308)
        assert not any(n.op in ("minimum", "maximum") for n in walk(stable))
        assert evaluate(stable, {"x": -3.0, "a": 1.25}) == pytest.approx(
            evaluate(formula, {"x": -3.0, "a": 1.25})
        )


def test_infinite_and_huge_inputs_are_tamed() -> None:
    gate = tame(x * sigmoid(x))
    assert evaluate(gate, {"x": -math.inf}) == 0
    assert evaluate(gate, {"x": math.inf}) == math.inf
    assert evaluate(gate, {"x": -1e300}) == 0
    assert math.isnan(evaluate(gate, {"x": math.nan}))
    assert tame(tanh(x)) is tanh(x)
    several = tame(x * sigmoid(x), several=True)
    assert any(n is sigmoid(x) for n in walk(several))
    assert not any(n is sigmoid(x) for n in walk(gate))
    for point in (math.inf, -math.inf, 1e300, -1e300, 2.0**62, 0.5):
        assert evaluate(several, {"x": point}) == evaluate(gate, {"x": point})


def test_no_overflow_on_the_way() -> None:
    assert evaluate(stabilise(log(1 + exp(x))), {"x": 1e4}) == 1e4


def test_dead_branches_stay_finite() -> None:
    from softknee.lang import expm1, where

    guarded = guard_dead_branches(where(x > 0, x, expm1(x)))
    inner = [n for n in walk(guarded) if n.op == "expm1"]
    assert [evaluate(n, {"x": 1e4}) for n in inner] == [0.0]
    for at in POINTS:
        assert evaluate(guarded, {"x": at}) == evaluate(where(x > 0, x, expm1(x)), {"x": at})
