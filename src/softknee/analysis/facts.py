"""All facts about one function, as one record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from softknee.analysis.function import Function, Measured, function_of
from softknee.analysis.gaussian import Gaussian, gaussian_of
from softknee.analysis.identities import Identity, identities
from softknee.analysis.kinks import Breaks, Kink, breaks_of
from softknee.analysis.roots import roots_of
from softknee.analysis.shape import (
    Direction,
    FixedPoint,
    Piece,
    Range,
    curvature,
    direction_of,
    fixed_points,
    limits_of,
    monotone_pieces,
    range_of,
    symmetry,
    turning,
)  # fmt: skip
from softknee.catalogue.definition import Choice, Definition
from softknee.lang.cost import Cost, derivative_costs
from softknee.lang.limits import Asymptote, Limit, asymptote
from softknee.lang.nodes import Number

__all__ = ["Facts", "facts"]

Saturation = Literal["none", "soft", "hard"]


@dataclass(frozen=True)
class Facts:
    """What is known of one activation for one choice of its parameters; everything is computed.

    Numbers of type Measured are floats with an `error`. All expectations are for a standard normal
    input, z ~ N(0, 1).

    range: the values f takes. limits: of f at -inf and +inf (None: it has none); limit_details says
    how each was found. asymptotes: the lines approached there. slope_range: the values f' takes.
    lipschitz: sup |f'|, inf where f jumps; lipschitz_at: where it is reached, +-inf if only there.
    kinks: where f' (or f) jumps; closed_kinks: declared in the definition, but f' is continuous
    there for these parameters; breaks: where f or a derivative of any order jumps. continuity,
    smoothness: the highest continuous derivative, as a number (-1: f jumps, inf) and in words: "discontinuous", "C0", "C1", ..., "C∞" (tested up to the 4th).
    monotone: rises or falls throughout (level stretches allowed); direction: which; pieces: where it
    rises and falls. curvature: convex, concave, linear or None. saturation: at -inf and +inf: hard,
    the slope is 0 from some point on; soft, it tends to 0; none.
    zeros: isolated roots; zero_intervals: where f is 0 throughout. zero_share: the probability that
    f(z) is exactly 0. flat_share: that f'(z) is exactly 0. fixed_points: f(x) = x.
    mean, second_moment, gain, chi, variance_slope, correlation: see softknee.analysis.Gaussian.
    zero_centred: the mean is 0. costs: of f, f' and f''.
    """

    name: str
    choices: Mapping[str, Choice]
    parameters: Mapping[str, Number]
    range: Range
    limits: tuple[float | None, float | None]
    limit_details: tuple[Limit, Limit]
    asymptotes: tuple[Asymptote, Asymptote]
    slope_range: Range
    slope_limits: tuple[float | None, float | None]
    lipschitz: Measured
    lipschitz_at: float
    kinks: tuple[Kink, ...]
    closed_kinks: tuple[float, ...]
    breaks: tuple[float, ...]
    continuity: float
    smoothness: str
    monotone: bool
    direction: Direction | None
    pieces: tuple[Piece, ...]
    curvature: Literal["convex", "concave", "linear"] | None
    odd: bool
    even: bool
    saturation: tuple[Saturation, Saturation]
    zeros: tuple[float, ...]
    zero_intervals: tuple[tuple[float, float], ...]
    zero_share: Measured
    flat_share: Measured
    fixed_points: tuple[FixedPoint, ...]
    gaussian: Gaussian
    identities: tuple[Identity, ...]
    costs: tuple[Cost, ...]

    @property
    def smooth(self) -> bool:
        return math.isinf(self.continuity)

    @property
    def bounded(self) -> bool:
        return math.isfinite(self.range.low) and math.isfinite(self.range.high)

    @property
    def mean(self) -> Measured:
        """E f(z), z ~ N(0, 1)"""
        return self.gaussian.mean

    @property
    def second_moment(self) -> Measured:
        """E f(z)^2, z ~ N(0, 1)"""
        return self.gaussian.second_moment

    @property
    def variance(self) -> Measured:
        """E f(z)^2 - (E f(z))^2, z ~ N(0, 1)"""
        return self.gaussian.variance

    @property
    def gain(self) -> Measured:
        """1 / sqrt(E f(z)^2), z ~ N(0, 1)"""
        return self.gaussian.gain

    @property
    def chi(self) -> Measured:
        """E f'(z)^2 / E f(z)^2, z ~ N(0, 1)"""
        return self.gaussian.chi

    @property
    def variance_slope(self) -> Measured:
        """Q'(1) = E[f(z) f'(z) z] / E f(z)^2, z ~ N(0, 1)"""
        return self.gaussian.variance_slope

    @property
    def correlation(self) -> Measured:
        """C(0) = (E f(z))^2 / E f(z)^2, z ~ N(0, 1)"""
        return self.gaussian.correlation

    @property
    def zero_centred(self) -> bool:
        return abs(self.mean) <= max(1e-13, 4 * self.mean.error)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What follows from the facts and is easily overlooked."""
        found = []
        if self.flat_share >= 1:
            found.append("The derivative is 0 almost everywhere: no gradient passes through it.")
        if any(k.jump for k in self.kinks):
            places = ", ".join(f"{k.place:g}" for k in self.kinks if k.jump)
            found.append(f"The function jumps at {places}; the gradient does not see the jump.")
        if undeclared := [k for k in self.kinks if not k.declared]:
            places = ", ".join(f"{k.place:g}" for k in undeclared)
            found.append(f"The kink at {places} is not declared in the definition.")
        if self.zero_centred and abs(self.second_moment - 1) < 1e-12 and 1e-9 < self.variance_slope < 1:
            found.append("Mean 0 and variance 1 are an attracting fixed point: it normalises itself.")
        return tuple(found)

    def _repr_html_(self) -> str:
        from importlib import import_module  # the page is made above this layer, on use

        return str(import_module("softknee.show.facts").html(self))


def facts(definition: Definition, choices: Mapping[str, Choice] | None = None, /, **parameters: Any) -> Facts:
    """Everything known of an activation for these choices and parameters, both given by name.

    A parameter without a default must be given; one that is out of range is a ValueError.
    """
    return _facts(function_of(definition, choices, **parameters))


@lru_cache(maxsize=512)
def _facts(function: Function) -> Facts:
    breaks = breaks_of(function)
    ends, slope_ends = limits_of(function, 0), limits_of(function, 1)
    rising, bending = turning(function, 0, breaks), turning(function, 1, breaks)
    slopes = range_of(function, 1, breaks, bending, slope_ends)
    pieces = monotone_pieces(function, breaks, rising)
    direction = direction_of(pieces, breaks)
    zeros, zero_intervals = roots_of(function.order(0), breaks.places)
    lines = tuple(asymptote(function.order(0), at) for at in (-math.inf, math.inf))
    mirrored = symmetry(function, breaks)
    steepest, where = _lipschitz(slopes, slope_ends, breaks)
    return Facts(
        name=function.name,
        choices=function.choices,
        parameters=function.values,
        range=range_of(function, 0, breaks, rising, ends),
        limits=(ends[0].value, ends[1].value),
        limit_details=ends,
        asymptotes=(lines[0], lines[1]),
        slope_range=slopes,
        slope_limits=(slope_ends[0].value, slope_ends[1].value),
        lipschitz=steepest,
        lipschitz_at=where,
        kinks=breaks.kinks,
        closed_kinks=breaks.closed,
        breaks=breaks.places,
        continuity=breaks.order,
        smoothness=breaks.smoothness,
        monotone=direction is not None,
        direction=direction,
        pieces=pieces,
        curvature=curvature(function, breaks, bending),
        odd=mirrored == "odd",
        even=mirrored == "even",
        saturation=(_saturation(slope_ends[0]), _saturation(slope_ends[1])),
        zeros=tuple(zeros),
        zero_intervals=tuple(zero_intervals),
        zero_share=_share(zero_intervals),
        flat_share=_share([(p.low, p.high) for p in rising if p.sign == 0]),
        fixed_points=fixed_points(function, breaks),
        gaussian=gaussian_of(function, breaks.places),
        identities=identities(function),
        costs=derivative_costs(function.order(0)),
    )


def _lipschitz(slopes: Range, ends: tuple[Limit, Limit], breaks: Breaks) -> tuple[Measured, float]:
    if breaks.order < 0:
        return Measured(math.inf), next((k.place for k in breaks.kinks if k.jump), math.nan)
    value, at = max(((-slopes.low, slopes.low_at), (slopes.high, slopes.high_at)), key=lambda pair: pair[0])
    measured = Measured(value, max(slopes.low.error, slopes.high.error))
    if at is not None:
        return measured, min(at, key=abs)
    sides = [k.place for k in breaks.kinks if value in (abs(k.left), abs(k.right))]
    if sides:
        return measured, sides[0]
    return measured, -math.inf if ends[0].value is not None and abs(ends[0].value) == value else math.inf


def _saturation(slope: Limit) -> Saturation:
    if slope.value != 0:
        return "none"
    return "hard" if slope.side == 0 else "soft"


def _share(intervals: list[tuple[float, float]]) -> Measured:
    """The probability that z ~ N(0, 1) falls into one of these."""
    total = sum((math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2))) / 2 for a, b in intervals)
    return Measured(total, 2.3e-16 if intervals else 0.0)
