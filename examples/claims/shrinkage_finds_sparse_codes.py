"""Shrink functions serve sparse coding: x = D a with few entries of a different from 0.

Taught: notes on torch.nn's activations.

ISTA: step along the gradient of |x - D a|^2 / 2, then shrink. Softshrink belongs to an L1 penalty, hardshrink to one that
counts the entries. 60 signals of length 30 are made of 3 of 60 unit vectors, with noise; found: the same 3 are largest.

Practice: Softshrink first: convex, no false minima. Hardshrink, started from its solution, takes the bias of L1 away.
"""

import torch
import torch.nn.functional as torch_functional

import softknee as sk
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Maxout, gates and shrinkage", ("softshrink", "hardshrink", "tanhshrink")


def measure(e: Evidence) -> str:
    scores: dict[str, list[float]] = {n: [] for n in ("softshrink", "hardshrink", "tanhshrink", "none")}
    zeros, path = dict.fromkeys(scores, 0.0), {n: [] for n in scores}
    for seed in range(8):
        random = torch.Generator().manual_seed(seed)
        D = torch_functional.normalize(torch.randn(30, 60, generator=random), dim=0)
        places = torch.rand(60, 60, generator=random).topk(3).indices
        sizes = torch.randn(60, 3, generator=random)
        code = torch.zeros(60, 60).scatter_(1, places, sizes + sizes.sign())
        x = code @ D.T + 0.02 * torch.randn(60, 30, generator=random)
        step = 1 / float(torch.linalg.matrix_norm(D, 2)) ** 2
        shrink = {
            "softshrink": lambda v, t=step: sk.functional.softshrink(v, 0.1 * t),
            "hardshrink": lambda v, t=step: sk.functional.hardshrink(v, (0.2 * t) ** 0.5),
            "tanhshrink": sk.functional.tanhshrink,
            "none": lambda v: v,
        }
        for name, f in shrink.items():
            a = torch.zeros_like(code)
            for i in range(300):
                a = f(a + step * (x - a @ D.T) @ D)
                if seed == 0 and i % 10 == 0:
                    path[name].append(float((x - a @ D.T).square().mean() ** 0.5))
            found = a.abs().topk(3).indices.sort().values == places.sort().values
            scores[name].append(float(found.all(1).float().mean()))
            zeros[name] += float((a == 0).float().mean()) / 8
    test = e.tests("Codes whose three places are found", scores, against="none")
    e.lines("Error of the reconstruction", range(0, 300, 10), path, "iteration", "rms error", log="y")
    e.say(f"""All three places are found in {test.mean("softshrink")} % of the signals with softshrink, {test.mean("hardshrink")} %
        with hardshrink, {test.mean("tanhshrink")} % with tanhshrink and {test.mean("none")} % without shrinking. Exact zeros:
        {zeros["softshrink"]:.0%}, {zeros["hardshrink"]:.0%}, {zeros["tanhshrink"]:.0%}, {zeros["none"]:.0%}.""")
    for name in ("softshrink", "hardshrink", "tanhshrink"):
        e.part(
            f"{name} finds sparse codes",
            "holds" if test[name] == "higher" and zeros[name] > 0.5 else "refuted",
        )
    return "holds only if the function has a zero interval" if test["softshrink"] == "higher" else "refuted"


if __name__ == "__main__":
    run(__file__)
