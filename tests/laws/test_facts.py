"""Over the whole catalogue: what a definition says of itself is what is computed."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest

from softknee import catalogue
from softknee.analysis import Facts, expectation, facts, function_of
from softknee.analysis.function import evaluated
from softknee.catalogue import Definition

DEFINITIONS = catalogue.all_definitions()
CASES = [(d, dict(zip(d.choices, key, strict=True))) for d in DEFINITIONS for key in d.expression]
#: for parameters that have no default, and to leave special values such as alpha = 1
ODD_VALUES = (0.71, 1.37, 0.23, 2.9)

every = pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
every_case = pytest.mark.parametrize(
    ("definition", "choices"),
    CASES,
    ids=[f"{d.name}-{'-'.join(map(str, c.values()))}".rstrip("-") for d, c in CASES],
)


def required(definition: Definition) -> dict[str, float]:
    missing = [p.name for p in definition.parameters if p.default is None]
    return dict(zip(missing, ODD_VALUES, strict=False))


def of(definition: Definition, choices: dict[str, object] | None = None) -> Facts:
    return facts(definition, choices, **required(definition))  # type: ignore[arg-type]


@every
def test_claims(definition: Definition) -> None:
    claims, found = definition.claims, of(definition)
    low, high = found.range[:2]

    def says(name: str, claimed: object, computed: object) -> None:
        if isinstance(claimed, float | int) and not isinstance(claimed, bool):
            digits = len(repr(float(claimed)).split(".")[1]) if math.isfinite(claimed) else 0
            assert computed == pytest.approx(claimed, abs=0.6 * 10.0**-digits), name
        elif claimed is not None:
            assert computed == claimed, name

    for name, claimed, computed in (
        ("range", claims.range, (low, high)),
        ("limits", claims.limits, found.limits),
    ):
        for c, f in zip(claimed or (), computed, strict=False):
            says(name, c, f)
    says("minimum", claims.minimum, low)
    says("maximum", claims.maximum, high)
    if claims.minimum_at is not None:
        assert found.range.low_at is not None
        says("minimum_at", claims.minimum_at, found.range.low_at[0])
    says("smooth", claims.smooth, found.smooth)
    says("monotone", claims.monotone, found.monotone)
    says("odd", claims.odd, found.odd)
    says("even", claims.even, found.even)
    says("zero_at_zero", claims.zero_at_zero, evaluate_at_zero(definition) == 0)


def evaluate_at_zero(definition: Definition) -> float:
    return float(function_of(definition, **required(definition)).exact(0))


@every_case
def test_every_kink_is_declared(definition: Definition, choices: dict[str, object]) -> None:
    assert [k for k in of(definition, choices).kinks if not k.declared] == []


def unusual(definition: Definition) -> list[dict[str, float]]:
    """Parameter values away from the special ones, as far as the constraints allow."""
    found = []
    for factor in ODD_VALUES[:2]:
        values = {
            p.name: float(p.default or 0.3) * factor + 0.013 * i for i, p in enumerate(definition.parameters)
        }
        try:
            function_of(definition, **values)
        except ValueError:
            continue
        found.append(values)
    return found


@every
def test_every_declared_kink_is_there(definition: Definition) -> None:
    """For some parameter values the slope jumps at each place the definition declares."""
    open_somewhere = [
        len(facts(definition, **v).closed_kinks) == 0 for v in [*unusual(definition), required(definition)]
    ]
    assert any(open_somewhere)
    for values in unusual(definition):
        assert [k for k in facts(definition, **values).kinks if not k.declared] == []


@every_case
def test_facts_against_samples(definition: Definition, choices: dict[str, object]) -> None:
    """Range, slopes, monotone pieces and moments, measured on a dense sample."""
    found = of(definition, choices)
    function = function_of(definition, choices, **required(definition))  # type: ignore[arg-type]
    x = np.linspace(-12, 12, 48_001) + 1e-4
    f, slope = evaluated((function.order(0), function.order(1)), x)
    room = 1e-9 * (1 + np.abs(f).max())
    assert f.min() >= found.range.low - room
    assert f.max() <= found.range.high + room
    assert np.abs(slope).max() <= found.lipschitz * (1 + 1e-9)
    if math.isfinite(found.lipschitz):
        assert np.abs(np.diff(f)).max() <= found.lipschitz * (x[1] - x[0]) * (1 + 1e-6)
    for piece in found.pieces:
        inside = f[(x > piece.low) & (x < piece.high)]
        step = {"increasing": 1, "decreasing": -1, "constant": 0}[piece.direction]
        steps = np.diff(inside)
        assert (steps * step >= -room).all() if step else (np.abs(steps) <= room).all()
    for zero in found.zeros:
        assert abs(function.exact(zero)) <= 1e-14 * (1 + abs(zero))
    for point in found.fixed_points:
        if point.low == point.high:
            assert float(function.exact(point.low)) == pytest.approx(point.low, abs=1e-13)


@every_case
def test_stein(definition: Definition, choices: dict[str, object]) -> None:
    """E f'(z) = E z f(z), and the two forms of Q'(1): the slopes and the moments, each from the other."""
    found = of(definition, choices)
    if found.continuity < 0:
        pytest.skip("f jumps: the jump is no part of f'")
    function = function_of(definition, choices, **required(definition))  # type: ignore[arg-type]

    def rows(z: np.ndarray) -> np.ndarray:
        f, slope = evaluated((function.order(0), function.order(1)), z)
        return np.stack([slope, z * f, f * slope * z])

    (slopes, moment, cross), errors = expectation(rows, found.breaks)
    assert slopes == pytest.approx(moment, abs=1e-12 + 4 * errors.max())
    assert cross / found.second_moment == pytest.approx(found.variance_slope, rel=1e-12)


@pytest.mark.parametrize("definition", DEFINITIONS[::9], ids=lambda d: d.name)
def test_moments_against_mpmath(definition: Definition) -> None:
    """A second quadrature that shares nothing with the first: tanh-sinh in 25 digits."""
    found = of(definition)
    function = function_of(definition, **required(definition))
    with mp.workdps(25):
        places = sorted({-20, -6, -2, 0, 2, 6, 20, *(b for b in found.breaks if abs(b) < 20)})
        for k, expected in ((1, found.mean), (2, found.second_moment)):
            moment = mp.quad(lambda x, k=k: function.exact(x, 0, 16) ** k * mp.npdf(x), places, maxdegree=5)
            assert abs(moment - expected) <= max(1e-13, 2 * expected.error)
