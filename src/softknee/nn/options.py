"""`softknee.options`: how results are computed, for a block of code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from softknee.nn.pointwise import Call, current

__all__ = ["current", "options"]


@contextmanager
def options(precision: Literal["default", "exact"] | None = None) -> Iterator[None]:
    """Within the block, results are computed to this precision.

    "default": float32 values within 2 ULP, as fast as that allows. "exact": within 0.51 ULP,
    computed in float64.
    """
    if precision not in (None, "default", "exact"):
        raise ValueError(f'precision must be "default" or "exact", got {precision!r}')
    before = current.call
    try:
        if precision is not None:
            current.call = Call(before.scalars, before.shapes, precision)
        yield
    finally:
        current.call = before
