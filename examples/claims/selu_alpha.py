"""SELU's constants are alpha = 1.67733 and lambda = 1.0507.

Taught: problem sets on ReLU and its relatives.

Right: alpha = 1.6732632423543772, scale = 1.0507009873554805 (Klambauer et al. 2017, arXiv:1706.02515).

Effect: mean 0 and variance 1 are no longer the fixed point; the network settles beside it.

The constants solve two equations: for z ~ N(0, 1) the mean of selu(z) is 0 and its variance 1. We solve them by
quadrature, and follow the variance through 32 layers with these and with the printed constants.

Practice: Take the constants from a library. Here a wrong third digit costs little, because the fixed point attracts.
"""

import numpy as np
import torch
from scipy.optimize import fsolve

import softknee as sk
from softknee.analysis.gaussian import expectation
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Formulas and constants", ("selu",)
PRINTED = (1.67733, 1.0507)


def moments(alpha: float, scale: float) -> tuple[float, float]:
    """Mean and variance of scale * elu(z; alpha), z ~ N(0, 1)."""

    def powers(z: np.ndarray) -> np.ndarray:
        f = scale * sk.get("elu")(z, alpha=float(alpha))
        return np.stack([f, f * f])

    (mean, square), _ = expectation(powers, [0.0])
    return float(mean), float(square - mean**2)


def measure(e: Evidence) -> str:
    alpha, scale = fsolve(lambda v: [moments(*v)[0], moments(*v)[1] - 1], [1.5, 1.1], xtol=1e-14)
    constants = {"right": (float(alpha), float(scale)), "printed": PRINTED}
    rows = [[k, *(f"{v:.6f}" for v in (*c, *moments(*c)))] for k, c in constants.items()]
    e.table("One layer's output for z ~ N(0, 1)", ["constants", "alpha", "scale", "mean", "variance"], rows)
    random = torch.Generator().manual_seed(0)
    now = dict.fromkeys(constants, torch.randn(2_000, 1_000, generator=random))
    paths: dict[str, list[float]] = {k: [] for k in constants}
    for _ in range(32):
        weight = torch.randn(1_000, 1_000, generator=random) / 1_000**0.5
        for k, (a, s) in constants.items():
            now[k] = s * sk.get("elu")(now[k] @ weight, alpha=a)
            paths[k].append(float(now[k].var()))
    e.lines("Variance through 32 layers of width 1,000", range(1, 33), paths, "layer", "variance")
    mean, variance = moments(*PRINTED)
    e.say(f"""Solving for mean 0 and variance 1 gives alpha = {alpha:.10f}, scale = {scale:.10f}. With the printed ones
        a layer turns N(0, 1) into mean {mean:.5f} and variance {variance:.5f}; after 32 layers the variance is
        {paths["printed"][-1]:.4f} against {paths["right"][-1]:.4f} with the right ones on the same weights.""")
    return "refuted" if abs(alpha - PRINTED[0]) > 1e-3 else "holds"


if __name__ == "__main__":
    run(__file__)
