"""ELU's plateau below 0 makes it more robust to noise.

Taught: notes on torch.nn's activations, after the paper (Clevert et al. 2016, arXiv:1511.07289).

The argument: where a unit is saturated, a change of its input changes nothing. ReLU is flat below 0, too, and nearer:
so what is to be robust is the absence of a feature, in both. Networks with 5 hidden layers are trained on clean
digits and tested with Gaussian noise of growing size on the standardised pixels; and once more trained with the
noise.

Practice: For robustness to noise train with noise; it does far more than any choice between these functions.
"""

import numpy as np
import torch

from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Choosing", ("elu", "relu", "leaky_relu", "selu", "tanh")


def noisy(x: torch.Tensor, size: float, seed: int) -> torch.Tensor:
    return x + size * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


def measure(e: Evidence) -> str:
    sizes, scores = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0), {}
    for name, size in (("clean", 0.0), ("noise of 1", 1.0)):
        how = {"hidden": [64] * 5, "epochs": 10, "change": lambda s, k=size: s._replace(x=noisy(s.x, k, 99))}
        for act, each in laboratory.trials(8, {a: {"act": a} for a in ABOUT}, **how).items():
            scores[name, act] = np.array([
                [laboratory.accuracy(t.model, noisy(t.split.test_x, k, seed), t.split.test_y) for k in sizes]
                for seed, t in enumerate(each)
            ])  # fmt: skip
    curves = {f"{a}, trained {n}": v for (n, a), v in scores.items() if a in ("relu", "elu", "tanh")}
    e.lines("Test accuracy under noise", sizes, curves, "standard deviation of the noise", "accuracy")
    tests = {}
    for k in (1.0, 2.0):
        at = {a: scores["clean", a][:, sizes.index(k)] for a in ("relu", *ABOUT)}
        tests[k] = e.tests(f"Trained clean, tested with noise of {k:g}", at)
        e.part(f"noise of {k:g}: ELU keeps more accuracy than ReLU", tests[k].verdict("elu", "higher"))
    both = {f"relu, trained {n}": scores[n, "relu"][:, sizes.index(2.0)] for n in ("clean", "noise of 1")}
    trained = e.tests("ReLU tested with noise of 2, by training", both)
    e.say(f"""Tested with noise of 1 ELU minus ReLU is {tests[1.0].difference("elu")} points, with noise of 2
        {tests[2.0].difference("elu")}; tanh minus ReLU {tests[2.0].difference("tanh")}. Training ReLU with noise gains
        {trained.difference("relu, trained noise of 1")}.""")
    small = "small" if tests[1.0]["elu"] == "higher" else "large"
    return overall([t.verdict("elu", "higher") for t in tests.values()], f"the noise is {small}")


if __name__ == "__main__":
    run(__file__)
