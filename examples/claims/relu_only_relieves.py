"""ReLU only relieves vanishing gradients: its slope is 1, yet gradients can still vanish.

Taught: notes on ReLU, which ask why, and give no answer.

The gradient that reaches layer 1 is a product of slopes and weights. ReLU makes the slopes 0 or 1, half of each, so in
the mean square they cost a factor of 1/2 a layer; nothing in ReLU makes up for it: the weights must, with variance 2/n.
We measure the two factors apart, layer by layer, for sigmoid, tanh and ReLU with weights of variance 1/n, and ReLU with
2/n.

Practice: Read "no vanishing gradient" as "none from the slopes of active units", and set the weights' scale accordingly.
"""

import numpy as np
import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Depth and gradients", ("relu", "sigmoid", "tanh")


def factors(act: str, scale: float, seed: int, depth: int = 20, width: int = 256) -> np.ndarray:
    """The squared gradient's factor from slopes and from weights, and its size: (3, depth), from the top down."""
    model = laboratory.mlp([64, *[width] * depth, 10], act, seed, scale=scale)
    split, seen = laboratory.data("digits", seed), []
    h = split.x[:128]
    for layer in model:
        h = layer(h)
        h.retain_grad()
        seen.append(h)
    torch.nn.functional.cross_entropy(h, split.y[:128]).backward()
    size = [float(v.grad.square().sum()) for v in seen]  # linear, activation, linear, ...
    slopes = [size[i - 1] / size[i] for i in range(len(seen) - 2, 0, -2)]
    weights = [size[i] / size[i + 1] for i in range(len(seen) - 2, 0, -2)]
    return np.array([slopes, weights, np.sqrt(size[-3::-2][:depth])])


def measure(e: Evidence) -> str:
    cases = {"sigmoid, 1/n": ("sigmoid", 1.0), "tanh, 1/n": ("tanh", 1.0), "relu, 1/n": ("relu", 1.0)}
    cases |= {"relu, 2/n": ("relu", 2**0.5)}
    rows, sizes, end = [], {}, {}
    for name, (act, scale) in cases.items():
        found = np.array([factors(act, scale, seed) for seed in range(6)])
        slopes, weights = (np.exp(np.log(found[:, i, 1:]).mean()) for i in (0, 1))
        sizes[name] = found[:, 2] / found[:, 2, :1]
        end[name] = float(np.exp(np.log(sizes[name][:, -1]).mean()))
        rows.append([name, slopes, weights, slopes * weights, f"{end[name]:.1e}"])
    columns = ["network", "slopes, a layer", "weights, a layer", "both", "gradient, layer 1 over layer 20"]
    e.table("Factors of the squared gradient (geometric mean over layers, 6 seeds)", columns, rows)
    e.lines("Gradient by layer, relative to the top", range(20, 0, -1), sizes, "layer", "size", log="y")
    relu = rows[2]
    e.say(f"""A ReLU layer's slopes multiply the squared gradient by {relu[1]:.2f}, a sigmoid layer's by {rows[0][1]:.3f}.
        With weights of variance 1/n a gradient through 20 ReLU layers shrinks to {end["relu, 1/n"]:.0e}, with 2/n to
        {end["relu, 2/n"]:.2g}; sigmoid with 1/n leaves {end["sigmoid, 1/n"]:.0e}.""")
    return "holds" if 30 * end["relu, 1/n"] < end["relu, 2/n"] else "refuted"


if __name__ == "__main__":
    run(__file__)
