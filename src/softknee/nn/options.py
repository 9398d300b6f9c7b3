"""`softknee.options`: how results are computed, for a block of code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from softknee.nn.pointwise import Call, current

__all__ = ["current", "options"]


@contextmanager
def options(
    precision: Literal["default", "exact"] | None = None,
    saved: Literal["full", "output", "lean"] | None = None,
    bits: Literal[2, 3, 4, 8] | None = None,
) -> Iterator[None]:
    """Within the block, how results are computed and what is kept for their gradients.

    Args:
        precision: "default": float32 values within 2 ULP, as fast as that allows. "exact": within 0.51
            ULP, computed in float64.
        saved: "full": gradients are exact; kept is the input, or one to three bits an element where
            the derivative takes at most eight values. "output": as "full", but sigmoid, tanh, elu and
            every other function of one tensor whose slope is an expression of its value keep the output,
            as torch does: the layer after often keeps it, too. Where such a function saturates its gradient
            has no digits left (tanh: 0 from x = 9.01 on). "lean": of every slope of a function, or of
            a gate, a code of `bits` bits an element is kept, and it is rounded to the nearest of 2^bits levels, the best
            ones for inputs from N(0, 1), or with 8 bits equally spaced ones. Its error: docs/memory.md.
        bits: 2, 3, 4 (the default) or 8 with saved="lean".
    """
    if precision not in (None, "default", "exact"):
        raise ValueError(f'precision must be "default" or "exact", got {precision!r}')
    if saved not in (None, "full", "output", "lean"):
        raise ValueError(f'saved must be "full", "output" or "lean", got {saved!r}')
    if bits not in (None, 2, 3, 4, 8):
        raise ValueError(f"bits must be 2, 3, 4 or 8, got {bits!r}")
    before = current.call, current.kept, current.usual
    try:
        if precision is not None:
            current.call = Call(before[0].scalars, before[0].shapes, precision)
        current.kept = saved or current.kept[0], bits or current.kept[1]
        current.usual = False
        yield
    finally:
        current.call, current.kept, current.usual = before
