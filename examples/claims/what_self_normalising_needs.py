"""A self-normalising function needs negative values, saturation, slopes above 1 and continuity; no scaled ReLU can be one.

Taught: notes on torch.nn's activations, after the paper (Klambauer et al. 2017, arXiv:1706.02515).

The test is a map: mean and variance of a layer's outputs from those of its inputs, when weights have sum 0 and sum of
squares 1. Self-normalising means that (0, 1) is a fixed point of it and attracts. Every function can be scaled and shifted
so that (0, 1) is a fixed point: a f(z) + b. Whether it attracts is then decided by the map's derivative there: the variance
must change by less than 1 for a change of 1. Scaled without a shift, ReLU has mean 0 only for scale 0.

Practice: Ask it of any function with this map. In a network the weights must be normalised, the inputs too.
"""

import numpy as np

import softknee as sk
from softknee.analysis.gaussian import expectation
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Self-normalisation", ("selu", "relu", "elu", "leaky_relu", "gelu", "tanh", "silu", "softplus")


def variance_map(name: str, variance: float) -> float:
    """Variance of a f(z) + b, z ~ N(0, variance), where a and b make (0, 1) a fixed point."""
    facts, f = sk.get(name).facts(), sk.get(name)
    scale = float(facts.variance) ** -0.5
    root = variance**0.5
    both = expectation(lambda z: np.stack([f(root * z), f(root * z) ** 2]), [0.0])[0]
    return float(both[1] - both[0] ** 2) * scale**2


def measure(e: Evidence) -> str:
    rows, attracts = [], {}
    for name in ABOUT:
        facts = sk.get(name).facts()
        slope = (variance_map(name, 1.001) - variance_map(name, 0.999)) / 0.002
        attracts[name] = slope < 1 - 1e-6
        scale = float(facts.variance) ** -0.5
        centred, steep = abs(float(facts.mean)) < 1e-9, scale * float(facts.slope_range.high)
        both = ["yes" if flag else "no" for flag in (centred, attracts[name])]
        rows.append([name, both[0], scale, -scale * float(facts.mean), slope, f"{steep:.3f}", both[1]])
    columns = ["f", "E f = 0", "a", "b", "slope of the variance map", "steepest slope of a f", "attracts"]
    e.table("a f(z) + b with mean 0 and variance 1 at the fixed point", columns, rows)
    q = np.linspace(0.4, 2.5, 40)
    curves = {n: [variance_map(n, v) for v in q] for n in ("selu", "relu", "gelu", "tanh")} | {"no change": q}
    e.lines("Variance out of variance in", q, curves, "variance of the inputs", "variance of the outputs")
    relu = rows[1][4]
    e.part("SELU is self-normalising", "holds" if attracts["selu"] and rows[0][1] == "yes" else "refuted")
    e.part("a scaled ReLU cannot be", "holds" if rows[1][1] == "no" else "refuted")
    e.part("a scaled and shifted ReLU cannot be", "refuted" if attracts["relu"] else "holds")
    pulls, rest = (", ".join(n for n, v in attracts.items() if v == flag) for flag in (True, False))
    e.say(f"""SELU's fixed point attracts: its variance map has slope {rows[0][4]:.3f}. Shifted, ReLU's map has slope
        {relu:.4f}: it keeps any variance and corrects none. Of the eight {pulls} attract, {rest} do not. Slopes above 1
        are what keeps gradients: tanh, scaled, has a steepest slope of {rows[5][5]}.""")
    return "holds" if attracts["selu"] and not attracts["relu"] else "refuted"


if __name__ == "__main__":
    run(__file__)
