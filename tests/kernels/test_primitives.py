"""Every primitive of every arithmetic against mpmath, on hard points and at random."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from mpmath import mp, mpf

from softknee.kernels import coefficients, primitives
from softknee.kernels.arrays import run_program
from softknee.kernels.primitives import DOUBLE_ERROR, Double
from softknee.kernels.program import Program

ORACLES: dict[str, Callable[[mpf], mpf]] = {
    "exp": mp.exp,
    "expm1": mp.expm1,
    "log": mp.log,
    "log1p": mp.log1p,
    "tanh": mp.tanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "erf": mp.erf,
    "normal_cdf": lambda x: mp.erfc(-x / mp.sqrt(2)) / 2,
    "normal_pdf": lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi),
    "sin": mp.sin,
    "cos": mp.cos,
    "atan": mp.atan,
    "asinh": mp.asinh,
}

#: (at -inf, at -0.0, at +0.0, at inf)
LIMITS: dict[str, tuple[float, float, float, float]] = {
    "exp": (0.0, 1.0, 1.0, math.inf),
    "expm1": (-1.0, -0.0, 0.0, math.inf),
    "log": (math.nan, -math.inf, -math.inf, math.inf),
    "log1p": (math.nan, -0.0, 0.0, math.inf),
    "tanh": (-1.0, -0.0, 0.0, 1.0),
    "sigmoid": (0.0, 0.5, 0.5, 1.0),
    "softplus": (0.0, math.log(2), math.log(2), math.inf),
    "erf": (-1.0, -0.0, 0.0, 1.0),
    "normal_cdf": (0.0, 0.5, 0.5, 1.0),
    "normal_pdf": (0.0, 1 / math.sqrt(2 * math.pi), 1 / math.sqrt(2 * math.pi), 0.0),
    "sin": (math.nan, -0.0, 0.0, math.nan),
    "cos": (math.nan, 1.0, 1.0, math.nan),
    "atan": (-math.pi / 2, -0.0, 0.0, math.pi / 2),
    "asinh": (-math.inf, -0.0, 0.0, math.inf),
}


@cache
def points(name: str, count: int = 250) -> np.ndarray:
    """Hard and random points of f64 where the primitive is finite, not special."""
    random = np.random.default_rng(len(name))
    sign = random.choice([-1.0, 1.0], count)
    halves = np.arange(-80, 81) / 4 * math.log(2)  # where exp changes its multiple of ln 2
    hard = np.array(
        [1.5e-45, 1.2e-38, 2**-40, 2**-30, 0.4, 1.0, 2.0, 3.0, 5.6, 8.3, 17.0, 88.7, 104.0, 3.4e38]
    )
    parts = [
        sign * np.exp2(random.uniform(-60, 9, count)),
        sign * np.exp2(random.uniform(-149, 127, count)),
        random.uniform(-20, 20, count),
        random.uniform(-1.5, 1.5, count),
        halves,
        np.nextafter(halves, 9),
        np.nextafter(halves, -9),
        hard,
        -hard,
    ]
    if name in {"sin", "cos"}:
        multiples = np.arange(1, count) * (math.pi / 2)
        # 6381956970095103 2^797 is the double nearest to a multiple of pi/2.
        parts += [multiples, np.exp2(random.uniform(20, 300, count)), [math.ldexp(6381956970095103, 200)]]
    if name in {"log", "asinh", "log1p"}:
        parts += [1 + np.exp2(random.uniform(-52, 0, count)), [math.sqrt(0.5), math.sqrt(2), 1e300]]
    x = np.concatenate(parts)
    if name in {"exp", "expm1", "sigmoid", "softplus"}:
        x = x[abs(x) < 660]
    if name == "log":
        x = np.abs(x[abs(x) > 1e-290])
    if name == "log1p":
        x = x[x > -1]
    if name in {"normal_cdf", "normal_pdf"}:
        x = x[(x > -20) & ((x < 20) | (name == "normal_cdf"))]
    return x


@cache
def truth(name: str) -> list[mpf]:
    with mp.workprec(200):
        # tiny arguments of log and sin need more digits than their results have
        return [+ORACLES[name](mpf(float(x))) for x in points(name)]


def evaluate(arithmetic: type[Double], name: str, x: np.ndarray) -> list[np.ndarray]:
    program = Program()
    a = arithmetic(program)
    y = getattr(a, name)(a.from_value(program.input(0, "f64")))
    return run_program(program, [a.to_value(y)], [x], "float64")


def worst(name: str, values: np.ndarray) -> tuple[float, float]:
    """log2 of the largest relative error, and where it is; below 1e-290 all numbers are equal."""
    error, place = mpf(0), math.nan
    with mp.workprec(200):
        for x, y, t in zip(points(name).tolist(), values.tolist(), truth(name), strict=True):
            here = abs(mpf(y) - t) / abs(t) if max(abs(t), abs(y)) > 1e-290 else mpf(0)
            if not here <= error:
                error, place = here, x
        return float(mp.log(error, 2)) if error else -math.inf, place


@pytest.mark.parametrize("name", DOUBLE_ERROR)
def test_double_is_as_good_as_stated(name: str) -> None:
    error, place = worst(name, evaluate(Double, name, points(name))[0])
    assert error <= DOUBLE_ERROR[name], place


@pytest.mark.parametrize("name", DOUBLE_ERROR)
def test_double_limits(name: str) -> None:
    x = np.array([-math.inf, -0.0, 0.0, math.inf, math.nan])
    found = evaluate(Double, name, x)[0].astype(np.float32)
    wanted = np.array([*LIMITS[name], math.nan], np.float32)
    np.testing.assert_array_equal(found, wanted)
    zeros = wanted == 0
    if name not in {"exp", "sigmoid", "softplus", "normal_cdf", "normal_pdf"}:
        np.testing.assert_array_equal(np.signbit(found[zeros]), np.signbit(wanted[zeros]))


def test_huge_arguments_do_not_overflow_on_the_way() -> None:
    x = np.array([-3e38, 3e38, 1e300])
    with np.errstate(over="ignore"):
        for name, wanted in {
            "sigmoid": (0, 1, 1), "tanh": (-1, 1, 1), "softplus": (0, 3e38, math.inf),
            "erf": (-1, 1, 1), "normal_cdf": (0, 1, 1), "normal_pdf": (0, 0, 0),
            "expm1": (-1, math.inf, math.inf), "atan": (-math.pi / 2, math.pi / 2, math.pi / 2),
        }.items():  # fmt: skip
            found = evaluate(Double, name, x)[0].astype(np.float32)
            np.testing.assert_array_equal(found, np.array(wanted, np.float32), err_msg=name)


def test_a_wrong_coefficient_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    c = list(coefficients.EXPM1_DOUBLE)
    c[5] *= 1 + 2**-25
    monkeypatch.setattr(primitives.fitted, "EXPM1_DOUBLE", tuple(c))
    assert worst("exp", evaluate(Double, "exp", points("exp"))[0])[0] > DOUBLE_ERROR["exp"]


def test_double_shares_what_it_can() -> None:
    """sigmoid(x), sigmoid(-x) and exp's polynomial are one chain; |-x| is |x|."""
    program = Program()
    a = Double(program)
    x = program.input(0, "f64")
    a.sigmoid(x)
    before = len(program)
    a.sigmoid(a.neg(x))
    assert len(program) <= before + 1  # the negation itself
    assert a.abs(a.neg(x)) == a.abs(x)
    assert a.neg(a.neg(x)) == x
    a.normal_cdf(x)
    before = len(program)
    a.normal_pdf(x)
    assert len(program) <= before + 2  # the constant and one product
