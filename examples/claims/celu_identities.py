"""CELU's slope is f/alpha + 1 below 0; it is scale-similar; it contains ReLU and the identity as limits.

Taught: notes on torch.nn's activations, after the paper (Barron 2017, arXiv:1704.07483).

Below 0: f = alpha (e^(x/alpha) - 1) and f' = e^(x/alpha) = f/alpha + 1, so one exponential serves both passes. Scale
similarity: f(x; alpha) = f(c x; c alpha)/c for c > 0. For alpha -> 0+ the exponential vanishes (ReLU), for alpha ->
infinity f(x) -> x. Every statement is checked on a grid in float64.

Practice: Alpha is a length on the x axis: rescaling the inputs and alpha together changes nothing. ELU has no such
rule, and its slope jumps at 0 unless alpha = 1.
"""

import numpy as np

import softknee as sk
from softknee.claims import Evidence, run
from softknee.lang import symbol, where
from softknee.lang.cost import cost
from softknee.lang.differentiate import derivative

TOPIC, ABOUT = "Derivatives and kinks", ("celu", "elu", "relu")


def measure(e: Evidence) -> str:
    celu, elu = sk.get("celu"), sk.get("elu")
    x, alphas = np.linspace(-8, 4, 1_201), (0.1, 0.5, 1.0, 3.0)
    below = x[x < 0]
    slope = max(
        np.abs(celu.derivative(below, alpha=a) - (celu(below, alpha=a) / a + 1)).max() for a in alphas
    )
    similar = max(np.abs(celu(x, alpha=a) - celu(3 * x, alpha=3 * a) / 3).max() for a in alphas)
    elu_similar = np.abs(elu(x, alpha=2.0) - elu(3 * x, alpha=6.0) / 3).max()
    to_relu = np.abs(celu(x, alpha=1e-6) - np.maximum(x, 0)).max()
    to_identity = np.abs(celu(x, alpha=1e8) - x).max()
    by_alpha = np.abs(celu.derivative(below, wrt="alpha") - (np.exp(below) * (1 - below) - 1)).max()
    checks = {
        "f' = f/alpha + 1 below 0": slope,
        "f(x; alpha) = f(3x; 3 alpha)/3": similar,
        "alpha = 1e-6 against ReLU": to_relu,
        "alpha = 1e8 against the identity": to_identity,
        "df/dalpha = e^x (1 - x) - 1 at alpha = 1": by_alpha,
    }
    rows = [[k, f"{v:.1e}"] for k, v in checks.items()]
    e.table("Largest deviation on [-8, 4]", ["statement", "deviation"], rows)
    f = celu.expression
    once = cost(f, where(symbol("x") > 0, 1, f / symbol("alpha") + 1)).weight
    twice = cost(f).weight + cost(derivative(f, "x")).weight
    e.lines("CELU for several alpha", x, {f"alpha = {a:g}": celu(x, alpha=a) for a in (0.05, 0.5, 2.0, 20.0)})
    for statement, deviation in checks.items():
        e.part(statement, "holds" if deviation < 1e-5 else "refuted")
    e.part("one exponential serves both passes, and saves work", "holds" if once < 0.8 * twice else "refuted")
    e.say(f"""All five statements hold, the worst deviation being {max(checks.values()):.0e} (a limit taken at a finite alpha).
        ELU is not scale-similar: the same test misses by {elu_similar:.2g}; its slopes at 0 for alpha = 2 are
        {elu.facts(alpha=2.0).kinks[0].left:g} and {elu.facts(alpha=2.0).kinks[0].right:g}. f and f' from one
        exponential cost {once} additions an element, from two {twice} (by the weights of the compiled functions).""")
    return "holds" if max(checks.values()) < 1e-5 else "refuted"


if __name__ == "__main__":
    run(__file__)
