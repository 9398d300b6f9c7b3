"""`softknee.init`: initial weights for any activation, its gain computed by quadrature.

torch.nn.init's functions are here under their names; `he_normal_` and its kin take the name of an
activation, and `initialize_` reads from a model which activation follows each of its layers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from softknee import catalogue
from softknee.analysis import EdgeOfChaos, gaussian
from softknee.analysis import edge_of_chaos as _edge_of_chaos
from softknee.catalogue.definition import Definition
from softknee.catalogue.gates import GATES
from softknee.nn import recognise
from softknee.nn.follow import LAYERS, neighbours
from softknee.nn.gates import unit_of
from softknee.nn.recognise import Known, table

__all__ = [
    "EdgeOfChaos", "Initialised", "Row", "edge_of_chaos", "gain", "he_normal_", "he_uniform_", "initialize_",
    "lecun_normal_", "lecun_uniform_",
]  # fmt: skip

Activation = Any  # a name, a softknee.Activation, a module, or None for no activation
Scheme = Literal["he", "xavier", "lecun", "edge_of_chaos"]
_SCHEMES = ("he", "xavier", "lecun", "edge_of_chaos")
_GROWTH = 1.5  # a deviation that grows this much over the depth is worth a warning


def __getattr__(name: str) -> Any:
    if not name.startswith("__") and hasattr(torch.nn.init, name):
        return getattr(torch.nn.init, name)
    raise AttributeError(f"neither softknee.init nor torch.nn.init has {name!r}")


# One activation


def gain(activation: Activation, **parameters: Any) -> float:
    """1 / sqrt(E f(z)^2), z ~ N(0, 1): with weights of the variance gain^2 / fan_in, pre-activations of
    variance 1 keep it from layer to layer.

    activation: a name, an Activation, a module; None, for a layer that none follows, is 1. A gated unit
    (by name, or a module) counts with independent inputs of variance 1. The result is a float with an
    estimate of its `error`. (torch.nn.init.calculate_gain knows six functions, and
    rounds two of them to 5/3 and 3/4.)

    >>> round(gain("gelu"), 4), round(gain("leaky_relu", negative_slope=0.2), 4)
    (1.5335, 1.3868)
    """
    known = _known(activation, parameters)
    return 1.0 if known is None else _moments(known).gain


def edge_of_chaos(activation: Activation, *, bias_std: float = 0.2, **parameters: Any) -> EdgeOfChaos:
    """The gain of the weights and the standard deviation of the biases with which gradients neither grow
    nor shrink with depth; see `EdgeOfChaos` for what is returned.

    >>> round(edge_of_chaos("tanh", bias_std=0.2).gain, 3)
    1.304
    """
    known = _known(activation, parameters)
    if known is None:
        raise ValueError("edge_of_chaos needs an activation, got None")
    return _edge_of_chaos(known.definition, known.choices, bias_std=bias_std, **known.values)


def _known(activation: Activation, parameters: Mapping[str, Any]) -> Known | None:
    if activation is None:
        if parameters:
            raise TypeError(f"no activation, but parameters for it: {', '.join(parameters)}")
        return None
    if isinstance(activation, torch.nn.Module):
        known = recognise.module(activation) or unit_of(activation)
        if known is None:
            raise TypeError(f"{type(activation).__name__} is not a module of an activation of the catalogue")
    else:
        definition = getattr(activation, "definition", activation)
        if isinstance(definition, str):
            unit = next((g.definition for g in GATES if g.name == definition), None)
            definition = unit or catalogue.get(definition)
        if not isinstance(definition, Definition):
            raise TypeError(f"an activation is given by its name or as a module, got {activation!r:.60}")
        known = Known(definition)
    choices = {n: v for n, v in parameters.items() if n in known.definition.choices}
    values = {n: v for n, v in parameters.items() if n not in choices}
    return Known(known.definition, {**known.values, **values}, {**known.choices, **choices})


def _moments(known: Known) -> Any:
    return gaussian(known.definition, known.choices, **known.values)


# One tensor


def _fans(tensor: Tensor, who: str) -> tuple[int, int]:
    """fan_in and fan_out as torch counts them."""
    if tensor.dim() < 2:
        raise ValueError(
            f"{who}: fan_in and fan_out need a weight of 2 dimensions or more, got the shape {tuple(tensor.shape)}"
        )
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _fan(tensor: Tensor, mode: str, who: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'{who}: mode must be "fan_in" or "fan_out", got {mode!r}')
    return _fans(tensor, who)[mode == "fan_out"]


def _filled(tensor: Tensor, std: float, distribution: str, generator: torch.Generator | None) -> Tensor:
    with torch.no_grad():
        if distribution == "normal":
            return tensor.normal_(0, std, generator=generator)
        bound = math.sqrt(3) * std
        return tensor.uniform_(-bound, bound, generator=generator)


def he_normal_(
    tensor: Tensor, activation: Activation = "relu", mode: str = "fan_in", *,
    generator: torch.Generator | None = None, **parameters: Any,
) -> Tensor:  # fmt: skip
    """Fills the tensor from N(0, gain^2 / fan), with the gain of any activation: `kaiming_normal_` for
    all of them.

    Source: He, Zhang, Ren, Sun (2015), Delving deep into rectifiers, equation 10.
    """
    std = gain(activation, **parameters) / math.sqrt(max(_fan(tensor, mode, "he_normal_"), 1))
    return _filled(tensor, std, "normal", generator)


def he_uniform_(
    tensor: Tensor, activation: Activation = "relu", mode: str = "fan_in", *,
    generator: torch.Generator | None = None, **parameters: Any,
) -> Tensor:  # fmt: skip
    """Fills the tensor from U(-b, b), b = gain sqrt(3 / fan), with the gain of any activation."""
    std = gain(activation, **parameters) / math.sqrt(max(_fan(tensor, mode, "he_uniform_"), 1))
    return _filled(tensor, std, "uniform", generator)


def lecun_normal_(tensor: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Fills the tensor from N(0, 1 / fan_in); what self-normalising networks need.

    Source: LeCun, Bottou, Orr, Müller (1998), Efficient backprop, equation 16.
    """
    std = 1 / math.sqrt(max(_fan(tensor, "fan_in", "lecun_normal_"), 1))
    return _filled(tensor, std, "normal", generator)


def lecun_uniform_(tensor: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Fills the tensor from U(-b, b), b = sqrt(3 / fan_in)."""
    std = 1 / math.sqrt(max(_fan(tensor, "fan_in", "lecun_uniform_"), 1))
    return _filled(tensor, std, "uniform", generator)


# A model


@dataclass(frozen=True)
class Row:
    """What one layer got. activation: the one it was initialised for; None where there is none."""

    layer: str
    activation: str | None
    gain: float
    weight_std: float
    bias: float
    note: str = ""


@dataclass(frozen=True)
class Initialised:
    """What `initialize_` did. unstable: activation -> the factor by which a deviation of the second
    moment grows in a layer. unseen: what it left
    alone or could not read, and why."""

    rows: tuple[Row, ...]
    unstable: Mapping[str, float] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()

    def __str__(self) -> str:
        head = ("layer", "activation", "gain", "weight std", "bias", "note")
        lines = [
            (
                r.layer or "(the model)",
                r.activation or "none",
                f"{r.gain:.4f}",
                f"{r.weight_std:.4g}",
                f"{r.bias:g}",
                r.note,
            )
            for r in self.rows
        ]
        return "\n".join([table(head, lines), *(f"note: {text}" for text in self.unseen)])


def initialize_(
    model: torch.nn.Module,
    scheme: Scheme = "he",
    *,
    activation: Activation | Literal["read"] = "read",
    side: Literal["after", "before"] = "after",
    distribution: Literal["normal", "uniform"] = "normal",
    bias: float = 0.0,
    bias_std: float = 0.2,
    generator: torch.Generator | None = None,
) -> Initialised:
    """Initialises every linear and convolutional layer for the activation that follows it.

    Which one that is, is read from the model with torch.fx, so that functional calls count; where
    torch.fx cannot trace, from the modules in their order. Weights have the mean 0 and the standard
    deviation gain / sqrt(fan_in), the gain computed by quadrature ("he"); gain sqrt(2 / (fan_in + fan_out))
    ("xavier"); 1 / sqrt(fan_in) ("lecun"). "edge_of_chaos" takes the pair of `edge_of_chaos`: biases
    are normal with the standard deviation bias_std then. Otherwise biases are 0.

    Args:
        model: any module; it is changed in place
        scheme: "he", "xavier", "lecun" or "edge_of_chaos"
        activation: the activation of every layer but the last of each path, instead of reading it
        side: "after": the gain is that of the activation after a layer (torch's habit). "before": of the
            one before, through which its input came: then pre-activations have variance 1 from the first
            layer on, also where the gain of f is not scale free
        distribution: of the weights; both have the same variance
        bias: what the biases of layers with an activation are set to; small and positive (0.1),
            units of a rectifier start alive
        bias_std: of the biases at the edge of chaos
        generator: where the numbers come from

    Returns what it did; print it. Warns where the gain is an unstable fixed point and the model is
    deep and plain enough for that to matter: a second moment that is off by a little drifts away,
    layer by layer. Layers that share their weight are initialised once.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"initialize_ takes a torch.nn.Module, got {type(model).__name__}")
    for name, value, offered in (
        ("scheme", scheme, _SCHEMES), ("side", side, ("after", "before")), ("distribution", distribution, ("normal", "uniform")),
    ):  # fmt: skip
        if value not in offered:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, offered))}, got {value!r}")
    if not (isinstance(bias, (int, float)) and math.isfinite(bias)):
        raise ValueError(f"bias must be a finite number, got {bias!r}")
    if bias and scheme == "edge_of_chaos":
        raise ValueError("edge_of_chaos draws the biases from N(0, bias_std^2): give bias_std, not bias")
    reading = isinstance(activation, str) and activation == "read"
    forced = None if reading else _known(activation, {})
    found, unseen = neighbours(model)
    if not found:
        unseen.append("no linear or convolutional layer to initialise")
    rows: list[Row] = []
    growing: dict[str, tuple[Known, list[float]]] = {}
    done: set[int] = set()
    counted: set[int] = set()  # a gated unit stands behind two layers
    for layer, around in found.items():
        module = model.get_submodule(layer)
        reason = _untouchable(module, model, done)
        if reason:
            unseen.append(f"{layer or type(module).__name__}: {reason}")
            continue
        if reading:
            known, note = _chosen(around.after if side == "after" else around.before, around.note)
        else:
            known, note = None if around.last else forced, ""
        shared = side == "after" and known is not None and len(known.definition.inputs) > 1
        std, factor, spread, more = _scale(known, scheme, module.weight, bias_std, 0.5 if shared else 1.0)
        if shared and factor != 1:
            note = "; ".join(filter(None, (note, f"with the other factor, the gain {factor**2:.4f}")))
        _filled(module.weight, std, distribution, generator)
        done.add(id(module.weight))
        constant = bias if known is not None else 0.0
        if getattr(module, "bias", None) is not None:
            with torch.no_grad():
                if spread:
                    module.bias.normal_(0, spread, generator=generator)
                else:
                    module.bias.fill_(constant)
        notes = "; ".join(filter(None, (note, more)))
        rows.append(Row(layer, known and str(known), factor, std, constant, notes))
        if known is not None and scheme == "he" and not around.normalised and not more:
            slope = float(_moments(known).variance_slope)
            if slope > 1 + 1e-9 and id(known) not in counted:
                counted.add(id(known))
                growing.setdefault(str(known), (known, []))[1].append(slope)
    unstable = {}
    for name, (known, slopes) in growing.items():
        if (growth := math.prod(slopes)) >= _GROWTH and len(slopes) > 1:
            unstable[name] = slopes[0]
            warnings.warn(_advice(known, slopes[0], growth, len(slopes)), UserWarning, stacklevel=2)
    return Initialised(tuple(rows), unstable, tuple(unseen))


def _chosen(candidates: list[Known], note: str) -> tuple[Known | None, str]:
    """The first of the activations beside a layer, and what there is to say about it."""
    different = {str(k): k for k in candidates}
    if not different:
        return None, note
    first, *others = different.values()
    return first, f"also {', '.join(map(str, others))}: the gain is for {first}" if others else ""


def _scale(
    known: Known | None, scheme: str, weight: Tensor, bias_std: float, share: float
) -> tuple[float, float, float, str]:
    """The standard deviation of the weights, the gain, the standard deviation of the biases, a note.
    share: the power of the gain that this layer gets; a gated unit is a product, of two layers' results."""
    fan_in, fan_out = (max(n, 1) for n in _fans(weight, "initialize_"))
    factor, spread, note = 1.0, 0.0, ""
    if known is not None and scheme != "lecun":
        try:
            if scheme == "edge_of_chaos":
                point = _edge_of_chaos(known.definition, known.choices, bias_std=bias_std, **known.values)
                factor, spread = point.gain, bias_std
            else:
                factor = float(_moments(known).gain) ** share
        except (TypeError, ValueError) as error:  # a parameter without a value; no edge of chaos
            note = f"gain 1: {error}"
        if not 0 < factor < math.inf:
            factor, note = 1.0, f"gain 1: {known} has none (E f^2 is 0 or infinite)"
    if scheme == "xavier":
        return factor * math.sqrt(2 / (fan_in + fan_out)), factor, spread, note
    return factor / math.sqrt(fan_in), factor, spread, note


def _untouchable(module: torch.nn.Module, model: torch.nn.Module, done: set[int]) -> str:
    """Why the weight of a layer is left alone; empty where it is not."""
    if torch.nn.utils.parametrize.is_parametrized(module, "weight") or "weight" not in module._parameters:
        return "its weight is computed from others (weight norm, or another parametrization)"
    if isinstance(module.weight, torch.nn.parameter.UninitializedParameter):
        return "its weight has no shape yet; call the model once, then initialize_"
    if not module.weight.is_floating_point():
        return f"its weight is {module.weight.dtype}"
    if id(module.weight) in done:
        return "it shares the weight of a layer above"
    for name, other in model.named_modules():
        if not isinstance(other, LAYERS) and any(p is module.weight for p in other._parameters.values()):
            return f"it shares its weight with {name} ({type(other).__name__})"
    return ""


def _advice(known: Known, slope: float, growth: float, layers: int) -> str:
    text = (
        f"{known}: its gain is an unstable fixed point. In a plain network, a second moment that is off by a "
        f"little drifts away {slope:.2f}-fold a layer, {growth:.3g}-fold over the {layers} layers here. Normalise, "
        "add residual connections"
    )
    try:
        point = _edge_of_chaos(known.definition, known.choices, **known.values)
    except ValueError:
        return f"{text}, or take another activation"
    return (
        f'{text}, or use scheme="edge_of_chaos" (gain {point.gain:.3f}, bias_std {point.bias_std:g}), where the '
        f"factor is {point.variance_slope:.2f}"
    )
