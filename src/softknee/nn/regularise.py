"""What a loss adds for activations and weights, and which parameters weight decay leaves alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from softknee.nn import recognise
from softknee.nn.gates import unit_of
from softknee.nn.recognise import chosen

__all__ = ["ActivityRegularizer", "WeightRegularizer", "parameter_groups"]


def parameter_groups(model: torch.nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """The model's parameters for an optimizer: those of activations in a group without weight decay.

    Decay would pull a slope, a beta or a threshold towards 0, that is, towards another function
    (PReLU towards ReLU). All other parameters are in the first group.

    >>> optimizer = torch.optim.AdamW(parameter_groups(model, weight_decay=0.01))
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"parameter_groups takes a torch.nn.Module, got {type(model).__name__}")
    if not (isinstance(weight_decay, (int, float)) and 0 <= weight_decay < math.inf):
        raise ValueError(f"weight_decay must be a finite number of 0 or more, got {weight_decay!r}")
    shapes = {id(p) for module in model.modules() for p in _of_activation(module)}
    decayed = [p for p in model.parameters() if id(p) not in shapes]
    exempt = [p for p in model.parameters() if id(p) in shapes]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": exempt, "weight_decay": 0.0}]
    return [g for g in groups if g["params"]]


def _of_activation(module: torch.nn.Module) -> Iterator[Tensor]:
    """The parameters with which a module shapes its activation; weights and biases are none."""
    ours = type(module).__module__.startswith("softknee.")
    known = recognise.module(module) is not None
    for name, p in module.named_parameters(recurse=False):
        if known or (ours and p.dim() < 2 and "bias" not in name and "weight" not in name):
            yield p


class _Regularizer:
    def __init__(self, model: torch.nn.Module, l1: float, l2: float, where: Any) -> None:
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"{type(self).__name__} takes a torch.nn.Module, got {type(model).__name__}")
        if not (where is None or isinstance(where, str) or callable(where)):
            raise TypeError(
                f"where must be a pattern or a predicate of name and module, got {type(where).__name__}"
            )
        for name, value in (("l1", l1), ("l2", l2)):
            if not (isinstance(value, (int, float)) and math.isfinite(value)):
                raise ValueError(f"{name} must be a finite number, got {value!r}")
        if l1 == l2 == 0:
            raise ValueError("give l1 or l2, the factor of sum |h| or sum h^2")
        self.l1, self.l2 = l1, l2

    def _penalty(self, t: Tensor) -> Tensor:
        wide = t.float() if t.dtype in (torch.float16, torch.bfloat16) else t
        total = self.l1 * wide.abs().sum() if self.l1 else 0
        return total + self.l2 * wide.square().sum() if self.l2 else total  # type: ignore[return-value]


class WeightRegularizer(_Regularizer):
    """l1 sum |w| + l2 sum w^2 over the weights of a model: all parameters of two dimensions or more, of
    layers that `where` chooses (a pattern of their names, or a predicate of name and module).

    >>> penalty = WeightRegularizer(model, l1=1e-5)
    >>> loss = cross_entropy(model(x), y) + penalty()
    """

    def __init__(self, model: torch.nn.Module, l1: float = 0.0, l2: float = 0.0, where: Any = None) -> None:
        super().__init__(model, l1, l2, where)
        found = {
            id(p): p
            for name, module in model.named_modules()
            if chosen(where, name, module)
            for p in module.parameters(recurse=False)
            if p.dim() > 1
        }
        self.weights = list(found.values())
        if not self.weights:
            raise ValueError(f"no weight to penalise{'' if where is None else f' where {where!r}'}")

    def __call__(self) -> Tensor:
        return torch.stack([self._penalty(w) for w in self.weights]).sum()


class ActivityRegularizer(_Regularizer):
    """l1 sum |h| + l2 sum h^2 over the outputs of activations, averaged over the batch (the first
    dimension): an L1 penalty makes units silent for most samples.

    It watches the activation modules and gated units of a model, or the modules that `where` chooses (a pattern of
    their names, or a predicate of name and module), while they train. Calling it returns the penalty of
    what was computed since the last call; `remove()` ends it.

    >>> penalty = ActivityRegularizer(model, l1=1e-4)
    >>> loss = cross_entropy(model(x), y) + penalty()
    """

    def __init__(self, model: torch.nn.Module, l1: float = 0.0, l2: float = 0.0, where: Any = None) -> None:
        super().__init__(model, l1, l2, where)
        self._seen: list[Tensor] = []
        self._handles = []
        for name, module in model.named_modules():
            active = recognise.module(module) or unit_of(module)
            if active is not None if where is None else chosen(where, name, module):
                self._handles.append(module.register_forward_hook(self._note))
        if not self._handles:
            raise ValueError(
                "no activation module to watch; name the modules with where=, or use modules for functional calls"
                if where is None
                else f"no module where {where!r}"
            )

    def _note(self, module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if not (module.training and torch.is_grad_enabled()):
            return
        if not isinstance(output, Tensor):
            raise TypeError(
                f"ActivityRegularizer: {type(module).__name__} returns a {type(output).__name__}, not a tensor"
            )
        self._seen.append(self._penalty(output) / max(output.shape[0] if output.dim() else 1, 1))

    def __call__(self) -> Tensor:
        if not self._seen:
            raise RuntimeError("nothing was computed in training mode since the last call")
        seen, self._seen = self._seen, []
        return torch.stack(seen).sum()

    def remove(self) -> None:
        """Ends the watch."""
        for handle in self._handles:
            handle.remove()
        self._seen.clear()
