"""SELU normalises itself in a plain sequence of layers only; with skips or recurrence prefer ELU.

Taught: notes on torch.nn's activations, and tips for choosing one.

The fixed point belongs to independent, normalised weights in every layer. A skip adds variances; recurrence uses the same
weights again and again. We follow the variance at the start through 40 layers or steps of width 400; ELU with weights of
its own gain stands beside.

Practice: With skips use a normalisation layer, or scale the branch; then ELU and SELU are equally far from their theory.
"""

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
    found = {(a, k): [path(a, k, s) for s in range(4)] for a in ("selu", "elu") for k in kinds}
    mean = {key: [sum(r[i] for r in runs) / 4 for i in range(40)] for key, runs in found.items()}
    rows = [[k, *(mean[a, k][i] for a in ("selu", "elu") for i in (0, 9, 39))] for k in kinds]
    columns = ["network", "selu, 1", "selu, 10", "selu, 40", "elu, 1", "elu, 10", "elu, 40"]
    e.table("Variance after so many layers or steps", columns, rows)
    curves = {k: found["selu", k] for k in kinds}
    e.lines("SELU: variance by layer", range(1, 41), curves, "layer or step", "variance", log="y")
    plain, scaled, skips, again = (mean["selu", k][-1] for k in ("plain", "input x 3", "skips", "recurrent"))
    e.say(f"""Plain: variance {plain:.2f} after 40 layers, and {scaled:.2f} from inputs of variance 9. With skips it grows to
        {skips:.3g} (ELU: {mean["elu", "skips"][-1]:.3g}), with twice the weights' variance to
        {mean["selu", "double variance"][-1]:.3g}, recurrent to {again:.2f} (ELU {mean["elu", "recurrent"][-1]:.2f}).""")
    back, grows = abs(scaled - 1) < 0.3, skips > 5
    e.part("plain, it returns to variance 1", "holds" if back else "refuted")
    e.part("with skips it does not", "holds" if grows else "refuted")
    better = mean["elu", "skips"][-1] < skips / 3
    e.part("ELU then keeps its variance better", "holds" if better else "refuted")
    return "holds" if grows and better else "holds only if read as a warning: with skips ELU grows as well"


if __name__ == "__main__":
    run(__file__)
