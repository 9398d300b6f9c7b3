"""What part of the plane a picture of a function shows. Drawing decisions, no mathematics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from softknee.analysis import Facts

__all__ = ["samples", "x_window", "y_window"]

_LEAST, _MOST = 4.0, 12.0


def x_window(known: Iterable[Facts]) -> tuple[float, float]:
    """[-4, 4], and farther where kinks and extrema stand farther out."""
    places = [0.0]
    for facts in known:
        places += [p for p in facts.breaks if abs(p) <= _MOST]
        places += [end for piece in facts.pieces for end in piece[:2] if abs(end) <= 8]
    low, high = min(places), max(places)
    return max(-_MOST, min(-_LEAST, low - 2)), min(_MOST, max(_LEAST, high + 2))


def y_window(
    curves: Sequence[np.ndarray], x_range: tuple[float, float], room: float = 0.06
) -> tuple[float, float]:
    """What the curves take up, but of those that grow steeply only a part; a little room around it."""
    finite = np.concatenate([c[np.isfinite(c)] for c in curves] or [np.zeros(1)])
    if not finite.size:
        return -1.0, 1.0
    most = max(abs(end) for end in x_range) * 1.05
    low, high = max(float(finite.min()), -most), min(float(finite.max()), most)
    low, high = min(low, 0.0), max(high, 0.0)
    span = high - low or 1.0
    return low - room * span, high + room * span


def samples(x_range: tuple[float, float], breaks: Iterable[float], count: int = 1201) -> np.ndarray:
    """Places to evaluate at, with both sides of every break among them."""
    x = np.linspace(*x_range, count)
    sides = [(np.nextafter(b, -math.inf), b, np.nextafter(b, math.inf)) for b in breaks]
    return np.unique(np.concatenate([x, np.array(sides).ravel()])).clip(*x_range)
