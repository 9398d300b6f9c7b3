"""ReLU is the fastest activation; leaky ReLU where speed matters.

Taught: tips for choosing an activation, which go around in several languages.

An elementwise function reads and writes memory once; if the arithmetic in between hides behind that, all functions cost
the same. Twelve functions are timed in turns on one core: alone at 262,144 elements, forward and backward, and inside a
layer of width 512, where a matrix product does most of the work.

Practice: Inside a network the choice hardly shows. Choose for accuracy; measure speed on your own hardware.
"""

import torch

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = (
    "Speed and precision",
    ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "hardswish", "softplus", "tanh", "sigmoid"),
)


def step(name: str, x: torch.Tensor, weight: torch.Tensor | None = None) -> None:
    y = getattr(sk.functional, name)(x if weight is None else x @ weight)
    y.backward(torch.ones_like(y))


def measure(e: Evidence) -> str:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(512, 512, generator=random).requires_grad_()
    weight = (torch.randn(512, 512, generator=random) / 512**0.5).requires_grad_()
    alone = laboratory.in_turns({n: lambda n=n: step(n, x) for n in ABOUT})
    inside = laboratory.in_turns({n: lambda n=n: step(n, x, weight) for n in ABOUT})
    ratio = {n: v / alone["relu"] for n, v in alone.items()}
    layer = {n: v / inside["relu"] for n, v in inside.items()}
    e.table("Time relative to ReLU, forward and backward", ["function", "alone", "with its linear layer"],
            [[n, ratio[n], layer[n]] for n in ABOUT])  # fmt: skip
    e.bars("Time with its linear layer, relative to ReLU", layer, "ratio")
    e.say(f"""Alone leaky ReLU takes {ratio["leaky_relu"]:.2f} times ReLU's time, the slowest ({max(ratio, key=lambda n: ratio[n])})
        {max(ratio.values()):.2f} times. With a linear layer of width 512 around it the range is {min(layer.values()):.2f} to
        {max(layer.values()):.2f}: the choice costs at most {max(layer.values()) - 1:.0%} of a layer's time.""")
    return "holds only if the activation is timed alone" if max(layer.values()) < 1.5 else "holds"


if __name__ == "__main__":
    run(__file__)
