"""Maxout belongs together with dropout.

Taught: tutorials on ReLU's relatives, after the paper (Goodfellow et al. 2013, arXiv:1302.4389), which designed it
so.

The argument: maxout is linear almost everywhere, so the average over dropped-out networks is close to the network
with weights scaled. If maxout goes with dropout better than others, dropout helps it more. Maxout of two and three
pieces and ReLU, with and without dropout of 0.5, on 300 samples of digits, where dropout has something to do; the
gain by dropout is compared between them.

Practice: Choose dropout by how much your network overfits, with maxout as with anything else.
"""

import numpy as np
import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Maxout, gates and shrinkage", ("relu",)


def measure(e: Evidence) -> str:
    kinds: dict[str, dict] = {"relu": {"act": "relu"}}
    kinds |= {f"maxout {k}": {"net": {"pieces": k, "scale": size}} for k, size in ((2, 1.0), (3, 0.89))}
    conditions = {}
    for name, settings in kinds.items():
        for rate in (0.0, 0.5):
            net = settings.get("net", {}) | ({"dropout": lambda: torch.nn.Dropout(0.5)} if rate else {})
            conditions[name + ", dropout" * bool(rate)] = settings | {"net": net}
    found = laboratory.trials(8, conditions, samples=300, hidden=[128, 128], epochs=40)
    scores = laboratory.accuracies(found)
    test = e.tests("Test accuracy on digits, 300 training samples", scores)
    gains = {name: np.array(scores[f"{name}, dropout"]) - np.array(scores[name]) for name in kinds}
    gain = e.tests("Gain by dropout, in points of test accuracy", gains, unit="points")
    curves = {
        k: [t.losses for t in found[k]] for k in ("relu", "relu, dropout", "maxout 2", "maxout 2, dropout")
    }
    e.lines("Training loss", range(1, 41), curves, "epoch", "nats", log="y")
    e.say(f"""Dropout changes ReLU's test accuracy by {gain.mean("relu")} points, that of maxout with two pieces by
        {gain.mean("maxout 2")} and with three by {gain.mean("maxout 3")}; maxout's gain minus ReLU's is
        {gain.difference("maxout 2")} and {gain.difference("maxout 3")}. Without dropout maxout minus ReLU is
        {test.difference("maxout 2")}.""")
    for k in (2, 3):
        e.part(f"dropout helps maxout of {k} pieces more than ReLU", gain.verdict(f"maxout {k}", "higher"))
    return gain.verdict("maxout 2", "higher")


if __name__ == "__main__":
    run(__file__)
