"""The edge of chaos: the weights and biases with which neither signals nor gradients grow with depth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

from softknee.analysis.gaussian import gaussian
from softknee.catalogue.definition import Choice, Definition

__all__ = ["EdgeOfChaos", "edge_of_chaos"]

_LOWEST, _HIGHEST, _POINTS = 1e-4, 1e4, 40


class EdgeOfChaos(NamedTuple):
    """gain: the standard deviation of the weights times sqrt(fan_in). bias_std: that of the biases.
    q: the second moment at which the inputs of the function stay. variance_slope: by which a deviation
    from q is multiplied in a layer; the fixed point is stable where it is below 1."""

    gain: float
    bias_std: float
    q: float
    variance_slope: float


def edge_of_chaos(
    definition: Definition,
    choices: Mapping[str, Choice] | None = None,
    /,
    *,
    bias_std: float = 0.2,
    **parameters: Any,
) -> EdgeOfChaos:
    """The weights' gain with which chi = gain^2 E f'(sqrt(q) z)^2 is 1 at the fixed point q of
    q = gain^2 E f(sqrt(q) z)^2 + bias_std^2, z ~ N(0, 1).

    There may be several; the one with the smallest q is returned. A function with f(c x) = c f(x) has
    one for bias_std = 0 only, at every q (1 is returned). No such point is a ValueError.

    Source: Schoenholz, Gilmer, Ganguli, Sohl-Dickstein (2016), Deep information propagation, section 3.
    """
    if not (isinstance(bias_std, (int, float)) and 0 <= bias_std < math.inf):
        raise ValueError(f"bias_std must be a finite number of 0 or more, got {bias_std!r}")

    def moments(q: float) -> tuple[float, float, float]:
        found = gaussian(definition, choices, q=q, **parameters)
        return float(found.second_moment), float(found.slope_second_moment), float(found.variance_slope)

    def excess(log_q: float) -> float:
        """How far the map at chi = 1 moves q, relative to q."""
        q = math.exp(log_q)
        second, slope, _ = moments(q)
        return (second / slope + bias_std * bias_std) / q - 1 if slope > 0 else math.nan

    grid = np.linspace(math.log(_LOWEST), math.log(_HIGHEST), _POINTS)
    root, before, low = None, grid[0], excess(grid[0])
    level = abs(low) < 1e-9
    for after in grid[1:]:
        high = excess(after)
        level = level and abs(high) < 1e-9
        if low * high <= 0 and not level:
            root = float(brentq(excess, before, after, xtol=1e-13, rtol=1e-13))
            break
        before, low = after, high
    if level and bias_std == 0:
        root = 0.0
    if root is None:
        remedy = "give bias_std=0" if bias_std else "give a positive bias_std"
        raise ValueError(
            f"{definition.name} has no edge of chaos with bias_std={bias_std:g} (q from {_LOWEST:g} to "
            f"{_HIGHEST:g}); {remedy}, or another function"
        )
    q = math.exp(root)
    second, slope, change = moments(q)
    # the slope of q -> gain^2 E f(sqrt(q) z)^2 is E[f f' z] / sqrt(q) = change * second / q
    return EdgeOfChaos(1 / math.sqrt(slope), float(bias_std), q, change * second / slope / q)
