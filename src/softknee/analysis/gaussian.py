"""What a function makes of a standard normal input z ~ N(0, 1), by quadrature.

The integrals are computed by Gauss-Legendre quadrature on panels that end at the function's breaks
and are halved until two halves agree with the whole; Gauss-Hermite rules, blind to kinks, are not
used. Every result carries an estimate of its error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from softknee.analysis.function import Array, Function, Measured, evaluated, factors_of
from softknee.analysis.kinks import breaks_of
from softknee.catalogue.definition import Choice, Definition

__all__ = ["Gaussian", "chi", "expectation", "gain", "gaussian", "gaussian_of", "variance_map"]

_REACH = 38.5  # beyond, the density is below the smallest normal float64
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_TOLERANCE = 1e-13
_LEVELS = 40
_PANELS = 20_000


@dataclass(frozen=True)
class Gaussian:
    """Moments of f(z) for an input z = sqrt(q) u with u ~ N(0, 1); q = 1 unless said.

    mean: E f. second_moment: E f^2. variance: E f^2 - (E f)^2. gain: 1 / sqrt(E f^2), the factor on
    the weights that keeps the second moment at q layer after layer. slope_second_moment: E f'^2.
    chi: E f'^2 / E f^2, by which the squared gradient grows in a layer with that gain (with a jump
    in f, the jump contributes nothing: it has no gradient). variance_slope: Q'(1) = E[f f' z] / E f^2,
    the slope of the map of second moments at its fixed point: below 1 it is stable (computed as
    E[f^2 (z^2 - 1)] / (2 E f^2), which holds for jumps too). correlation: C(0) = (E f)^2 / E f^2, the
    correlation of the outputs for two uncorrelated inputs.

    For a gated unit f(z, u): of independent z and u, each of variance q. Its gradient is the one by both
    inputs, so slope_second_moment is E f_z^2 + E f_u^2.
    """

    q: float
    mean: Measured
    second_moment: Measured
    variance: Measured
    gain: Measured
    slope_second_moment: Measured
    chi: Measured
    variance_slope: Measured
    correlation: Measured


def expectation(
    integrand: Callable[[Array], Array], breaks: Iterable[float] = (), reach: float = _REACH
) -> tuple[Array, Array]:
    """E g(z) for z ~ N(0, 1), and an error estimate, for each row of g(points) -> (rows, points).

    breaks: where g or one of its derivatives jumps.
    """
    inner = sorted(b for b in set(breaks) if abs(b) < reach)
    edges = np.unique(np.concatenate([np.linspace(-reach, reach, 78), inner, [0.0]]))
    low, high = edges[:-1], edges[1:]
    whole = _panels(integrand, low, high)
    total, error = np.zeros(len(whole)), np.zeros(len(whole))
    size = np.nansum(np.abs(whole), axis=1) + 1e-300
    for _ in range(_LEVELS):
        middle = (low + high) / 2
        left, right = _panels(integrand, low, middle), _panels(integrand, middle, high)
        difference = np.abs(left + right - whole)
        with np.errstate(invalid="ignore"):
            done = (difference <= _TOLERANCE * 0.01 * size[:, None]).all(axis=0) | (high - low < 1e-12)
            done |= ~np.isfinite(difference).all(axis=0)
        total += (left + right)[:, done].sum(axis=1)
        error += difference[:, done].sum(axis=1)
        if done.all():
            return total, error + 4e-16 * size
        keep = ~done
        if keep.sum() > _PANELS:  # a singularity: say that what remains is unknown
            rest = (left + right)[:, keep].sum(axis=1)
            return total + rest, error + np.abs(rest)
        low, high = np.concatenate([low[keep], middle[keep]]), np.concatenate([middle[keep], high[keep]])
        whole = np.concatenate([left[:, keep], right[:, keep]], axis=1)
    return total + whole.sum(axis=1), error + np.abs(whole).sum(axis=1)


def _panels(integrand: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """The integrals of g(z) phi(z) over each panel: (rows, panels)."""
    half = (high - low) / 2
    points = ((low + high) / 2)[:, None] + half[:, None] * _NODES
    density = np.exp(-points * points / 2) / math.sqrt(2 * math.pi)
    with np.errstate(all="ignore"):
        values = integrand(points.ravel()).reshape(-1, *points.shape)
        return ((values * density) @ _WEIGHTS) * half


def gaussian_of(function: Function, breaks: Iterable[float] | None = None, q: float = 1.0) -> Gaussian:
    """The moments of one function of one variable; its breaks are found unless given."""
    if q <= 0 or not math.isfinite(q):
        raise ValueError(f"the input's second moment q must be positive and finite, got {q!r}")
    places = breaks_of(function).places if breaks is None else breaks
    roots, scale = (function.order(0), function.order(1)), math.sqrt(q)

    def integrand(z: Array) -> Array:
        f, slope = evaluated(roots, scale * z)
        return np.stack([f, f * f, slope * slope, f * f * (z * z - 1) / 2])

    values, errors = expectation(integrand, [p / scale for p in places])
    return _made(q, *(Measured(v, e) for v, e in zip(values, errors, strict=True)))


def _made(q: float, mean: Measured, second: Measured, slopes: Measured, change: Measured) -> Gaussian:
    """From E f, E f^2, E f'^2 and E[f^2 (z^2 - 1)] / 2."""
    relative = second.error / second if second > 0 else 0.0
    gain = 1 / math.sqrt(second) if second > 0 else math.inf

    def over(top: float, error: float) -> Measured:
        """top / E f^2"""
        ratio = top / second if second > 0 else math.nan
        return Measured(ratio, error / second + abs(ratio) * relative if second > 0 else 0.0)

    square_error = 2 * abs(mean) * mean.error
    return Gaussian(
        q=q,
        mean=mean,
        second_moment=second,
        variance=Measured(second - mean * mean, second.error + square_error),
        gain=Measured(gain, gain * relative / 2 if second > 0 else 0.0),
        slope_second_moment=slopes,
        chi=over(slopes, slopes.error),
        variance_slope=over(change, change.error),
        correlation=over(mean * mean, square_error),
    )


def _multiplied(factors: list[Gaussian]) -> Gaussian:
    """The moments of a product of functions of independent inputs."""

    def product(*parts: Measured) -> Measured:
        errors = (p.error * math.prod(abs(o) for o in parts if o is not p) for p in parts)
        return Measured(math.prod(parts), sum(errors))

    def by_each(name: str) -> Measured:
        """The sum over the factors of one's moment times the second moments of the others."""
        terms = []
        for f in factors:
            own = getattr(f, name)
            own = (
                Measured(own * f.second_moment, own.error * f.second_moment)
                if name != "slope_second_moment"
                else own
            )
            terms.append(product(own, *(o.second_moment for o in factors if o is not f)))
        return Measured(sum(terms), sum(t.error for t in terms))

    mean, second = (product(*(getattr(f, n) for f in factors)) for n in ("mean", "second_moment"))
    return _made(factors[0].q, mean, second, by_each("slope_second_moment"), by_each("variance_slope"))


@lru_cache(maxsize=512)
def _cached(function: Function, q: float) -> Gaussian:
    return gaussian_of(function, q=q)


def gaussian(
    definition: Definition,
    choices: Mapping[str, Choice] | None = None,
    /,
    *,
    q: float = 1.0,
    **parameters: Any,
) -> Gaussian:
    """The moments of an activation, or of a gated unit, under N(0, q) input, for these choices and
    parameters."""
    factors = factors_of(definition, choices, **parameters)
    return _cached(factors[0], q) if len(factors) == 1 else _multiplied([_cached(f, q) for f in factors])


def gain(
    definition: Definition, choices: Mapping[str, Choice] | None = None, /, **parameters: Any
) -> Measured:
    """1 / sqrt(E f(z)^2): initialise weights with the variance gain^2 / fan_in to keep second moments."""
    return gaussian(definition, choices, **parameters).gain


def chi(
    definition: Definition,
    choices: Mapping[str, Choice] | None = None,
    /,
    *,
    q: float = 1.0,
    **parameters: Any,
) -> Measured:
    """E f'(z)^2 / E f(z)^2 at the input second moment q."""
    return gaussian(definition, choices, q=q, **parameters).chi


def variance_map(
    definition: Definition,
    q: Iterable[float],
    choices: Mapping[str, Choice] | None = None,
    /,
    *,
    weight_variance: float = 1.0,
    bias_variance: float = 0.0,
    **parameters: Any,
) -> Array:
    """q -> weight_variance E f(sqrt(q) z)^2 + bias_variance: the second moment one layer later."""
    second = [gaussian(definition, choices, q=float(one), **parameters).second_moment for one in q]
    return weight_variance * np.array(second, dtype=np.float64) + bias_variance
