"""Moments under normal input, against printed tables, closed forms and a second quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from softknee.analysis import chi, expectation, gain, gaussian, variance_map
from softknee.catalogue import Definition, get, x
from softknee.lang import exp, sin, where

#: E f, E f^2, gain, chi, Q'(1), C(0) to the digits known from the literature and from independent code
TABLE = {
    "relu": (0.3989, 0.5000, 1.4142, 1, 1, 0.318),
    "elu": (0.1605, 0.6449, 1.2452, 1.036, 0.891, 0.040),
    "selu": (0, 1, 1, 1.072, 0.783, 0),
    "gelu": (0.2821, 0.4252, 1.5335, 1.072, 1.144, 0.187),
    "silu": (0.2066, 0.3558, 1.6765, 1.067, 1.173, 0.120),
    "mish": (0.2404, 0.4523, 1.4868, 1.059, 1.076, 0.128),
    "tanh": (0, 0.3943, 1.5925, 1.178, 0.461, 0),
    "sigmoid": (0.5, 0.2934, 1.8462, 0.153, 0.106, 0.852),
    "softplus": (0.8061, 0.9212, 1.0419, 0.318, 0.492, 0.705),
}


@pytest.mark.parametrize("name", TABLE)
def test_table(name: str) -> None:
    found = gaussian(get(name))
    computed = (
        found.mean, found.second_moment, found.gain, found.chi, found.variance_slope, found.correlation
    )  # fmt: skip
    for value, printed, places in zip(computed, TABLE[name], (4, 4, 4, 3, 3, 3), strict=True):
        assert round(value, places) == pytest.approx(printed, abs=1e-12)
        assert value.error < 1e-14


def test_closed_forms() -> None:
    relu, erf, step = (gaussian(get(name)) for name in ("relu", "erf", "binary_step"))
    assert relu.mean == pytest.approx(1 / math.sqrt(2 * math.pi), abs=1e-15)
    assert relu.correlation == pytest.approx(1 / math.pi, abs=1e-15)
    assert erf.second_moment == pytest.approx(2 / math.pi * math.asin(2 / 3), abs=1e-15)
    assert gaussian(get("gelu")).mean == pytest.approx(1 / (2 * math.sqrt(math.pi)), abs=1e-15)
    assert (step.second_moment, step.chi) == (pytest.approx(0.5, abs=1e-15), 0)
    assert abs(step.variance_slope) < 1e-15  # the sign of the input does not change with its scale


def test_second_moment_against_an_adaptive_rule() -> None:
    for name, parameters in (
        ("swish", {"beta": 20.0}),
        ("softshrink", {"lambd": 1.5}),
        ("celu", {"alpha": 0.01}),
    ):
        found = gaussian(get(name), **parameters)
        f = gaussian_integrand(name, parameters)
        reference = integrate.quad(f, -12, 12, points=[-1.5, 0, 1.5], epsabs=1e-13, limit=500)[0]
        assert found.second_moment == pytest.approx(reference, abs=1e-12), name


def gaussian_integrand(name: str, parameters: dict[str, float]):
    from softknee.lang.evaluate import evaluate

    expression = get(name).chosen({})
    values = {k: float(v) for k, v in get(name).defaults.items()} | parameters
    return lambda z: evaluate(expression, {"x": z, **values}, "float") ** 2 * stats.norm.pdf(z)


def test_a_sharp_transition() -> None:
    found = gaussian(get("swish"), beta=1000.0)  # mpmath, tanh-sinh on 18 panels
    assert found.second_moment == pytest.approx(0.49999999868754157193, abs=1e-15)


def test_jumps_need_no_declaration() -> None:
    """The panels are halved at a break that was not announced, and the error says what remains."""
    (value,), (error,) = expectation(lambda z: (z > math.sqrt(2)).astype(float)[None], [])
    assert value == pytest.approx(stats.norm.sf(math.sqrt(2)), abs=1e-12)
    assert error < 1e-11


def test_oscillation_and_growth() -> None:
    wave = Definition("wave", sin(50 * x), use="test")
    assert gaussian(wave).second_moment == pytest.approx((1 - math.exp(-5000)) / 2, abs=1e-13)
    growing = Definition("growing", exp(2 * x), use="test")
    assert gaussian(growing).second_moment == pytest.approx(math.exp(8), rel=1e-13)


def test_scaled_input_and_maps() -> None:
    relu, tanh = get("relu"), get("tanh")
    assert gaussian(relu, q=4.0).second_moment == pytest.approx(2, abs=1e-14)
    assert np.allclose(variance_map(relu, [0.5, 1, 3], weight_variance=2), [0.5, 1, 3], atol=1e-14)
    grown = variance_map(tanh, [0.1, 1.0, 10.0, 1e4], weight_variance=1.0, bias_variance=0.5)
    assert (np.diff(grown) > 0).all()
    assert grown[-1] == pytest.approx(1.5, abs=0.02)
    assert chi(relu, q=7.0) == pytest.approx(1 / 7, abs=1e-14)
    assert gain(get("leaky_relu"), negative_slope=1.0) == pytest.approx(1, abs=1e-14)
    with pytest.raises(ValueError, match="positive"):
        gaussian(relu, q=0.0)


def test_where_the_slope_of_q_comes_from() -> None:
    """Q'(1) is the derivative of q -> E f(sqrt(q) z)^2 / E f(z)^2."""
    for name in ("gelu", "selu", "sigmoid", "hardswish"):
        definition, h = get(name), 1e-5
        up, down = (gaussian(definition, q=1 + s * h).second_moment for s in (1, -1))
        found = gaussian(definition)
        assert (up - down) / (2 * h) / found.second_moment == pytest.approx(found.variance_slope, abs=1e-9)


def test_zero_function_has_no_gain() -> None:
    nothing = Definition("nothing", where(x > 1e6, x, 0), kinks={1e6: 0}, use="test")
    assert gaussian(nothing).gain == math.inf
