"""What becomes of a gradient on its way back through 20 layers, and whose fault it is: in every layer it
is multiplied by the slopes of the activation and by the weights. Theory: E f'(z)^2 for z from N(0, q), by
quadrature, and the variance of the weights times their number.

    python examples/gradient_through_20_layers.py
"""

from __future__ import annotations

import math

import torch

import picture
import softknee as sk
from softknee import functional as F
from softknee.analysis import gaussian

DEPTH, WIDTH, SAMPLES, NETS = 20, 256, 64, 3
# activation -> the variance of its weights times fan_in: He's for relu, LeCun's for the others
WEIGHTS = {"sigmoid": 1.0, "tanh": 1.0, "relu": 2.0, "selu": 1.0}


def measured(name: str, variance: float) -> tuple[list[float], list[float]]:
    """The factor of the squared gradient in each layer: through the slopes, and through the weights."""
    slopes, weights = torch.zeros(DEPTH), torch.zeros(DEPTH)
    f = sk.get(name)
    for net in range(NETS):
        torch.manual_seed(net)
        x, passed = torch.randn(SAMPLES, WIDTH, dtype=torch.float64), []
        for _ in range(DEPTH):
            weight = torch.randn(WIDTH, WIDTH, dtype=torch.float64) * math.sqrt(variance / WIDTH)
            z = x @ weight.T
            passed.append((weight, z))
            x = getattr(F, name)(z)
        gradient = torch.randn_like(x)
        for layer in reversed(range(DEPTH)):
            weight, z = passed[layer]
            before = gradient.square().mean()
            gradient = gradient * f.derivative(z)
            between = gradient.square().mean()
            gradient = gradient @ weight
            slopes[layer] += torch.log(between / before) / NETS
            weights[layer] += torch.log(gradient.square().mean() / between) / NETS
    return slopes.exp().tolist(), weights.exp().tolist()


def theory(name: str, variance: float) -> list[float]:
    """E f'(z)^2 in each layer; the second moment q of z follows q' = variance E f(z)^2."""
    definition, q, found = sk.get(name).definition, variance, []
    for _ in range(DEPTH):
        moments = gaussian(definition, q=q)
        found.append(float(moments.slope_second_moment))
        q = variance * float(moments.second_moment)
    return found


def back(factors: list[float]) -> list[float]:
    """The size of the gradient at each layer, 1 at the end: square roots of products from the back."""
    sizes, size = [], 1.0
    for factor in reversed(factors):
        size *= factor
        sizes.append(math.sqrt(size))
    return sizes[::-1]


def main() -> None:
    figure, axes = picture.panels(3, 3.9, 3.8, sharey=True)
    layers = range(DEPTH)
    for (name, variance), colour in zip(WEIGHTS.items(), picture.COLOURS, strict=False):
        slopes, weights = measured(name, variance)
        expected = theory(name, variance)
        both = back([s * w for s, w in zip(slopes, weights, strict=True)])
        predicted = back([s * variance for s in expected])
        print(f"{name:8} gradient at the first layer: {both[0]:.3g}, theory {predicted[0]:.3g}")
        assert abs(math.log(both[0] / predicted[0])) < 0.25 * max(1.0, abs(math.log(predicted[0])) / 10)
        assert abs(math.log(back(weights)[0] / variance ** (DEPTH / 2))) < 0.25
        for ax, values, line in zip(
            axes, (both, back(slopes), back(weights)), (predicted, back(expected), back([variance] * DEPTH)), strict=True
        ):  # fmt: skip
            ax.semilogy(layers, line, color=colour, linewidth=1.2)
            ax.semilogy(layers, values, "o", color=colour, markersize=3.5, label=name)
        if name == "sigmoid":
            assert both[0] < 1e-11  # at most 0.25 a layer, 0.2 in the mean
        if name in ("relu", "selu"):
            assert 0.3 < both[0] < 3
    for ax, title in zip(
        axes, ("The gradient", "= the product of the slopes", "× the product of the weights"), strict=True
    ):
        ax.set(title=title, xlabel="layer, from the input on", xticks=range(0, DEPTH + 1, 5))
    axes[0].set_ylabel("size, 1 at the output")
    dots, names = axes[0].get_legend_handles_labels()
    figure.legend(dots, names, title="dots: measured; lines: theory", loc="outside upper left", ncols=4)
    picture.save(figure, "gradient_through_20_layers")


if __name__ == "__main__":
    main()
