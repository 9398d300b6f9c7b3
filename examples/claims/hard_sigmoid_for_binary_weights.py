"""The hard sigmoid gives deep networks with binary weights, cheap and as good.

Taught: notes on torch.nn's activations, at Hardsigmoid, after the paper (Courbariaux et al. 2015, arXiv:1511.00363).

BinaryConnect computes with weights of -1 and 1 and learns real ones behind them. The hard sigmoid is no activation
there: it is the probability clip((w + 1)/2, 0, 1) with which a weight is drawn as 1, and another function than torch's
Hardsigmoid, clip(z/6 + 1/2, 0, 1). On digits: real weights, signs, or drawn ones, tested as signs.

Practice: `nn.BinaryLinear` with `clip_()` after each step; draw weights only to regularise. One bit a weight costs width.
"""

import numpy as np
import torch

import softknee as sk
from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Maxout, gates and shrinkage", ("hardsigmoid", "relu")
KINDS = {"real": torch.nn.Linear, "signs": sk.nn.BinaryLinear}
KINDS["drawn"] = lambda a, b: sk.nn.BinaryLinear(a, b, stochastic=True)


def trained(kind: str, width: int, seed: int) -> float:
    split, layers = laboratory.data("digits", seed), []
    torch.manual_seed(seed)
    for a, b in ((64, width), (width, width), (width, 10)):
        layers += [KINDS[kind](a, b), torch.nn.BatchNorm1d(b), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    binary = [m for m in model if isinstance(m, sk.nn.BinaryLinear)]
    for m in binary:
        torch.nn.init.uniform_(m.weight, -1, 1)
    laboratory.fit(model, split, lr=1e-2, seed=seed, after_step=lambda: [m.clip_() for m in binary])
    for m in binary * 30:  # and batch norm's statistics are then those of the signs
        m.stochastic = False
        model.train()(split.x)
    return laboratory.accuracy(model, split.test_x, split.test_y)


def measure(e: Evidence) -> str:
    x = np.linspace(-4, 4, 401)
    curves = {"BinaryConnect's": np.clip((x + 1) / 2, 0, 1), "torch's Hardsigmoid": sk.get("hardsigmoid")(x)}
    apart = float(np.abs(np.subtract(*curves.values())).max())
    e.lines("Two hard sigmoids", x, curves)
    cases = [("real", 64), ("signs", 64), ("drawn", 64), ("signs", 256), ("drawn", 256)]
    scores = {f"{k}, width {w}": [trained(k, w, seed) for seed in range(8)] for k, w in cases}
    test = e.tests("Test accuracy on digits", scores)
    sizes = [f"{(74 * w + w * w) * (32 if k == 'real' else 1) / 8192:.1f}" for k, w in cases]
    e.table("Size of the weights in use", ["network", "KiB"], list(zip(scores, sizes, strict=True)))
    e.say(f"""At width 64 signs cost {test.difference("signs, width 64")} points against real weights, drawn ones {test.difference("drawn, width 64")};
        at width 256 {test.difference("signs, width 256")} and {test.difference("drawn, width 256")}, in {sizes[3]} KiB instead of {sizes[0]}. The two hard sigmoids differ by
        up to {apart:.2f}.""")
    e.part("torch's Hardsigmoid is BinaryConnect's", "refuted" if apart > 1e-6 else "holds")
    good = {name: "refuted" if test[name] == "lower" else "holds" for name in test.pairs}
    for name, verdict in good.items():
        e.part(f"{name}: as good as real weights", verdict)
    return overall(good.values(), "layers are wider, and weights signs, not draws")


if __name__ == "__main__":
    run(__file__)
