"""ReLU avoids exploding gradients, as its gradient is either 0 or 1.

Taught: tutorials on ReLU, beside vanishing gradients.

Its slope does not explode; the product of slopes and weights does. ReLU is scale-free: weights twice as large give a
gradient 2^L times as large through L layers, at any size of the signal. Bounded functions saturate first, so that large
weights cost them less. We multiply the weights of 20 layers and compare the gradient at the bottom with the one at the
top, and train 8 networks each to see which losses stop being finite.

Practice: Against explosion: the right weight scale, gradient clipping, normalisation. ReLU is no protection.
"""

import numpy as np
import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Depth and gradients", ("relu", "tanh", "sigmoid", "leaky_relu")
DEEP = [128] * 20


def growth(act: str, factor: float, seed: int) -> float:
    """The size of the gradient by the first hidden layer's outputs over that by the last one's."""
    model = laboratory.mlp([64, *DEEP, 10], act, seed, scale=factor * laboratory.gain("relu"))
    split, seen = laboratory.data("digits", seed), []
    h = split.x[:256]
    for layer in model:
        h = layer(h)
        seen.append(h)
    gradients = torch.autograd.grad(torch.nn.functional.cross_entropy(h, split.y[:256]), (seen[1], seen[-2]))
    return float(gradients[0].norm() / gradients[1].norm())


def measure(e: Evidence) -> str:
    factors = (0.7, 1.0, 1.4, 2.0, 3.0)
    found = {a: np.array([[growth(a, k, seed) for k in factors] for seed in range(8)]) for a in ABOUT}
    title, x_label = "Gradient by the outputs of layer 1 over layer 20", "weights, times sqrt(2/n)"
    e.lines(title, factors, found, x_label, "ratio", log="y")
    middle = {a: np.exp(np.log(v).mean(0)) for a, v in found.items()}
    rows = [[f"{k:g}", *(f"{middle[a][i]:.1e}" for a in ABOUT)] for i, k in enumerate(factors)]
    e.table(f"{title} (geometric mean, 8 seeds)", [x_label, *ABOUT], rows)
    decades = {a: np.log10(found[a][:, -1]) for a in ("tanh", "relu", "sigmoid")}
    test = e.tests("Log10 of the ratio with weights 3 times as large", decades, unit="decades", scale=1)
    how = {"hidden": DEEP, "optimiser": "sgd", "lr": 0.01, "epochs": 2, "net": {"scale": 3 * 2**0.5}}
    trained = laboratory.trials(8, {a: {"act": a} for a in ABOUT}, **how)
    lost = {a: sum(not np.isfinite(t.losses[-1]) for t in each) for a, each in trained.items()}
    e.bars("Networks of 8 whose loss stopped being finite, weights 3 times as large", lost, "networks")
    e.say(f"""With weights 3 times as large ReLU's gradient grows {middle["relu"][-1]:.0e} times from top to bottom, tanh's
        {middle["tanh"][-1]:.0e} times (ReLU minus tanh: {test.difference("relu")} decades). Trained so, {lost["relu"]} of 8
        ReLU networks and {lost["tanh"]} of 8 tanh networks lose their numbers.""")
    explodes = middle["relu"][-1] > 100
    e.part("ReLU's gradients do not explode", "refuted" if explodes else "holds")
    e.part("they explode less than tanh's", test.verdict("relu", "lower"))
    return "refuted" if explodes else "holds"


if __name__ == "__main__":
    run(__file__)
