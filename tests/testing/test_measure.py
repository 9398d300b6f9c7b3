"""What measures must itself be right: the error metric, the hard points, the truth."""

from __future__ import annotations

import math

import mpmath as mp
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import softknee as sk
from softknee.lang import exp, symbol, tanh, where
from softknee.testing import Exact, hard_points, log_uniform, ulp_error
from softknee.testing.metric import FORMATS, format_of, rounded

x = symbol("x")
INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("got", "exact", "dtype", "error"),
    [
        (1.0, 1.0, "float64", 0.0),
        (1.0, 1.0 + 2.0**-52, "float64", 1.0),
        (1.0, 1.0 - 2.0**-53, "float64", 1.0),  # below a power of two the unit is half as large
        (0.0, -0.0, "float32", 0.0),
        (0.0, 2.0**-149, "float32", 1.0),
        (0.0, 2.0**-151, "float32", 0.25),  # less than half the smallest: 0 is right
        (2.0**-149, 0.0, "float32", 1.0),
        (NAN, NAN, "float32", 0.0),
        (NAN, 1.0, "float32", INF),
        (1.0, NAN, "float32", INF),
        (INF, INF, "float16", 0.0),
        (-INF, INF, "float16", 4096.0),
        (INF, 65504.0, "float16", 1.0),  # infinity is the number after the largest
        (65504.0, INF, "float16", 1.0),
        (INF, 65520.0, "float16", 0.0),  # rounds to infinity
        (65504.0, 65519.0, "float16", 15 / 32),
        (3.0, 3.0 + 2.0**-7, "bfloat16", 0.5),
        (1e-8, 0.0, "float64", 1e-8 / 2.0**-1074),
    ],
)
def test_ulp_error(got: float, exact: float, dtype: str, error: float) -> None:
    assert (
        ulp_error(got, exact, dtype) == pytest.approx(error, rel=1e-12)
        or ulp_error(got, exact, dtype) == error
    )


def test_around_a_root_the_unit_is_that_of_a_quarter() -> None:
    assert ulp_error(1e-9, 0.0, "float32", floor=0.25) == pytest.approx(1e-9 / 2.0**-25)
    assert ulp_error(3.0, 3.0 + 2.0**-21, "float32", floor=0.25) == 2.0  # never a smaller one


@given(st.floats(allow_nan=False), st.sampled_from(sorted(FORMATS)))
def test_rounding_is_torchs(value: float, dtype: str) -> None:
    if dtype in ("float16", "bfloat16"):  # to these torch goes by way of float32, rounding twice
        value = float(torch.tensor(value, dtype=torch.float64).float())
    want = float(torch.tensor(value, dtype=torch.float64).to(getattr(torch, dtype)))
    assert float(rounded(mp.mpf(value), dtype)) == want


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_half_a_unit_is_the_best(value: float) -> None:
    assert ulp_error(float(rounded(mp.mpf(value) / 3, "float32")), mp.mpf(value) / 3, "float32") <= 0.5


@pytest.mark.parametrize("dtype", sorted(FORMATS))
def test_hard_points(dtype: str) -> None:
    form = format_of(dtype)
    points = hard_points(sk.get("hardswish").definition, dtype)
    finite = [v for v in points if math.isfinite(v)]
    assert math.isnan(points[-1])
    assert {INF, -INF, 3.0, -3.0, form.largest, -form.largest, form.smallest, -form.smallest} <= set(points)
    assert any(v == 0 and math.copysign(1, v) < 0 for v in points)
    assert {3 - 2 * 2.0 ** (1 - form.precision), 3 + 2 * 2.0 ** (1 - form.precision)} <= set(points)
    assert all(float(rounded(v, dtype)) == v for v in finite)
    assert len({v.hex() for v in points[:-1]}) == len(points) - 1
    root = min(finite, key=lambda v: abs(v + 1.5))  # of the derivative
    assert abs(root + 1.5) < 2.0 ** (1 - form.precision)


def test_samples_cover_the_range() -> None:
    points = log_uniform("float32", 200)
    assert points == log_uniform("float32", 200)
    assert min(map(abs, points)) < 1e-35
    assert max(map(abs, points)) > 1e30
    assert sum(2**-10 < abs(v) < 64 for v in points) > 90


@pytest.mark.parametrize("at", [-745.25, -100.0, -1.5, 1e-300, 1.0, 40.0])
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_the_truth_of_a_known_function(at: float, order: int) -> None:
    """tanh(x/2) and its derivatives in closed form, to 20 digits, also where only the last bits move."""
    with mp.workdps(900):
        s = 1 / (1 + mp.exp(-mp.mpf(at)))
        c = 1 - s
        closed = (s - c, 2 * s * c, 2 * s * c * (c - s), 2 * s * c * ((c - s) ** 2 - 2 * s * c))[order]
        found = Exact(tanh(x / 2)).derivative(at, order)
        assert abs(found - closed) <= mp.mpf(10) ** -19 * abs(closed)


def test_the_truth_at_kinks_and_jumps() -> None:
    bent = where(x > 0, x, x / 4)
    assert mp.isnan(Exact(bent).derivative(0.0))
    for slope, value in (("left", 0.25), ("right", 1.0), ("mean", 0.625), (0.5, 0.5)):
        assert abs(Exact(bent, kinks={symbol("k"): slope}, values={"k": 0.0}).derivative(0.0) - value) < 1e-30
    assert abs(Exact(bent).derivative(5e-324) - 1) < 1e-30
    assert abs(Exact(bent).derivative(-5e-324) - 0.25) < 1e-30
    smooth = where(x > 0, x + x * x, exp(x) - 1)
    assert abs(Exact(smooth).derivative(0.0) - 1) < 1e-15  # both sides agree: no kink
    assert mp.isnan(Exact(smooth).derivative(0.0, 2))
