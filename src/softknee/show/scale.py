"""Axes for scores: where they begin and end, and their ticks. Drawing decisions, no statistics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from softknee.compare.records import Level


@dataclass(frozen=True)
class Scale:
    """A linear axis from `low` to `high`."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high end, never beyond."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def scale(low: float, high: float, count: int = 4) -> Scale:
    """The smallest axis with round ends that holds both values, with about `count` steps."""
    span = max(high - low, 1e-3)
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= span / count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return Scale(first * step, last * step, tuple(i * step for i in range(first, last + 1)))


def scale_of(level: Level, seeds: bool = True) -> Scale:
    """The axis of a ranking: it holds every mean, its interval and (`seeds`) every seed, but those of activations
    so far below the others that these could not be told apart on it."""
    lowest = fenced(s.score.mean for s in level.standings)[0]
    near = [s for s in level.standings if s.score.mean >= lowest]
    values = [v for s in near for v in (s.score.mean, *finite((s.score.low, s.score.high)))]
    values += [v for s in near for v in s.scores if seeds]
    return scale(min(values), min(1.0, max(values)))


def fenced(values: Iterable[float]) -> list[float]:
    """The values in order, without those far below the others."""
    found = sorted(values)
    lower, upper = found[len(found) // 4], found[(3 * len(found)) // 4]
    return [v for v in found if v >= lower - max(6 * (upper - lower), 0.02)]


def finite(values: Iterable[float]) -> list[float]:
    return [v for v in values if math.isfinite(v)]
