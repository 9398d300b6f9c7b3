"""Mish was found by the same automatic search as Swish.

Taught: problem sets on ReLU and its relatives: "in 2019 they started to enumerate again and got a rival of Swish".

Right: Swish came out of a search (Ramachandran et al. 2017, arXiv:1710.05941). Mish is by another author, who describes it
as inspired by Swish's self-gating (Misra 2019, arXiv:1908.08681).

Effect: a search sounds like an optimum over many candidates. Nothing says that Mish's relatives are worse.

Could that search have found it? Its building block is b(u1(x), u2(x)), with two dozen unary functions and a few binary
ones. We enumerate all and look for the nearest to Mish, and to Swish, on [-5, 5].

Practice: Cite who made what. Treat members of one family (SiLU, GELU, Mish) as near equals until your own data differ.
"""

from itertools import product

import numpy as np
from scipy.special import erf, expit

import softknee as sk
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Formulas and constants", ("mish", "silu")
x = np.linspace(-5, 5, 1_001)
UNARY = {
    "x": x, "-x": -x, "|x|": np.abs(x), "x^2": x**2, "x^3": x**3, "sqrt|x|": np.sqrt(np.abs(x)), "1": x**0,
    "log(|x|+e)": np.log(np.abs(x) + 1e-3), "exp": np.exp(x), "sin": np.sin(x), "cos": np.cos(x), "sinh": np.sinh(x),
    "cosh": np.cosh(x), "tanh": np.tanh(x), "asinh": np.arcsinh(x), "atan": np.arctan(x), "sinc": np.sinc(x / np.pi),
    "max(x,0)": np.maximum(x, 0), "min(x,0)": np.minimum(x, 0), "sigmoid": expit(x), "log(1+e^x)": np.logaddexp(0, x),
    "exp(-x^2)": np.exp(-(x**2)), "erf": erf(x),
}  # fmt: skip
BINARY = {
    "a + b": np.add, "a * b": np.multiply, "a - b": np.subtract, "max(a, b)": np.maximum, "min(a, b)": np.minimum,
    "a / (b + e)": lambda a, b: a / (b + 1e-3), "sigmoid(a) * b": lambda a, b: expit(a) * b,
}  # fmt: skip


def measure(e: Evidence) -> str:
    blocks = {
        f"{name}: a = {p}, b = {q}": np.nan_to_num(f(UNARY[p], UNARY[q]), nan=1e9)
        for (name, f), p, q in product(BINARY.items(), UNARY, UNARY)
    }
    rows, best = [], {}
    for target in ("silu", "mish"):
        wanted = sk.get(target)(x)
        order = sorted(blocks, key=lambda k: np.abs(blocks[k] - wanted).max())
        best[target] = float(np.abs(blocks[order[0]] - wanted).max())
        rows += [[target, k, float(np.abs(blocks[k] - wanted).max())] for k in order[:2]]
    nearest = rows[2][1]
    e.table(f"The nearest of {len(blocks)} blocks", ["to", "block", "largest distance on [-5, 5]"], rows)
    curves = {"mish": sk.get("mish")(x), nearest: blocks[nearest]}
    e.lines("Mish and the nearest block of that search", x, curves)
    e.say(f"""Among {len(blocks)} one-unit blocks SiLU is found exactly (distance {best["silu"]:.0e}); the nearest to Mish stays
        {best["mish"]:.2g} away ({nearest}). Mish needs a composition, tanh of softplus, that one unit does not have.""")
    return "refuted" if best["silu"] < 1e-9 * best["mish"] else "holds"


if __name__ == "__main__":
    run(__file__)
