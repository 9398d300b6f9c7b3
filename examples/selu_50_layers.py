"""SELU keeps mean 0 and variance 1 through 50 layers, if: its weights are LeCun normal, its dropout is
AlphaDropout, and the network is a plain chain. Without each of these it settles elsewhere, or nowhere. An
input that is not standardised is forgiven after some layers.

    python examples/selu_50_layers.py
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import picture
from softknee import functional as F
from softknee import init, nn

DEPTH, WIDTH, SAMPLES = 50, 512, 256
Layer = Callable[[Tensor], Tensor]


def chain(
    fill: Callable[[Tensor], object] = init.lecun_normal_,
    activation: Layer = F.selu,
    drop: Layer = F.identity,
    skip: bool = False,
    scale: float = 1.0,
) -> list[tuple[float, float]]:
    """Mean and variance of the activations after each layer."""
    torch.manual_seed(0)
    x, found = scale * torch.randn(SAMPLES, WIDTH), []
    for _ in range(DEPTH):
        weight = torch.empty(WIDTH, WIDTH)
        fill(weight)
        y = drop(activation(x @ weight.T))
        x = x + y if skip else y
        found.append((float(x.mean()), float(x.var())))
    return found


def torchs_default(weight: Tensor) -> None:
    weight.uniform_(-(WIDTH**-0.5), WIDTH**-0.5)  # torch.nn.Linear's: variance 1 / (3 fan_in)


CASES = {
    "all conditions": chain(),
    "with AlphaDropout(0.1)": chain(drop=nn.AlphaDropout(0.1)),
    "Dropout(0.1) instead": chain(drop=nn.Dropout(0.1)),
    "input 10 times too large": chain(scale=10),
    "He's weights": chain(fill=lambda w: init.he_normal_(w, "relu")),
    "torch's default weights": chain(fill=torchs_default),
    "with skip connections": chain(skip=True),
}


def main() -> None:
    for name, found in CASES.items():
        mean, variance = found[-1]
        print(f"{name:26} after {DEPTH} layers: mean {mean:+9.3g}, variance {variance:.3g}")

    def kept(name: str) -> bool:
        return all(abs(m) < 0.1 and 0.8 < v < 1.25 for m, v in CASES[name])

    assert kept("all conditions")
    assert kept("with AlphaDropout(0.1)")
    assert CASES["Dropout(0.1) instead"][-1][1] > 1.25
    assert CASES["input 10 times too large"][0][1] > 20  # forgiven:
    assert 0.8 < CASES["input 10 times too large"][-1][1] < 1.25
    assert CASES["He's weights"][-1][1] > 2
    assert CASES["torch's default weights"][-1][1] < 1e-6
    assert CASES["with skip connections"][-1][1] > 10

    figure, (left, right) = picture.panels(2, 5.0, 3.6)
    layers = range(1, DEPTH + 1)
    for k, ((name, found), colour) in enumerate(zip(CASES.items(), picture.COLOURS, strict=True)):
        means, variances = zip(*found, strict=True)
        line = {
            "color": colour,
            "label": name,
            "linewidth": 4 if k == 0 else 1.6,
        }  # the first is under others
        left.plot(layers, means, **line)
        right.semilogy(layers, variances, **line)
    left.set(title="Mean of the activations", xlabel="layer", ylim=(-0.5, 2))
    right.set(title="Their variance", xlabel="layer", ylim=(1e-6, 1e3))
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper")
    picture.save(figure, "selu_50_layers")


if __name__ == "__main__":
    main()
