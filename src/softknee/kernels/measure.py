"""How far float32 arithmetic strays on one expression: measured, where `error.py` can only bound it.

Compiled for the CPU in float32 and in float64 arithmetic, at floats of all sizes and densely where
networks live. What counts around a root of a derivative is the error against 1/4, as in the laws.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from softknee.kernels.arrays import run_program
from softknee.kernels.lower import lower
from softknee.kernels.primitives import Double
from softknee.kernels.program import Program
from softknee.lang.nodes import Node, symbols_in

if TYPE_CHECKING:
    from numpy import ndarray

__all__ = ["AROUND_ROOT", "around_roots", "measured_error"]

#: the size below which derivatives around a root are measured absolutely
AROUND_ROOT = 0.25


def _points() -> ndarray[Any, Any]:
    """Sorted floats of either sign: over all exponents, densely within 20, thinly to 120, the largest."""
    import numpy as np

    random = np.random.default_rng(0)
    sizes = np.concatenate(
        [
            2.0 ** random.uniform(-149, 128, 6000),
            random.uniform(0, 20, 40000),
            random.uniform(0, 1, 6000),
            random.uniform(20, 120, 6000),
            [0.0, 2.0**-149, 2.0**-126, float(np.finfo("f4").max)],
        ]
    )
    found = np.sort(np.concatenate([sizes, -sizes]).astype("f4"))
    found = found[np.isfinite(found)]
    return found[np.append(True, found[1:] != found[:-1])]  # `unique` would import numpy.ma


@lru_cache(maxsize=4096)
def measured_error(root: Node, factors: frozenset[str], arithmetic: type, largest: float = math.inf) -> float:
    """The largest error of an expression in units of float32, before it is rounded to its result.

    factors: symbols that the rest, a derivative, is multiplied with; the unit around its roots is that
    of 1/4. Several other symbols: at random pairs of points. largest: of the inputs.
    """
    import numpy as np

    order = tuple(symbols_in(root))
    names = [n for n in order if n not in factors]
    points = _points()
    points = points[np.abs(points) <= largest]
    random = np.random.default_rng(1)
    given = {n: points if k == 0 else random.permutation(points) for k, n in enumerate(names)}
    if len(names) > 1:  # where networks live, too
        usual = {n: random.normal(0, 3, 60000).astype("f4") for n in names}
        given = {n: np.concatenate([given[n], usual[n]]) for n in names}
    count = len(next(iter(given.values()), points))
    arrays = [given[n] if n in given else np.ones(count, "f4") for n in order]
    values = []
    for kind, made in (("f32", arithmetic), ("f64", Double)):
        program = Program()
        inputs = {n: program.input(k, kind) for k, n in enumerate(order)}
        try:
            (result,) = lower([root], program, made(program), inputs)
        except (AttributeError, KeyError):  # a primitive that this arithmetic does not have
            return float("inf")
        out = "float32" if kind == "f32" else "float64"
        values.append(run_program(program, [result], arrays, "float32", out)[0])
    with np.errstate(all="ignore"):
        found, right = values[0].astype("f8"), values[1]
        rounded = right.astype("f4").astype("f8")
        unit = np.spacing(np.abs(np.where(np.isfinite(rounded), rounded, 1)).astype("f4")).astype("f8")
        if factors and len(names) == 1:
            unit = np.where(around_roots(right), np.maximum(unit, 2.0**-25), unit)
        error = np.abs(found - right) / unit
        same = (found == rounded) | (np.isnan(found) & np.isnan(right))
        return float(np.max(np.where(same, 0.0, np.where(np.isnan(error), np.inf, error)), initial=0.0))


def around_roots(y: ndarray[Any, Any]) -> ndarray[Any, Any]:
    """Where, between two neighbouring extrema, y goes through 0 and is smaller than 1/4."""
    import numpy as np

    direction = np.sign(np.diff(y))
    run = np.concatenate([[0], np.cumsum(np.diff(direction, prepend=direction[:1]) != 0)])
    low, high = np.full(run[-1] + 1, np.inf), np.full(run[-1] + 1, -np.inf)
    np.minimum.at(low, run, y)
    np.maximum.at(high, run, y)
    return (low[run] < 0) & (high[run] > 0) & (np.abs(y) < AROUND_ROOT)
