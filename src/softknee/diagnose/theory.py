"""What an activation makes of normal input z ~ N(m, v), quickly: for comparing with what was measured.

`softknee.analysis.gaussian` computes such integrals to the last digit; here a sum over 4,001 points
is exact to about three digits, for any activation with the parameters it has in a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from softknee.analysis.function import Function

__all__ = ["FLAT", "STILL", "Expected", "Profile", "expected", "profile"]

#: a slope below this share of the steepest counts as flat: the unit is saturated there
FLAT = 1e-2
#: below this one, no gradient to speak of passes: a unit that never leaves it is dead
STILL = 1e-3

_Z = np.linspace(-8, 8, 4001)
_WEIGHT = np.exp(-_Z * _Z / 2)
_WEIGHT /= _WEIGHT.sum()
_GRID = np.concatenate([np.linspace(-30, 30, 6001), np.linspace(-3e-3, 3e-3, 13)])


@dataclass(frozen=True)
class Profile:
    """The properties of an activation that the rules ask for, over [-30, 30].

    steepest: max |f'|. lowest, highest: of f. flat_below, flat_above: the slope dies out there.
    squashing: bounded, monotone, from 0 to 1. linear: f is a straight line. self_normalising: keeps
    N(0, 1) at N(0, 1) with weights of variance 1 / fan_in. gain: 1 / sqrt(E f^2). growth: the slope of
    the map of second moments at its fixed point, Q'(1). offset: (E f)^2 / E f^2.
    """

    steepest: float
    lowest: float
    highest: float
    flat_below: bool
    flat_above: bool
    monotone: bool
    squashing: bool
    linear: bool
    self_normalising: bool
    gain: float
    growth: float
    offset: float
    flat_share: float

    @property
    def bounded(self) -> bool:
        return self.flat_below and self.flat_above


@dataclass(frozen=True)
class Expected:
    """For z ~ N(m, v): E f, E f^2, E f'^2, the probability of a flat slope and of an output of 0."""

    mean: float
    second_moment: float
    slope_second_moment: float
    flat: float
    zero: float


@lru_cache(maxsize=256)
def profile(function: Function) -> Profile:
    both = function.numpy(0, 1)
    with np.errstate(all="ignore"):
        f, slope = (np.nan_to_num(v, nan=0.0, posinf=1e300, neginf=-1e300) for v in both(_GRID))
        central = both(_Z)[0]
    core = slope[:6001]
    steepest = float(np.max(np.abs(slope[np.abs(_GRID) <= 10]))) or 1.0
    mean = float(_WEIGHT @ central)
    second = float(_WEIGHT @ (central * central))
    change = float(_WEIGHT @ (central * central * (_Z * _Z - 1))) / 2
    edge = 1e-4 * steepest
    flat_below, flat_above = bool(abs(core[0]) < edge), bool(abs(core[-1]) < edge)
    lowest, highest = float(f.min()), float(f.max())
    monotone = bool((np.diff(f[:6001]) >= -1e-9).all() or (np.diff(f[:6001]) <= 1e-9).all())
    line = np.polyfit(_GRID[:6001], f[:6001], 1)
    linear = bool(np.max(np.abs(np.polyval(line, _GRID[:6001]) - f[:6001])) < 0.02 * (np.ptp(f) + 1e-300))
    flat = float(_WEIGHT @ (np.abs(both(_Z)[1]) < FLAT * steepest))
    return Profile(
        steepest, lowest, highest, flat_below, flat_above, monotone,
        flat_below and flat_above and monotone and abs(lowest) < 1e-3 and abs(highest - 1) < 1e-3,
        linear, abs(mean) < 1e-3 and abs(second - 1) < 1e-3 and change < 1,
        1 / math.sqrt(second) if second > 0 else math.inf,
        change / second if second > 0 else math.nan,
        mean * mean / second if second > 0 else 0.0,
        flat,
    )  # fmt: skip


def expected(function: Function, mean: float, variance: float) -> Expected | None:
    """None where a moment is not finite."""
    if not (math.isfinite(mean) and math.isfinite(variance)) or variance < 0:
        return None
    z = mean + math.sqrt(variance) * _Z
    with np.errstate(all="ignore"):
        f, slope = function.numpy(0, 1)(z)
        values = [
            float(_WEIGHT @ v)
            for v in (
                f,
                f * f,
                slope * slope,
                (np.abs(slope) < FLAT * profile(function).steepest).astype(float),
                (f == 0).astype(float),
            )
        ]
    return Expected(*values) if all(map(math.isfinite, values)) else None
