"""Functions that are nearly linear are easier to optimise; second-order effects make gradients less useful.

Taught: a well-known textbook, and notes on ReLU after it.

How linear is f? For z ~ N(0, 1) the best line through f explains a share of its variance: the square of its first Hermite
coefficient, (E z f)^2 / Var f. How curved? E |f''|, kinks counted by their jump. Both are set against the training loss after
2 epochs, for ten activations with the weights that belong to them.

Practice: Among activations that keep gradients alive the nearly linear ones train sooner. Sigmoid, the most linear of all
for small inputs, shows that it is not enough: its slope of 1/4 and its mean of 1/2 cost more.
"""

import numpy as np
from scipy.stats import spearmanr

import softknee as sk
from softknee.analysis.gaussian import expectation
from softknee.claims import Evidence, laboratory, run

NAMES = ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh", "softsign", "sigmoid")
TOPIC, ABOUT = "Choosing", ("relu", "leaky_relu", "elu", "gelu", "silu", "mish", "tanh", "sigmoid")


def measure(e: Evidence) -> str:
    found = laboratory.trials(8, {n: {"act": n} for n in NAMES}, hidden=[64] * 5, epochs=2)
    rows, share, speed = [], [], np.array([[t.losses[-1] for t in found[n]] for n in NAMES])
    for name in NAMES:
        act, facts = sk.get(name), sk.get(name).facts()
        (slope,), _ = expectation(lambda z, f=act: (z * f(z))[None], [0.0])
        (bend,), _ = expectation(lambda z, f=act: np.abs(f.derivative(z, order=2))[None], [0.0])
        spread = float(facts.variance)
        kinks = sum(
            abs(k.right - k.left) * np.exp(-(k.place**2) / 2) / np.sqrt(2 * np.pi) for k in facts.kinks
        )
        share.append(float(slope) ** 2 / spread)
        rows.append([name, f"{share[-1]:.1%}", (float(bend) + float(kinks)) / spread**0.5])
    rows = [[*r, f"{s.mean():.3f}"] for r, s in zip(rows, speed, strict=True)]
    columns = [
        "function",
        "linear share",
        "curvature E|f''| / deviation",
        "training loss after 2 epochs, nats",
    ]
    e.table("How linear, how curved, how fast", columns, rows)
    each = [float(spearmanr(share, column).statistic) for column in speed.T]
    usual = [float(spearmanr(share[:-1], column[:-1]).statistic) for column in speed.T]
    ranks = {"chance": np.zeros(8), "all ten": each, "without sigmoid": usual}
    test = e.tests("Rank correlation of linear share and loss", ranks, unit="", scale=1)
    losses = dict(zip(NAMES, speed, strict=True))
    e.tests("Training loss after 2 epochs", losses, unit="nats", scale=1)
    e.say(f"""Linear shares go from {min(share):.0%} ({NAMES[int(np.argmin(share))]}) to {max(share):.0%}
        ({NAMES[int(np.argmax(share))]}). Their rank correlation with the loss after 2 epochs is {test.mean("all ten")}
        (p = {test.pairs["all ten"].p:.2g}); without sigmoid {test.mean("without sigmoid")}. A negative one says: more linear, faster.""")
    return {"lower": "holds", "higher": "refuted", "same": "not distinguishable"}[test["all ten"]]


if __name__ == "__main__":
    run(__file__)
