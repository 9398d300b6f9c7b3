"""Sigmoid's mean pushes the next layer's inputs to the extremes, and so speeds up vanishing.

Taught: notes on vanishing gradients ("bias shift").

All outputs share the mean 1/2, so a unit of the next layer receives half the sum of its weights: an offset that differs
from unit to unit but not from sample to sample. We split the variance of the pre-activations into offset and signal, layer
by layer, and set f(z) - 1/2 beside it: the same curve without a mean.

Practice: Centre: tanh for sigmoid. The offset hurts by drowning the signal sooner than by saturation.
"""

import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Depth and gradients", ("sigmoid", "tanh")


class Centred(torch.nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z.sigmoid() - 0.5


def measure(e: Evidence) -> str:
    cases = {
        "sigmoid, scale 1": ("sigmoid", 1.0),
        "sigmoid, scale 4": ("sigmoid", 4.0),
        "sigmoid - 1/2, scale 4": (Centred, 4.0),
        "tanh, scale 1": ("tanh", 1.0),
    }
    x, rows, signals, slopes = laboratory.data("digits").x[:500], [], {}, {}
    for name, (act, scale) in cases.items():
        model = laboratory.mlp([64, *[400] * 8, 10], act, scale=scale)
        z = [before for before, _ in laboratory.inside(model, x)]
        signals[name] = [float(v.var(0).mean() / v.var()) for v in z]
        slope = [v.sigmoid() * (1 - v.sigmoid()) if "sigmoid" in name else 1 - v.tanh() ** 2 for v in z]
        slopes[name] = [float(s.square().mean().sqrt()) for s in slope]
        rows.append([name, float(z[-1].std()), signals[name][0], signals[name][-1], slopes[name][-1]])
    columns = [
        "network",
        "deviation of z, layer 8",
        "signal, layer 1",
        "signal, layer 8",
        "rms slope, layer 8",
    ]
    e.table("Pre-activations z by layer; signal: the variance's share between samples", columns, rows)
    title = "Share of the pre-activations' variance that depends on the sample"
    e.lines(title, range(1, 9), signals, "layer", "share", "y")
    plain, steep, centred = (signals[k][-1] for k in list(cases)[:3])
    ends = [slopes[name][-1] / slopes[name][0] for name in list(cases)[:2]]
    e.say(f"""In layer 8 only {plain:.1e} of the variance of a sigmoid network's pre-activations depends on the sample, the
        rest is offset; with weights four times as large {steep:.1%}, and {centred:.0%} for the centred sigmoid. From layer
        1 to 8 the typical slope changes by a factor of {ends[0]:.2f} (scale 4: {ends[1]:.2f}).""")
    e.part("the mean drowns the signal in deeper layers", "holds" if plain < 0.05 < centred else "refuted")
    e.part("it moves inputs to the flat ends", "holds" if max(ends) < 0.8 else "refuted")
    return "refuted" if max(ends) > 0.8 else "holds"


if __name__ == "__main__":
    run(__file__)
