"""RReLU draws a from U(3, 8) and multiplies: a x for x < 0.

Taught: notes on torch.nn's activations, which give torch's formula with the competition winner's numbers.

Right: with U(3, 8) the paper divides: x / a (Xu et al. 2015, arXiv:1505.00853). torch multiplies, and its default is
U(1/8, 1/3), the same range upside down.

Effect: multiplied by 3 to 8 the negative half is steeper than the positive one and the signal grows in every layer.

The mean of 1/a is not 1 over the mean of a, so even the two right forms differ in evaluation: slope 2/11 = 0.1818 in the
paper, (1/8 + 1/3)/2 = 0.2292 in torch. We show all three through 20 layers.

Practice: Give the bounds of a slope, not of its inverse; compare evaluation slopes when numbers from a paper do not
reproduce.
"""

import math

import torch

import softknee as sk
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Formulas and constants", ("rrelu",)


def measure(e: Evidence) -> str:
    random = torch.Generator().manual_seed(0)
    forms = {
        "torch: x a, a ~ U(1/8, 1/3)": lambda z: (
            z * (1 / 8 + torch.rand(z.shape, generator=random) * (1 / 3 - 1 / 8))
        ),
        "paper: x / a, a ~ U(3, 8)": lambda z: z / (3 + 5 * torch.rand(z.shape, generator=random)),
        "as taught: x a, a ~ U(3, 8)": lambda z: z * (3 + 5 * torch.rand(z.shape, generator=random)),
    }
    paths = {name: [] for name in forms}
    for name, below in forms.items():
        h = torch.randn(500, 512, generator=torch.Generator().manual_seed(1))
        for _ in range(20):
            z = h @ (torch.randn(512, 512, generator=random) * (2 / 512) ** 0.5)
            h = torch.where(z >= 0, z, below(z))
            paths[name].append(float(h.square().mean()))
    slopes = {"torch": (1 / 8 + 1 / 3) / 2, "paper": 2 / 11, "E 1/a, a ~ U(3, 8)": math.log(8 / 3) / 5}
    e.table("Slope below 0 in evaluation", ["form", "slope"], [[k, v] for k, v in slopes.items()])
    e.lines("Mean square by layer, He's weights", range(1, 21), paths, "layer", "E h^2", log="y")
    ours = sk.get("rrelu")(-1.0, training=False)
    taught = paths["as taught: x a, a ~ U(3, 8)"]
    e.say(f"""Multiplying by U(3, 8) the mean square grows from {taught[0]:.3g} to {taught[-1]:.1e} in 20 layers; with torch's
        form it ends at {paths["torch: x a, a ~ U(1/8, 1/3)"][-1]:.2g}. rrelu(-1) in evaluation: {ours:.4f}; the paper's form
        gives {-slopes["paper"]:.4f}.""")
    return "refuted" if taught[-1] > 1e6 else "holds"


if __name__ == "__main__":
    run(__file__)
