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
    cause must contain."""

    rule: str
    what: str
    model: nn.Module
    layers: tuple[str, ...] | None = None
    cause: str = ""
    inputs: Callable[[Tensor], Tensor] = lambda x: x
    optimizer: Any = None


@torch.no_grad()
def planted(seed: int = 0) -> Iterator[Planted]:
    for act in ("relu", "relu6", "ours: mish"):
        for layer in (0, 2, 4):
            for share in (0.15, 0.3, 1.0):
                model = build("mlp", act, seed).model
                model[layer].bias[: int(64 * share)] = -60
                yield Planted(
                    "dead-units", f"{act}, {share:.0%}", model, (str(layer), str(layer + 1)), "bias"
                )
    for layer, name in ((0, "act1"), (1, "act2")):
        model = build("plain cnn", "relu", seed).model
        convolution = (model.conv1, model.conv2)[layer]
        convolution.bias[:5] = -60
        yield Planted("dead-units", "channels", model, (name, f"conv{layer + 1}"), "bias")
    for layer in (0, 1):
        model = build("transformer", "relu", seed).model
        model.layers[layer].up.bias[:20] = -60
        yield Planted(
            "dead-units", "transformer", model, (f"layers.{layer}.act", f"layers.{layer}.up"), "bias"
        )
    for act in ("tanh", "sigmoid"):
        for layer in (0, 2, 4):
            model = build("mlp", act, seed).model
            model[layer].bias.fill_(12)
            yield Planted("saturated-units", f"{act}, bias 12", model, (str(layer), str(layer + 1)), "bias")
            for factor in (50, 500):
                model = build("mlp", act, seed).model
                model[layer].weight *= factor
                where = (str(layer), str(layer + 1))
                yield Planted("saturated-units", f"{act}, weights x {factor}", model, where, "weights")
    for layer in (2, 4, 6):
        for factor in (1e-6, 1e-8):
            model = build("deep mlp", "tanh", seed).model
            model[layer].weight *= factor
            yield Planted(
                "vanishing-gradient", f"weights x {factor:g}", model, (str(layer), str(layer + 1)), "weights"
            )
    for layer in (0, 2, 4):
        for factor in (0.1, 12):
            model = build("mlp", "gelu", seed).model
            model[layer].weight *= factor
            yield Planted("wrong-init", f"x {factor:g}", model, (str(layer),))
    for factor in (10, 30):
        model = build("deep mlp", "relu", seed).model
        for layer in list(model)[::2]:
            layer.weight *= factor
        yield Planted("variance-growth", f"all weights x {factor}", model)
        yield Planted("exploding-gradient", f"all weights x {factor}", model)
    model = build("deep mlp", "tanh", seed).model
    for layer in list(model)[::2]:
        layer.weight *= 0.1
    yield Planted("variance-collapse", "all weights x 0.1", model)
    for act in ("relu", "gelu", "tanh"):
        yield Planted(
            "unscaled-input", "pixels to 255", build("mlp", act, seed).model, inputs=lambda x: (x + 1) * 60
        )
    for family in ("mlp", "cnn", "transformer"):
        for last in (nn.Softmax(1), nn.Sigmoid(), nn.LogSoftmax(1)):
            model = nn.Sequential(build(family, "relu", seed).model, last)
            yield Planted("softmax-before-cross-entropy", type(last).__name__, model, ("1",))
        for last in (nn.ReLU(), nn.Tanh(), nn.GELU()):
            model = nn.Sequential(build(family, "relu", seed).model, last)
            yield Planted("activation-on-logits", type(last).__name__, model, ("1",))
    for layer in (1, 3):
        model = build("mlp", "relu", seed).model
        model[layer] = nn.Identity()
        yield Planted("linear-after-linear", "no activation", model, (str(layer - 1), str(layer + 1)))
        model = build("mlp", "relu", seed).model
        model[layer] = nn.Sequential(nn.ReLU(), nn.ReLU())
        yield Planted("no-op-activation", "twice", model, (f"{layer}.1",))
    for bias in (-15.0, 15.0):
        for layer in (0, 1):
            model = build("gated", "tanh", seed).model
            model.gate[layer].bias.fill_(bias)
            yield Planted("collapsed-gate", f"bias {bias:g}", model, (f"gate.{layer}",), "bias")
    for layer in (0, 4):
        model = build("mlp", "relu", seed).model
        model[layer].weight[0, 0] = float("nan")
        yield Planted("non-finite", "NaN weight", model, (str(layer),))
    model = build("mlp", "relu", seed).model
    model[6].weight.zero_()
    yield Planted("constant-output", "head of zeros", model, ("6",))
    model = build("mlp", "prelu", seed).model
    model[3].weight.fill_(1.0)
    yield Planted("learned-slope-at-bound", "slope 1", model, ("3",))
    model = build("mlp", "prelu", seed).model
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    yield Planted("weight-decay-on-slope", "AdamW", model, ("1", "3", "5"), optimizer=optimizer)
    yield Planted("sigmoid-in-depth", "8 layers", MLP(ACTIVATIONS["sigmoid"], depth=8))
    torch.manual_seed(seed)
    yield Planted("selu-conditions", "torch's initialisation", MLP(ACTIVATIONS["selu"], depth=6))
