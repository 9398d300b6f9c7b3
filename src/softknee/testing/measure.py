"""How exact an implementation is, point by point: for pictures and tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from softknee.analysis.function import split_arguments
from softknee.catalogue.definition import Definition
from softknee.nn.runtime import runtime
from softknee.testing.metric import ulp_error
from softknee.testing.oracle import Exact

__all__ = ["ulp_errors"]

_DTYPES = ("float32", "float64", "bfloat16", "float16")


def ulp_errors(
    definition: Definition,
    dtype: str = "float32",
    x: tuple[float, float] = (-10.0, 10.0),
    *,
    count: int = 401,
    peer: str = "softknee",
    **settings: Any,
) -> tuple[list[float], list[float]]:
    """Places, and the error there in units in the last place of the correctly rounded value.

    peer: "softknee", or "torch" for torch.nn.functional's function of that name.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype!r}")
    if not x[0] < x[1]:
        raise ValueError(f"the range of x must rise, got {x}")
    choices, values = split_arguments(definition, {}, settings)
    given = {p.name: settings[p.name] for p in definition.parameters if p.name in settings}
    at = torch.from_numpy(np.linspace(*x, count)).to(getattr(torch, dtype))
    if peer == "torch":
        if definition.torch is None:
            raise ValueError(f"torch.nn.functional has no {definition.name}")
        got = getattr(torch.nn.functional, definition.torch)(at)
    else:
        got = runtime(definition)(at, given, choices)
    exact = Exact(definition.chosen(choices), values, definition.kinks)
    places = [float(v) for v in at.double()]
    ulps = [
        ulp_error(float(value), exact.value(place), dtype)
        for place, value in zip(places, got.double(), strict=True)
    ]
    return places, ulps
