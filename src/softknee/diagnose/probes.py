"""Measurements: sums over samples, a few numbers a unit, on the device where the model is.

A `Site` is one activation in one place of a model; its `Moments` grow batch by batch and can be
added up over processes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from softknee.analysis.function import Function, function_of
from softknee.catalogue.definition import Definition
from softknee.diagnose.theory import FLAT, STILL, Profile, profile
from softknee.nn.runtime import runtime

__all__ = ["Moments", "Site", "by_unit", "slope_at"]


def by_unit(x: Tensor, dim: int) -> Tensor:
    """(values, units): one column a unit."""
    return x.movedim(dim, -1).reshape(-1, x.shape[dim]) if x.dim() > 1 else x.reshape(1, -1)


def slope_at(definition: Definition, x: Tensor, values: dict[str, Any], choices: dict[str, Any]) -> Tensor:
    """f'(x)"""
    detached = {n: v.detach() if isinstance(v, Tensor) else v for n, v in values.items()}
    return runtime(definition)(x, detached, choices, order=1)  # type: ignore[no-any-return]


class Moments:
    """Per unit, over all samples seen: sums of z, z^2, f, f^2, the extremes of f, how often the slope was alive, flat, and the output 0. Sums are float64, whatever the dtype."""

    SUMS = ("z", "zz", "f", "ff", "alive", "flat", "zero")

    def __init__(self) -> None:
        self.samples = 0
        self.values = 0
        self.bad = 0
        self.sums: Tensor | None = None
        self.f_low: Tensor
        self.f_high: Tensor

    def add(self, z: Tensor, f: Tensor, slope: Tensor, steepest: float, dim: int) -> None:
        self.samples += z.shape[0] if z.dim() else 1
        z, f, slope = by_unit(z, dim), by_unit(f, dim), by_unit(slope, dim).abs()
        self.values += z.shape[0]
        wide = torch.float64 if z.device.type != "mps" else torch.float32
        zw, fw = z.to(wide), f.to(wide)
        self.bad += int((~torch.isfinite(fw)).sum()) + int(torch.isnan(zw).sum())
        sums = torch.stack([
            zw.sum(0), (zw * zw).sum(0), fw.sum(0), (fw * fw).sum(0),
            (slope >= STILL * steepest).sum(0, dtype=wide), (slope < FLAT * steepest).sum(0, dtype=wide),
            (f == 0).sum(0, dtype=wide),
        ])  # fmt: skip
        low, high = f.amin(0), f.amax(0)
        if self.sums is None:
            self.sums = sums
            self.f_low, self.f_high = low, high
        else:
            self.sums += sums
            self.f_low = torch.minimum(self.f_low, low)
            self.f_high = torch.maximum(self.f_high, high)

    def per_unit(self, name: str) -> Tensor:
        """The mean over samples, one value a unit."""
        assert self.sums is not None
        return self.sums[self.SUMS.index(name)].cpu() / self.values

    def mean(self, name: str) -> float:
        return float(self.per_unit(name).mean())

    @property
    def variance(self) -> float:
        """Of z over samples, the mean over units."""
        return float((self.per_unit("zz") - self.per_unit("z") ** 2).clamp(min=0).mean())

    @property
    def variation(self) -> float:
        """The share of the output's second moment that differs from sample to sample."""
        second = self.per_unit("ff")
        total = float(second.sum())
        varying = float((second - self.per_unit("f") ** 2).clamp(min=0).sum())
        return varying / total if total > 0 else 0.0


@dataclass(eq=False)
class Site:
    """One activation in one place: what it is there, and what was measured."""

    key: tuple[
        Any, ...
    ]  # the module it was called in, and the weight before it, or the how manieth call that was
    module: str
    leaf: bool
    definition: Definition
    values: dict[str, Any]  # parameters that were given: numbers, or tensors that may be learnt
    choices: dict[str, Any]
    moments: Moments = field(default_factory=Moments)
    gradient: float = 0.0  # sum of squares at z, over all batches
    output_gradient: float = 0.0
    gradient_seen: bool = False
    gradient_bad: bool = False
    dim: int = -1
    layer: str = ""  # what it is called in findings
    gate: bool = False  # of a gated unit: its value multiplies another
    same: bool = False  # on everything that was seen, f(z) = z
    index: int = -1  # of its call

    @property
    def function(self) -> Function:
        numbers = {
            n: float(v.detach().float().mean()) if isinstance(v, Tensor) else v
            for n, v in self.values.items()
            if v is not None
        }
        return function_of(self.definition, self.choices, **numbers)

    @property
    def profile(self) -> Profile:
        return profile(self.function)

    @property
    def units(self) -> int:
        return 0 if self.moments.sums is None else self.moments.sums.shape[1]

    @property
    def dead(self) -> Tensor:
        """Which units had no slope on any sample."""
        return self.moments.per_unit("alive") == 0

    @property
    def label(self) -> str:
        shown = {
            n: v
            for n, v in self.function.values.items()
            if v != self.definition.defaults.get(n) and math.isfinite(float(v))
        }
        inside = ", ".join(f"{n}={float(v):.3g}" for n, v in shown.items())
        return f"{self.definition.name}({inside})" if inside else self.definition.name
