"""Every primitive of every arithmetic against mpmath, on hard points and at random."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from mpmath import mp, mpf
from scipy import special

from softknee.kernels import coefficients
from softknee.kernels import native as primitives_native
from softknee.kernels.arrays import run_program
from softknee.kernels.primitives import (
    DOUBLE_ERROR,
    PAIR_ERROR,
    SINGLE_ERROR,
    SINGLE_SUBNORMAL_ERROR,
    Double,
    Odd,
    Pair,
    Single,
    Triple,
    Wide,
)
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
def thirds(name: str) -> np.ndarray:
    """The points whose third, known to 2^-106, still determines the value to 2^-70."""
    x = points(name)
    if name in {"sin", "cos"}:
        x = x[abs(x) < 2**20]
        return x[(abs(x) < 1) | (abs(getattr(np, name)(x / 3)) > 1e-3)]
    return x[x != 3] if name == "log" else x


@cache
def truth(name: str, third: bool = False) -> list[mpf]:
    with mp.workprec(500):  # sin and cos of huge arguments need their digits
        if third:
            return [ORACLES[name](mpf(x) / 3) for x in thirds(name).tolist()]
        return [ORACLES[name](mpf(x)) for x in points(name).tolist()]


def evaluate(arithmetic: type, name: str, x: np.ndarray, third: bool = False) -> list[np.ndarray]:
    """[result] of a primitive, with its low part where the arithmetic has one; third: of x/3."""
    program = Program()
    a = arithmetic(program)
    number = a.from_value(program.input(0, "f64"))
    y = getattr(a, name)(a.mul(number, a.const(Fraction(1, 3))) if third else number)
    results = [a.to_value(y)]
    if isinstance(y, Wide):
        results.append(program.const(0.0) if y.low is None else y.low)
    return run_program(program, results, [x], "float64")


def worst(name: str, values: list[np.ndarray], third: bool = False) -> tuple[float, float]:
    """log2 of the largest relative error, and where it is; below 1e-290 all numbers are equal."""
    error, place = mpf(0), math.nan
    with mp.workprec(200):
        places = (thirds if third else points)(name).tolist()
        for x, t, *parts in zip(places, truth(name, third), *(v.tolist() for v in values), strict=True):
            y = mpf(sum(map(mpf, parts), mpf(0)))
            here = abs(y - t) / abs(t) if max(abs(t), abs(y)) > 1e-290 else mpf(0)
            if not here <= error:
                error, place = here, x
        return float(mp.log(error, 2)) if error else -math.inf, place


@pytest.mark.parametrize("name", DOUBLE_ERROR)
def test_double_is_as_good_as_stated(name: str) -> None:
    error, place = worst(name, evaluate(Double, name, points(name)))
    assert error <= DOUBLE_ERROR[name], place


@pytest.mark.parametrize("name", PAIR_ERROR)
def test_pair_is_as_good_as_stated(name: str) -> None:
    error, place = worst(name, evaluate(Pair, name, points(name)))
    assert error <= PAIR_ERROR[name], place


@pytest.mark.parametrize("name", PAIR_ERROR)
def test_pair_uses_both_parts_of_its_argument(name: str) -> None:
    error, place = worst(name, evaluate(Pair, name, thirds(name), third=True), third=True)
    assert error <= PAIR_ERROR[name], place


@pytest.mark.parametrize("third", [False, True])
@pytest.mark.parametrize("name", ORACLES)
def test_triple_is_good_to_2_to_the_minus_130(name: str, third: bool) -> None:
    """Of the result, or of 1 where it is a sine, a cosine or a part of the normal distribution; or it is NaN."""
    x = points(name)
    program = Program()
    a = Triple(program)
    number = a.from_value(program.input(0, "f64"))
    y = getattr(a, name)(a.mul(number, a.const(Fraction(1, 3))) if third else number)
    parts = run_program(program, list(y), [x], "float64")
    wide = name in {"sin", "cos", "normal_cdf"}
    unknown = 0
    with mp.workprec(1200):
        for here, *found in zip(x.tolist(), *(v.tolist() for v in parts), strict=True):
            if name == "log" and here == 3 and third:
                continue
            if math.isnan(sum(found)):
                unknown += 1
                assert abs(here) >= {"erf": 3, "normal_cdf": 4.2}.get(name, 2**50)
                continue
            argument = mpf(here) / 3 if third else mpf(here)
            true = ORACLES[name](argument)
            least = max(1, abs(argument) * mpf(2) ** -20) if wide else mpf(10) ** -200
            assert abs(sum(map(mpf, found)) - true) <= mpf(2) ** -130 * max(abs(true), least), here
    assert unknown < len(x) / 2


def test_triple_arithmetic() -> None:
    """To 2^-150 of the terms, also of those that cancel; compared and chosen by all parts."""
    random = np.random.default_rng(1)
    x, y = (random.choice([-1, 1], 200) * 2.0 ** random.uniform(-9, 9, 200) for _ in "xy")
    y[:20] = x[:20]
    program = Program()
    a = Triple(program)
    u, v = (a.mul(a.from_value(program.input(k, "f64")), a.const(Fraction(1, 3))) for k in (0, 1))
    w = a.add(u, a.const(Fraction(1, 3 << 60)))  # differs from u in its second part, or its third
    results: dict[str, Callable[[mpf, mpf, mpf], mpf]] = {
        "add": lambda u, v, w: u + v, "sub": lambda u, v, w: u - v, "mul": lambda u, v, w: u * v,
        "div": lambda u, v, w: u / v, "minimum": lambda u, v, w: min(u, v), "maximum": lambda u, v, w: max(u, v),
    }  # fmt: skip
    numbers = [(getattr(a, name)(u, v), exact) for name, exact in results.items()]
    numbers += [
        (a.sub(w, u), lambda u, v, w: w - u),
        (a.maximum(w, u), lambda u, v, w: w),
        (a.minimum(w, u), lambda u, v, w: u),
        (a.sqrt(a.abs(u)), lambda u, v, w: mp.sqrt(abs(u))),
        (a.sign(u), lambda u, v, w: mp.sign(u)),
        (a.select(a.eq(u, v), u, a.const(0)), lambda u, v, w: u if u == v else mpf(0)),
        (a.select(a.ge(u, w), u, a.const(1)), lambda u, v, w: mpf(1)),
    ]
    for number, exact in numbers:
        parts = run_program(program, list(number), [x, y], "float64")
        with mp.workprec(400):
            for p, q, *found in zip(x.tolist(), y.tolist(), *(v.tolist() for v in parts), strict=True):
                third, other = mpf(p) / 3, mpf(q) / 3
                true = exact(third, other, third + mpf(2) ** -60 / 3)
                largest = max(abs(third), abs(other), abs(true))
                assert abs(sum(map(mpf, found)) - true) <= mpf(2) ** -148 * largest, (p, q)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("exp", -744, -690), ("sigmoid", -744, -690), ("softplus", -744, -690), ("normal_cdf", -38.4, -36)],
)
def test_pair_rounds_subnormal_results_to_two_ulp(name: str, low: float, high: float) -> None:
    x = np.linspace(low, high, 60)
    found = evaluate(Pair, name, x)[0]
    with mp.workprec(200):
        for here, y in zip(x.tolist(), found.tolist(), strict=True):
            assert abs(y - float(ORACLES[name](mpf(here)))) <= 2 * np.spacing(y), here


@pytest.mark.parametrize("arithmetic", [Double, Pair])
@pytest.mark.parametrize("name", DOUBLE_ERROR)
def test_limits(arithmetic: type, name: str) -> None:
    kind = np.float64 if arithmetic is Pair else np.float32
    x = np.array([-math.inf, -0.0, 0.0, math.inf, math.nan])
    found = evaluate(arithmetic, name, x)[0].astype(kind)
    wanted = np.array([*LIMITS[name], math.nan], kind)
    np.testing.assert_array_equal(found, wanted)
    zeros = wanted == 0
    if name not in {"exp", "sigmoid", "softplus", "normal_cdf", "normal_pdf"}:
        np.testing.assert_array_equal(np.signbit(found[zeros]), np.signbit(wanted[zeros]))


@pytest.mark.parametrize("name", ["expm1", "log1p", "tanh", "erf", "sin", "atan", "asinh"])
def test_pair_keeps_subnormals(name: str) -> None:
    x = np.array([5e-324, -5e-324, 3e-310, 2.3e-308])
    slope = 2 / math.sqrt(math.pi) if name == "erf" else 1.0
    np.testing.assert_array_equal(evaluate(Pair, name, x)[0], x * slope)


def test_sine_of_the_double_nearest_to_a_multiple_of_half_pi() -> None:
    x = math.ldexp(6381956970095103, 797)
    with mp.workprec(1200):
        true = mp.cos(mpf(x))
        for arithmetic, bound in ((Double, -40), (Pair, -57)):
            parts = evaluate(arithmetic, "cos", np.array([x]))
            found = sum((mpf(float(v[0])) for v in parts), mpf(0))
            assert mp.log(abs(found / true - 1) + mpf(2) ** -90, 2) < bound


@pytest.mark.parametrize("operation", ["add", "sub", "mul", "div", "minimum", "maximum"])
def test_pair_arithmetic_at_infinities_and_overflow(operation: str) -> None:
    """The high part is what f64 gives, whatever the error term does on the way."""
    values = [0.0, -0.0, 1.0, -3.5, 1e-310, 1.7e308, -1.7e308, math.inf, -math.inf, math.nan]
    x, y = (v.ravel() for v in np.meshgrid(values, values))
    program = Program()
    a = Pair(program)
    numbers = [a.from_value(program.input(k, "f64")) for k in (0, 1)]
    # Twice, so that the low part which the first operation leaves takes part in the second.
    twice = getattr(a, operation)(getattr(a, operation)(*numbers), numbers[1])
    found = run_program(program, [a.to_value(twice)], [x, y], "float64")[0]
    numpy_name = {"sub": "subtract", "mul": "multiply", "div": "divide"}.get(operation, operation)
    with np.errstate(all="ignore"):
        function = getattr(np, numpy_name)
        wanted = function(function(x, y), y)
    exact_here = np.isfinite(wanted)
    np.testing.assert_array_equal(found[~exact_here], wanted[~exact_here])
    np.testing.assert_allclose(found[exact_here], wanted[exact_here], rtol=1e-15, atol=1e-323)


@pytest.mark.parametrize("operation", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_pair_comparisons_see_the_low_part(operation: str) -> None:
    x = np.array([1.0, 1.0, 1.0, -2.0, math.inf, math.nan, math.inf, 0.0])
    low = np.array([0.0, 1e-17, -1e-17, 1e-17, math.nan, 0.0, 0.0, 0.0])
    y = np.array([1.0, 1.0, 1.0, -2.0, math.inf, 1.0, -math.inf, -0.0])
    program = Program()
    a = Pair(program)
    left = Wide(program.input(0, "f64"), program.input(1, "f64"))
    right = Wide(program.input(2, "f64"), None)
    truth_value = getattr(a, operation)(left, right)
    as_number = program.select(truth_value, program.const(1.0), program.const(0.0))
    found = run_program(program, [as_number], [x, low, y], "float64")[0]
    by_hand = getattr(operator, operation)
    wanted = [by_hand(p, q) if p != q else by_hand(0.0 if math.isinf(p) else e, 0.0)
              for p, e, q in zip(x.tolist(), low.tolist(), y.tolist(), strict=True)]  # fmt: skip
    np.testing.assert_array_equal(found.astype(bool), wanted)


def test_sums_rounded_to_odd() -> None:
    """Exact sums as they are, others as the neighbour whose last digit is odd"""
    next_ = math.nextafter
    cases = [(1.0, 0.0, 1.0), (1.0, 1e-20, next_(1, 2)), (1.0, -1e-20, next_(1, 0)), (-1.0, 1e-20, next_(-1, 0)),
             (-1.0, -1e-20, next_(-1, -2)), (next_(1, 2), 1e-20, next_(1, 2)), (next_(1, 2), -1e-20, next_(1, 2)),
             (math.inf, 1.0, math.inf), (-math.inf, 0.0, -math.inf), (3.0, math.nan, 3.0), (5e-324, 0.0, 5e-324)]  # fmt: skip
    high, low, wanted = map(np.array, zip(*cases, strict=True))
    program = Program()
    a = Odd(program)
    value = a.to_value(Wide(program.input(0, "f64"), program.input(1, "f64")))
    np.testing.assert_array_equal(run_program(program, [value], [high, low], "float64")[0], wanted)


#: in float64, from libraries that share nothing with ours
IN_FLOAT64: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(0, x),
    "normal_pdf": lambda x: np.exp(-x * x / 2) / math.sqrt(2 * math.pi),
    "normal_cdf": special.ndtr,
    "log": np.log,
    "log1p": np.log1p,
    "silu": lambda x: x * (1 / (1 + np.exp(-x))),
}


def single(name: str, x: np.ndarray) -> np.ndarray:
    program = Program()
    a = Single(program)
    number = a.from_value(program.input(0, "f32"))
    y = a.mul(number, a.sigmoid(number)) if name == "silu" else getattr(a, name)(number)
    return run_program(program, [a.to_value(y)], [x], "float32")[0]


def single_errors(name: str, x: np.ndarray) -> tuple[float, float]:
    """The largest errors in ULP where the result is normal, and where it is subnormal."""
    with np.errstate(all="ignore"):
        true = IN_FLOAT64[name](x.astype(np.float64))
        found = single(name, x).astype(np.float64)
        rounded = true.astype(np.float32).astype(np.float64)
        special = ~np.isfinite(rounded)
        size = np.maximum(abs(true), 2.0**-126)
        error = np.where(special, 0, abs(found - true) / np.spacing(size.astype(np.float32)))
    # Beside the overflow an infinity for the largest number, or the reverse, is one ULP.
    edge = special & np.isfinite(true)
    np.testing.assert_array_equal(found[special & ~edge], rounded[special & ~edge])
    assert (abs(found[edge]) >= 3.4028234e38).all()
    tiny = abs(true) < 2.0**-126
    return float(error[~tiny].max(initial=0)), float(error[tiny].max(initial=0))


def sample(count: int) -> np.ndarray:
    random = np.random.default_rng(count)
    bits = random.integers(0, 2**32, count, dtype=np.uint32).view(np.float32)
    signs = random.choice(np.array([-1, 1], np.float32), count)
    middle = signs * np.exp2(random.uniform(-24, 7.3, count)).astype(np.float32)
    return np.concatenate([bits, middle, np.linspace(-110, 90, count, dtype=np.float32)])


@pytest.mark.parametrize("name", SINGLE_ERROR)
def test_single_is_as_good_as_stated(name: str) -> None:
    normal, subnormal = single_errors(name, sample(100_000))
    assert normal <= SINGLE_ERROR[name]
    assert subnormal <= SINGLE_SUBNORMAL_ERROR


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SINGLE_ERROR)
def test_single_for_every_float32(name: str) -> None:
    step = 1 << 24
    for start in range(0, 1 << 32, step):
        x = np.arange(start, start + step, dtype=np.uint64).astype(np.uint32).view(np.float32)
        normal, subnormal = single_errors(name, x)
        assert normal <= SINGLE_ERROR[name], start
        assert subnormal <= SINGLE_SUBNORMAL_ERROR, start


def test_single_product_with_sigmoid_keeps_its_digits_and_rounds_once() -> None:
    """sigmoid(-95) is subnormal with 9 bits left; silu(-95) is too, but is right to its last one."""
    x = sample(100_000)
    normal, subnormal = single_errors("silu", x[abs(x) > 2.0**-100])
    assert normal <= 0.6
    assert subnormal <= SINGLE_SUBNORMAL_ERROR
    # of a tiny x the product with the low part is rounded, too
    assert max(single_errors("silu", x)) <= 1


@pytest.mark.parametrize("name", SINGLE_ERROR)
def test_single_limits(name: str) -> None:
    # NaNs of every payload stay NaN: an exponent set by integer addition could lose one.
    nans = np.array([0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF, 0x7FC00000], np.uint32).view(np.float32)
    assert np.isnan(single(name, nans)).all()
    x = np.array([-math.inf, -0.0, 0.0, math.inf], np.float32)
    found, wanted = single(name, x), np.array(LIMITS[name], np.float32)
    np.testing.assert_array_equal(found, wanted)
    if name in {"expm1", "tanh", "log1p"}:
        np.testing.assert_array_equal(np.signbit(found[1:3]), [True, False])


def test_single_multiplies_by_all_digits_of_a_literal() -> None:
    x = sample(20_000)
    x = x[np.isfinite(x) & (abs(x) > 1e-25) & (abs(x) < 1e37)]
    program = Program()
    a = Single(program)
    third = a.const(Fraction(1, 3))
    number = a.from_value(program.input(0, "f32"))
    results = [a.mul(number, third), a.div(number, a.const(Fraction(1, 3))), third]
    found = run_program(program, [a.to_value(r) for r in results], [x], "float32")
    for values, true in zip(found, (x.astype(np.float64) / 3, x.astype(np.float64) * 3), strict=False):
        assert (abs(values - true) / np.spacing(abs(true).astype(np.float32))).max() < 0.5001
    assert found[2][0] == np.float32(1 / 3)


def test_single_infinity_times_a_sum_of_two_stays_infinite() -> None:
    x = np.array([math.inf, -math.inf, 3e38, -0.0], np.float32)
    program = Program()
    a = Single(program)
    number = a.from_value(program.input(0, "f32"))
    results = [a.mul(number, a.const(1.702)), a.mul(number, a.sigmoid(a.neg(number)))]
    scaled, gated = run_program(program, [a.to_value(r) for r in results], [x], "float32")
    np.testing.assert_array_equal(scaled[:2], x[:2])
    assert np.signbit(scaled[3])
    assert gated[1] == -math.inf


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
    monkeypatch.setattr(coefficients, "EXPM1_DOUBLE", tuple(c))
    assert worst("exp", evaluate(Double, "exp", points("exp")))[0] > DOUBLE_ERROR["exp"]
    d = list(coefficients.MILLS_PAIR)
    d[1] = (d[1][0], 0.0)  # a lost low part
    monkeypatch.setattr(coefficients, "MILLS_PAIR", tuple(d))
    found = worst("normal_cdf", evaluate(Pair, "normal_cdf", points("normal_cdf")))[0]
    assert found > PAIR_ERROR["normal_cdf"]


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


@pytest.mark.parametrize(("arithmetic", "bound"), [(Double, 2.0**-40), (Pair, 2.0**-52)])
@pytest.mark.parametrize("exponent", [0, 1, 2, 7, -3, Fraction(5, 2), 1 / 3])
def test_powers(arithmetic: type, bound: float, exponent: float) -> None:
    x = np.exp2(np.random.default_rng(1).uniform(-20, 20, 500))
    program = Program()
    a = arithmetic(program)
    b = exponent if isinstance(exponent, int) else a.const(exponent)
    found = run_program(
        program, [a.to_value(a.power(a.from_value(program.input(0, "f64")), b))], [x], "float64"
    )
    np.testing.assert_allclose(found[0], x ** float(exponent), rtol=bound)


def test_double_divides_by_what_is_surely_positive_without_a_division() -> None:
    x = np.concatenate([points("atan"), [math.inf, -math.inf]])
    program = Program()
    a = Double(program)
    number = a.from_value(program.input(0, "f64"))
    y = a.div(a.const(1), a.add(a.const(1), a.abs(number)))
    assert "div" not in [i.op for _, i in program]
    found = run_program(program, [a.to_value(y)], [x], "float64")[0]
    np.testing.assert_allclose(found, 1 / (1 + abs(x)), rtol=2.0**-43, atol=1e-290)


@pytest.mark.parametrize("name", [*SINGLE_ERROR, "silu"])
def test_single_without_the_widest_registers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables in memory and powers of two as products, as on a machine without AVX-512."""
    x = sample(20_000)
    wide = single(name, x)
    monkeypatch.setattr(primitives_native, "features", frozenset)
    narrow = single(name, x)
    normal = abs(wide) >= 2.0**-126
    # the reciprocal is another: a last bit may differ
    np.testing.assert_allclose(narrow[normal], wide[normal], rtol=2.0**-22)
    np.testing.assert_allclose(narrow[~normal], wide[~normal], atol=2.0**-148, rtol=0)


def test_single_products_of_two_scaled_numbers_keep_their_exponents() -> None:
    """e^-70 e^-25 is subnormal, e^-70 and e^-25 are not; the fractions of both exponents add up, too."""
    x = np.linspace(-70, -1, 5000, dtype=np.float32)
    program = Program()
    a = Single(program)
    number = a.from_value(program.input(0, "f32"))
    shifted = a.from_value(program.add(program.input(0, "f32"), program.const(-25.0, "f32")))
    product = a.mul(a.exp(number), a.exp(shifted))
    found = run_program(program, [a.to_value(product)], [x], "float32")[0]
    true = np.exp(x.astype(np.float64)) * np.exp((x + np.float32(-25)).astype(np.float64))
    unit = np.spacing(np.maximum(true, 2.0**-126).astype(np.float32))
    assert (abs(found - true) / unit).max() < 2
