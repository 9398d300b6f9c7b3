"""Activations that a module computes inside, and the same module with another one in their place.

Gated units know theirs by name; torch's recurrent layers and cells are torch's kernels. With another function
they are `GatedUnit`s, and the layers of `softknee.nn.recurrent` around the same parameters.
"""

from __future__ import annotations

from typing import Any

import torch

from softknee import catalogue
from softknee.nn import recognise, recurrent
from softknee.nn.gates import GatedUnit
from softknee.nn.recognise import Known

__all__ = ["closed", "inside", "with_another"]

_RECURRENT = {getattr(torch.nn, name): getattr(recurrent, name) for name in recurrent.__all__}


def inside(module: torch.nn.Module) -> dict[str, Known]:
    """The activations that no child of the module is; by what they are called there."""
    if isinstance(module, GatedUnit):
        known = recognise.with_values(catalogue.get(module.activation), lambda n: getattr(module, n, None))
        return {"activation": known}
    if type(module) is torch.nn.GLU:
        return {"activation": Known(catalogue.get("sigmoid"))}
    if type(module) in _RECURRENT:
        given = getattr(module, "nonlinearity", "tanh")
        gates = {} if hasattr(module, "nonlinearity") else {"gate": "sigmoid"}
    elif type(module) in _RECURRENT.values():
        given, gates = module.activation, {"gate": module.gate} if hasattr(module, "gate") else {}
    else:
        return {}
    names = {"activation": given, **gates}  # those that are modules are children
    return {n: Known(catalogue.get(f)) for n, f in names.items() if isinstance(f, str)}


def closed(module: torch.nn.Module) -> bool:
    """Whether it computes activations inside that are not known here: a class derived from torch's recurrent ones."""
    known = (*_RECURRENT, *_RECURRENT.values())
    return isinstance(module, (torch.nn.RNNBase, torch.nn.RNNCellBase)) and type(module) not in known


def with_another(module: torch.nn.Module, name: str, new: torch.nn.Module) -> torch.nn.Module | str:
    """A module like this one, with its parameters, that has `new` inside in the place called name; or why
    there is none."""
    if isinstance(module, (GatedUnit, torch.nn.GLU)):
        return _unit(module, new)
    made: Any = object.__new__(_RECURRENT.get(type(module), type(module)))
    vars(made).update(vars(module))
    made._modules = dict(module._modules)
    for n, known in inside(module).items():
        vars(made).setdefault(n, known.definition.name)
    if hasattr(made, "nonlinearity"):
        made.nonlinearity = str(recognise.module(new) or "...")
    vars(made).pop(name)
    setattr(made, name, new)
    made._ours = True
    return made  # type: ignore[no-any-return]


def _unit(module: Any, new: torch.nn.Module) -> torch.nn.Module | str:
    known = recognise.module(new)
    if known is None:
        return "a gated unit takes an activation of the catalogue"
    if getattr(module.named, "other", None) if isinstance(module, GatedUnit) else None:
        return "softknee.nn has no unit with both of these functions"
    learned = [p.name for p in known.definition.learnable] if list(new.parameters()) else []
    options = {"gate_first": False}
    if isinstance(module, GatedUnit):
        options = {n: getattr(module, n) for n in ("gate_first", "interleaved", "num_parameters")}
    made = GatedUnit(
        known.definition.name, module.dim, learnable=learned, **options, **known.values, **known.choices
    )
    for n in ("limit", "offset"):
        if hasattr(module, n):
            setattr(made, n, getattr(module, n))
    return made
