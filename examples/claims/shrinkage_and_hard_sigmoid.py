"""Tanhshrink is a shrink function for sparse codes; hardsigmoid with slope 1/6 is BinaryConnect's.

Taught: notes on torch.nn's activations.

Right: a sparse code needs exact zeros: hardshrink and softshrink send a whole interval to 0, tanhshrink only the point 0.
BinaryConnect's hard sigmoid is clip((x + 1) / 2, 0, 1), steeper than torch's clip(x/6 + 1/2, 0, 1); the latter is the one
of MobileNetV3.

Effect: with tanhshrink nothing becomes sparse. With the other hard sigmoid a weight of 1 is binarised to +1 with
probability 2/3 instead of 1.

Practice: Compare the kinks (`softknee show hardsigmoid`) before using a "hard" function by its name: libraries and papers
mean different slopes.
"""

import numpy as np

import softknee as sk
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Formulas and constants", ("hardshrink", "softshrink", "tanhshrink", "hardsigmoid")


def measure(e: Evidence) -> str:
    x = np.linspace(-3, 3, 601)
    shares = {n: float(sk.get(n).facts().zero_share) for n in ("hardshrink", "softshrink", "tanhshrink")}
    rows = [[n, f"{sk.get(n)(0.1):.6f}", f"{sk.get(n)(2.0):.4f}", f"{s:.3f}"] for n, s in shares.items()]
    e.table("Shrinking", ["function", "f(0.1)", "f(2)", "share of exact zeros, N(0, 1)"], rows)
    e.lines("Shrink functions", x, {n: sk.get(n)(x) for n in shares})
    connect = np.clip((x + 1) / 2, 0, 1)
    e.lines(
        "Two hard sigmoids",
        x,
        {"hardsigmoid (torch)": sk.get("hardsigmoid")(x), "clip((x + 1) / 2, 0, 1)": connect},
    )
    at_one = sk.get("hardsigmoid")(1.0)
    e.part("tanhshrink makes codes sparse", "refuted" if shares["tanhshrink"] == 0 else "holds")
    e.part("torch's hardsigmoid is BinaryConnect's", "refuted" if abs(at_one - 1) > 0.1 else "holds")
    e.say(f"""For a standard normal input hardshrink and softshrink (lambda = 1/2) give {shares["hardshrink"]:.1%} exact zeros,
        tanhshrink {shares["tanhshrink"]:.0%}. At 1 torch's hardsigmoid is {at_one:.4f}, BinaryConnect's 1.""")
    return "refuted" if shares["tanhshrink"] == 0 and abs(at_one - 1) > 0.1 else "holds"


if __name__ == "__main__":
    run(__file__)
