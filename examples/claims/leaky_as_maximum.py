"""Leaky ReLU is max(alpha x, x).

Taught: lecture notebooks, as the definition, with or without the condition alpha < 1.

Right: x for x >= 0 and alpha x below; this is max(alpha x, x) for alpha <= 1 only. Above 1 it is min(alpha x, x).

Effect: a PReLU whose slope is learned may pass 1; written as a maximum it silently exchanges its two halves there, and
its derivative with respect to alpha moves from the negative inputs to the positive ones.

We compare the two forms at several slopes, values and derivatives by alpha, and look at where they part.

Practice: Write the cases, or max(0, x) + alpha min(0, x), which is right for every alpha.
"""

import numpy as np
import torch

import softknee as sk
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Formulas and constants", ("leaky_relu", "prelu")


def measure(e: Evidence) -> str:
    x, rows, curves = np.linspace(-2, 2, 401), [], {}
    leaky = sk.get("leaky_relu")
    for alpha in (-1.0, 0.01, 0.5, 1.0, 1.5, 2.0):
        cases, maximum = leaky(x, negative_slope=alpha), np.maximum(alpha * x, x)
        slope = torch.tensor(alpha, dtype=torch.float64, requires_grad=True)
        t = torch.from_numpy(x)
        by_cases = torch.autograd.grad(sk.functional.prelu(t, slope[None]).sum(), slope)[0]
        by_maximum = torch.autograd.grad(torch.maximum(slope * t, t).sum(), slope)[0]
        rows.append([f"{alpha:g}", float(np.abs(cases - maximum).max()), float(by_cases), float(by_maximum)])
    for alpha in (0.5, 1.5):
        curves[f"cases, alpha = {alpha}"] = leaky(x, negative_slope=alpha)
        curves[f"maximum, alpha = {alpha}"] = np.maximum(alpha * x, x)
    e.table(
        "On [-2, 2]", ["alpha", "largest difference", "d sum / d alpha, cases", "the same, maximum"], rows
    )
    e.lines("Both forms", x, curves)
    worst = {row[0]: row[1] for row in rows}
    e.say(f"""Equal for every alpha up to 1 (largest difference {max(worst[k] for k in ("-1", "0.01", "0.5", "1")):.1g}).
        At alpha = 1.5 they differ by up to {worst["1.5"]:.3g} on [-2, 2], at 2 by {worst["2"]:.3g}.""")
    return "holds only if alpha <= 1" if worst["1.5"] > 0.1 and worst["0.5"] == 0 else "refuted"


if __name__ == "__main__":
    run(__file__)
