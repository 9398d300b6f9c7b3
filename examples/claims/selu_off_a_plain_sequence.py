"""SELU normalises itself in a plain sequence of layers only; with skips or recurrence prefer ELU.

Taught: notes on torch.nn's activations, and tips for choosing one.

The fixed point belongs to independent, normalised weights in every layer. A skip adds variances; recurrence uses the same
weights again and again. We follow the variance at the start through 40 layers or steps of width 400, for 8 seeds; ELU with
weights of its own gain stands beside.

Practice: With skips use a normalisation layer, or scale the branch; then ELU and SELU are equally far from their theory.
"""

import numpy as np
import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Self-normalisation", ("selu", "elu")


def path(act: str, kind: str, seed: int) -> list[float]:
    """Variance after every layer or step."""
    random, width = torch.Generator().manual_seed(seed), 400
    f, size = laboratory.activation(act), laboratory.gain(act) * (2**0.5 if kind == "double variance" else 1)
    h = torch.randn(200, width, generator=random) * (3 if kind == "input x 3" else 1)
    weight, found = torch.randn(width, width, generator=random) * size / width**0.5, []
    for _ in range(40):
        branch = f(h @ weight)
        h = h + branch if kind == "skips" else branch
        found.append(float(h.var()))
        if kind != "recurrent":
            weight = torch.randn(width, width, generator=random) * size / width**0.5
    return found


def measure(e: Evidence) -> str:
    kinds = ("plain", "input x 3", "recurrent", "double variance", "skips")
    found = {(a, k): [path(a, k, s) for s in range(8)] for a in ("selu", "elu") for k in kinds}
    mean = {key: np.mean(runs, 0) for key, runs in found.items()}
    rows = [[k, *(mean[a, k][i] for a in ("selu", "elu") for i in (0, 9, 39))] for k in kinds]
    columns = ["network", "selu, 1", "selu, 10", "selu, 40", "elu, 1", "elu, 10", "elu, 40"]
    e.table("Variance after so many layers or steps", columns, rows)
    curves = {k: found["selu", k] for k in kinds}
    e.lines("SELU: variance by layer", range(1, 41), curves, "layer or step", "variance", log="y")
    skips, scaled, again = (mean["selu", k][-1] for k in ("skips", "input x 3", "recurrent"))
    e.say(f"""From inputs of variance 9 SELU is at {scaled:.2f} after 40 plain layers. With skips it grows to {skips:.3g} (ELU:
        {mean["elu", "skips"][-1]:.3g}), with twice the weights' variance to {mean["selu", "double variance"][-1]:.3g},
        recurrent to {again:.2f} (ELU {mean["elu", "recurrent"][-1]:.2f}).""")
    e.part("plain, it returns to variance 1", "holds" if abs(scaled - 1) < 0.3 else "refuted")
    e.part("with skips it does not", "holds" if skips > 5 else "refuted")
    better = []
    for kind in ("recurrent", "skips"):
        off = {a: [abs(np.log10(run[-1])) for run in found[a, kind]] for a in ("selu", "elu")}
        test = e.tests(f"Decades away from variance 1 after 40, {kind}", off, unit="decades", scale=1)
        better.append(test.verdict("elu", "lower"))
        e.part(f"{kind}: ELU keeps variance 1 better", better[-1])
    return "holds" if skips > 5 and "holds" in better else "holds only if read as a warning: ELU drifts, too"


if __name__ == "__main__":
    run(__file__)
