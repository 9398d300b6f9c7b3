"""Faults planted in healthy networks, at several strengths and places, with what a diagnosis must say of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from networks import ACTIVATIONS, MLP, build
from torch import Tensor, nn

__all__ = ["Planted", "planted"]


@dataclass
class Planted:
    """rule: what is to be found; layers: names that count as the right place (None: any); cause: a word that the
    cause must contain. healthy: family, activation and seed of the same network without the fault, where there is
    one that learns."""

    rule: str
    what: str
    model: nn.Module
    layers: tuple[str, ...] | None = None
    cause: str = ""
    inputs: Callable[[Tensor], Tensor] = lambda x: x
    optimizer: Any = None
    loss: str = "cross_entropy"
    healthy: tuple[str, str, int] | None = None


@torch.no_grad()
def planted(seed: int = 0) -> Iterator[Planted]:
    for group in (_dead, _saturated, _gates, _flow, _scales, _inputs, _ends, _structure, _broken, _learnt):
        yield from group(seed)


def _twin(family: str, act: str, seed: int) -> tuple[nn.Module, tuple[str, str, int]]:
    """A network to plant a fault in, and what it is."""
    return build(family, act, seed).model, (family, act, seed)


def _dead(seed: int) -> Iterator[Planted]:
    def fault(what: str, model: nn.Module, layers: tuple[str, ...], healthy: Any) -> Planted:
        return Planted("dead-units", what, model, layers, "bias", healthy=healthy)

    for act in ("relu", "relu6", "ours: mish"):
        for layer in (0, 2, 4):
            for share, bias in ((0.15, -60.0), (0.3, -30.0 if act == "ours: mish" else -10.0), (1.0, -60.0)):
                model, healthy = _twin("mlp", act, seed)
                model[layer].bias[: int(64 * share)] = bias
                where = (str(layer), str(layer + 1))
                yield fault(f"{act}, {share:.0%}, bias {bias:g}", model, where, healthy)
    for layer in range(3):
        model, healthy = _twin("functional", "relu", seed)
        model.layers[layer].bias[:20] = -20
        yield fault("one module for all layers", model, (f"layers.{layer}",), healthy)
    for layer, name in ((0, "act1"), (1, "act2")):
        model, healthy = _twin("plain cnn", "relu", seed)
        (model.conv1, model.conv2)[layer].bias[:5] = -60
        yield fault("channels", model, (name, f"conv{layer + 1}"), healthy)
        model, healthy = _twin("cnn", "relu", seed)
        (model.norm1, model.norm2)[layer].bias[:5] = -20
        yield fault(
            "channels, by the norm before", model, (name, f"conv{layer + 1}", f"norm{layer + 1}"), healthy
        )
    for block in range(3):
        model, healthy = _twin("residual", "relu", seed)
        model.blocks[block].norm1.bias[:6] = -20
        yield fault("residual", model, (f"blocks.{block}.act1", f"blocks.{block}.conv1"), healthy)
    for layer in (0, 1):
        model, healthy = _twin("transformer", "relu", seed)
        model.layers[layer].up.bias[:20] = -60
        yield fault("transformer", model, (f"layers.{layer}.act", f"layers.{layer}.up"), healthy)


def _saturated(seed: int) -> Iterator[Planted]:
    for act in ("tanh", "sigmoid"):
        for layer in (0, 2, 4):
            where = (str(layer), str(layer + 1))
            for share in (0.25, 1.0):
                model, healthy = _twin("mlp", act, seed)
                model[layer].bias[: int(64 * share)] = 12
                what = f"{act}, bias 12 in {share:.0%}"
                yield Planted("saturated-units", what, model, where, "bias", healthy=healthy)
            for factor in (50, 500):
                model, healthy = _twin("mlp", act, seed)
                model[layer].weight *= factor
                what = f"{act}, weights x {factor}"
                yield Planted("saturated-units", what, model, where, "weights", healthy=healthy)


def _gates(seed: int) -> Iterator[Planted]:
    for bias in (-15.0, 15.0):
        for layer in (0, 1):
            model, healthy = _twin("gated", "tanh", seed)
            model.gate[layer].bias.fill_(bias)
            yield Planted(
                "collapsed-gate", f"bias {bias:g}", model, (f"gate.{layer}",), "bias", healthy=healthy
            )
    for act in ("silu", "gelu", "sigmoid", "relu"):
        for share in (0.2, 1.0):
            model, healthy = _twin("units", act, seed)
            model.mlp.gate_proj.bias[: int(64 * share)] = -25
            where = ("mlp.unit", "mlp.gate_proj")
            yield Planted(
                "collapsed-gate", f"GatedMLP, {act}, {share:.0%}", model, where, "bias", healthy=healthy
            )
            model, healthy = _twin("units", act, seed)
            model.both.bias[: int(64 * share)] = -25
            yield Planted(
                "collapsed-gate", f"halves, {act}, {share:.0%}", model, ("both",), "bias", healthy=healthy
            )
    for layer in (0, 1):
        model, healthy = _twin("gated transformer", "silu", seed)
        model.layers[layer].mlp.gate_proj.bias[:32] = -25
        where = (f"layers.{layer}.mlp.unit", f"layers.{layer}.mlp.gate_proj")
        yield Planted("collapsed-gate", "gated transformer", model, where, "bias", healthy=healthy)


def _flow(seed: int) -> Iterator[Planted]:
    for layer in (2, 4, 6):
        for factor in (1e-6, 1e-8):
            for rule in (
                ("vanishing-gradient", "variance-collapse") if factor < 1e-6 else ("vanishing-gradient",)
            ):
                model, healthy = _twin("deep mlp", "tanh", seed)
                model[layer].weight *= factor
                if rule == "variance-collapse":
                    model[layer].bias *= factor
                where = (str(layer), str(layer + 1))
                yield Planted(rule, f"weights x {factor:g}", model, where, "weights", healthy=healthy)
    for factor in (10, 30):
        for rule in ("variance-growth", "exploding-gradient"):
            model, healthy = _twin("deep mlp", "relu", seed)
            for layer in list(model)[::2]:
                layer.weight *= factor
            yield Planted(rule, f"all weights x {factor}", model, cause="weights", healthy=healthy)
    for layer in (2, 4, 8):
        for rule in ("variance-growth", "exploding-gradient"):
            model, healthy = _twin("deep mlp", "relu", seed)
            model[layer].weight *= 1e4
            where = (str(layer), str(layer + 1))
            yield Planted(rule, "weights x 10,000", model, where, "weights", healthy=healthy)
    model, healthy = _twin("deep mlp", "tanh", seed)
    for layer in list(model)[::2]:
        layer.weight *= 0.1
    yield Planted("variance-collapse", "all weights x 0.1", model, healthy=healthy)
    for act in ("softplus", "relu"):
        for layer in (0, 2, 4):
            for bias in (30.0, 100.0):
                model, healthy = _twin("mlp", act, seed)
                model[layer].bias.fill_(bias)
                yield Planted(
                    "bias-shift",
                    f"{act}, bias {bias:g}",
                    model,
                    (str(layer), str(layer + 1)),
                    healthy=healthy,
                )


def _scales(seed: int) -> Iterator[Planted]:
    for act in ("gelu", "relu", "tanh"):
        for layer in (0, 2, 4):
            for factor in (0.1, 12):
                model, healthy = _twin("mlp", act, seed)
                model[layer].weight *= factor
                yield Planted("wrong-init", f"{act}, x {factor:g}", model, (str(layer),), healthy=healthy)
    torch.manual_seed(seed)
    for depth, act in ((40, "silu"), (60, "gelu")):
        model = MLP(ACTIVATIONS[act], depth=depth)
        gain = {"silu": 1.677, "gelu": 1.534}[act]
        for layer in list(model)[::2]:
            nn.init.normal_(layer.weight, std=gain / layer.weight.shape[1] ** 0.5)
            nn.init.zeros_(layer.bias)
        yield Planted("unstable-gain", f"{act}, {depth} layers", model)
    for depth in (6, 12):
        torch.manual_seed(seed)
        yield Planted("selu-conditions", "torch's initialisation", MLP(ACTIVATIONS["selu"], depth=depth))
    for depth in (5, 8):
        torch.manual_seed(seed)
        yield Planted("sigmoid-in-depth", f"{depth} layers", MLP(ACTIVATIONS["sigmoid"], depth=depth))


def _inputs(seed: int) -> Iterator[Planted]:
    for act in ("relu", "gelu", "tanh"):
        for what, change in (
            ("pixels to 255", lambda x: (x + 1) * 60),
            ("x 1000", lambda x: x * 1000),
            ("x 0.001", lambda x: x * 1e-3),
        ):
            yield Planted("unscaled-input", what, build("mlp", act, seed).model, inputs=change)


def _ends(seed: int) -> Iterator[Planted]:
    for family in ("mlp", "cnn", "transformer", "units"):
        act = "silu" if family == "units" else "relu"
        for last in (nn.Softmax(1), nn.Sigmoid(), nn.LogSoftmax(1)):
            model, healthy = _twin(family, act, seed)
            yield Planted(
                "softmax-before-cross-entropy", type(last).__name__, nn.Sequential(model, last), ("1",),
                healthy=healthy,
            )  # fmt: skip
        for last in (nn.ReLU(), nn.Tanh(), nn.GELU()):
            model, healthy = _twin(family, act, seed)
            yield Planted(
                "activation-on-logits",
                type(last).__name__,
                nn.Sequential(model, last),
                ("1",),
                healthy=healthy,
            )
        yield Planted(
            "output-activation", "nll_loss of logits", build(family, act, seed).model, loss="nll_loss"
        )


def _structure(seed: int) -> Iterator[Planted]:
    for act in ("relu", "tanh"):
        for layer in (1, 3):
            model = build("mlp", act, seed).model
            model[layer] = nn.Identity()
            where = (str(layer - 1), str(layer + 1))
            yield Planted("linear-after-linear", "no activation", model, where)
    for layer in (1, 3):
        for second in (nn.ReLU(), nn.LeakyReLU(), nn.ELU()):
            model, healthy = _twin("mlp", "relu", seed)
            model[layer] = nn.Sequential(nn.ReLU(), second)
            what = f"{type(second).__name__} after ReLU"
            yield Planted("no-op-activation", what, model, (f"{layer}.1",), healthy=healthy)


def _broken(seed: int) -> Iterator[Planted]:
    for layer in (0, 4):
        for value in (float("nan"), float("inf")):
            model = build("mlp", "relu", seed).model
            model[layer].weight[0, 0] = value
            yield Planted("non-finite", f"a weight {value}", model, (str(layer),))
    for family, act in (("mlp", "relu"), ("mlp", "tanh"), ("cnn", "relu")):
        model, healthy = _twin(family, act, seed)
        head, name = (model[6], "6") if family == "mlp" else (model.head, "head")
        head.weight *= 1e-9
        yield Planted("constant-output", "head x 1e-9", model, (name,), "weights", healthy=healthy)
        model, healthy = _twin(family, act, seed)
        last, name = (model[4], "5") if family == "mlp" else (model.fc, "act3")
        last.bias.fill_(-60)
        yield Planted("constant-output", "last hidden layer stuck", model, (name,), "dead", healthy=healthy)


def _learnt(seed: int) -> Iterator[Planted]:
    for layer in (1, 3, 5):
        model, healthy = _twin("mlp", "prelu", seed)
        model[layer].weight.fill_(1.0)
        yield Planted("learned-slope-at-bound", "slope 1", model, (str(layer),), healthy=healthy)
    model = build("mlp", "prelu", seed).model
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    yield Planted("weight-decay-on-slope", "AdamW", model, ("1", "3", "5"), optimizer=optimizer)
