"""Leaky ReLU does not kill units but drives them to ever larger negative values.

Taught: notes on torch.nn's activations, as the reason why ELU and GELU bound the negative side.

A negative output is alpha z, with alpha = 0.01 to 0.3; the next layer mixes it with positive ones. Whether values drift is
a question about depth and about training. We follow the smallest outputs and the mean through 20 layers at the start,
and through training in a 5-layer network, beside others.

Practice: Do not fear the unbounded side of a leaky unit. What grows with depth is a matter of the weights' scale.
"""

import numpy as np
import torch

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Depth and gradients", ("leaky_relu", "relu", "elu", "gelu")
CASES = ("leaky_relu", "leaky_relu(negative_slope=0.3)", "relu", "elu", "gelu")


def measure(e: Evidence) -> str:
    low: dict[str, list[list[float]]] = {}
    for case in CASES:
        low[case] = []
        for seed in range(5):
            model = laboratory.mlp([64, *[256] * 20, 10], case, seed)
            inside = laboratory.inside(model, laboratory.data("digits", seed).test_x)
            low[case].append([float(torch.quantile(h[:200].flatten(), 0.001)) for _, h in inside])
    e.lines("The lowest 0.1 % of the outputs by depth, at the start", range(1, 21), low, "layer", "output")
    found = laboratory.trials(8, {c: {"act": c} for c in CASES}, hidden=[64] * 5, epochs=15)
    growth = {}
    for case, each in found.items():
        inside = [laboratory.inside(t.model, t.split.test_x)[-1][1] for t in each]
        growth[case] = float(np.mean([float(torch.quantile(h.flatten(), 0.001)) for h in inside]))
    rows = [[case, np.mean([v[-1] for v in low[case]]), growth[case]] for case in CASES]
    e.table("Lowest 0.1 % of the outputs", ["function", "layer 20, start", "layer 5, trained"], rows)
    test = e.tests(
        "Test accuracy on digits, 5 hidden layers, 15 epochs", laboratory.accuracies(found), against="elu"
    )
    leaky, strong = CASES[:2]
    worst = {c: np.array(v).mean(0) for c, v in low.items()}
    e.say(f"""At the start the lowest 0.1 % of leaky ReLU's outputs are at {worst[leaky][0]:.3f} in layer 1 and
        {worst[leaky][-1]:.3f} in layer 20 (slope 0.3: {worst[strong][0]:.2f} and {worst[strong][-1]:.2f}); after training they
        are at {growth[leaky]:.2f} (slope 0.3: {growth[strong]:.2f}; ELU, which is bounded: {growth["elu"]:.2f}). Leaky ReLU
        minus ELU: {test.difference(leaky)} points. GELU's bound is {float(sk.get("gelu").facts().range.low):.2f}.""")
    drifts = worst[leaky][-1] < 2 * worst[leaky][0] and growth[leaky] < growth["elu"]
    return "holds" if drifts and test[leaky] == "lower" else "refuted"


if __name__ == "__main__":
    run(__file__)
