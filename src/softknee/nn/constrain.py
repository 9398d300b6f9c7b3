"""Learnable parameters kept where a definition allows them."""

from __future__ import annotations

import torch
from torch import Tensor

from softknee.catalogue.definition import Definition
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import compiled
from softknee.lang.nodes import Node, symbols_in

__all__ = ["constrain_"]

_MARGIN = 0.01  # how far inside an open range
_STEPS = 20


@torch.no_grad()
def constrain_(module: torch.nn.Module, definition: Definition) -> None:
    """Moves the module's parameters to the nearest values that satisfy the definition's constraints, as
    far as these depend on them; 0.01 inside where the bound itself is excluded."""
    conditions = [c for each in definition.constraints for c in _conjuncts(each)]
    for _ in range(_STEPS if len(conditions) > 1 else 1):  # one may undo another
        if not [c for c in conditions if _project(module, c)]:
            return


def _conjuncts(condition: Node) -> list[Node]:
    return [c for a in condition.args for c in _conjuncts(a)] if condition.op == "and" else [condition]


def _project(module: torch.nn.Module, condition: Node) -> bool:
    """Whether something had to move. One step of Newton's method along the gradient is the nearest point
    for a linear condition; further ones take care of curved conditions and of rounding."""
    if condition.op not in ("gt", "ge", "lt", "le", "ne"):
        return False
    one, other = condition.args
    inside = one - other if condition.op in ("gt", "ge", "ne") else other - one  # positive where it holds
    names = tuple(symbols_in(inside))
    values = [getattr(module, n, None) for n in names]
    learned = [n for n, v in zip(names, values, strict=True) if isinstance(v, torch.nn.Parameter)]
    if not learned or any(not isinstance(v, (Tensor, int, float)) for v in values):
        return False
    margin = 0.0 if condition.op in ("ge", "le") else _MARGIN
    slopes = tuple(derivative(inside, n) for n in learned)
    evaluate = compiled((inside, *slopes), names, "torch")
    moved = False
    for _ in range(_STEPS):
        now = [
            v.detach().double() if isinstance(v, Tensor) else torch.tensor(float(v)).double() for v in values
        ]
        at, *along = (torch.as_tensor(v, dtype=torch.float64) for v in evaluate(*now))
        short = margin - at
        if condition.op == "ne":  # away from 0, on the side where it is
            short = torch.where(at < 0, -margin - at, short)
            off = at.abs() < margin
        else:
            off = at < margin if margin else at < 0
        steepness = sum(a * a for a in along)
        off = off & (steepness > 0)
        if not bool(off.any()):
            break
        step = torch.where(off, short / torch.where(steepness > 0, steepness, 1), 0)
        changed = False
        for name, slope in zip(learned, along, strict=True):
            weight, before = getattr(module, name), getattr(module, name).clone()
            weight.copy_(weight.double() + step * slope)
            changed |= not torch.equal(before, weight)
        moved |= changed
        if not changed:  # nearer than the type's digits
            break
    return moved
