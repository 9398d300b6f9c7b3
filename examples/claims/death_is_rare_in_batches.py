"""Dead ReLUs are rare because training goes in batches.

Taught: notes on ReLU: "the probability is very small, because training goes batch by batch".

A unit dies when a step throws its bias and weights so far that no sample reaches it. Batch sizes from 8 to 512 meet learning
rates from 0.03 to 0.3 under plain SGD, with the same number of epochs, and the units that fire for no training sample are
counted in three layers of 64 (in a network that diverged none fires).

Practice: If units die, lower the learning rate; changing the batch size helps only in as far as it changes the steps.
"""

import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Dying units and sparsity", ("relu",)


def measure(e: Evidence) -> str:
    batches, rates = (8, 64, 512), (0.03, 0.1, 0.3)
    share, rows = {}, []
    for lr in rates:
        conditions = {str(b): {"batch": b} for b in batches}
        found = laboratory.trials(6, conditions, optimiser="sgd", lr=lr, epochs=3)
        for batch, each in found.items():
            dead = [
                torch.cat([~(h > 0).any(0) for _, h in laboratory.inside(t.model, t.split.x)]) for t in each
            ]
            share[lr, int(batch)] = [float(d.float().mean()) for d in dead]
        rows.append([f"{lr:g}", *(f"{sum(share[lr, b]) / 6:.1%}" for b in batches)])
    e.table("Dead units after 3 epochs of SGD", ["learning rate", *(f"batch {b}" for b in batches)], rows)
    curves = {f"learning rate {lr:g}": [[share[lr, b][s] for b in batches] for s in range(6)] for lr in rates}
    e.lines("Dead units by batch size", batches, curves, "batch size", "share of dead units", log="x")
    test = e.tests(
        "Dead units at a learning rate of 0.3, by batch size", {f"batch {b}": share[0.3, b] for b in batches}
    )
    small, large = (sum(share[0.1, b]) / 6 for b in (8, 512))
    e.say(f"""At a learning rate of 0.3 batches of 8 leave {test.mean("batch 8")} % of the units dead, batches of 512
        {test.mean("batch 512")} % (difference {test.difference("batch 512")}). At a rate of 0.1 dead units are rare whatever the
        batch: {small:.1%} with 8, {large:.1%} with 512.""")
    return {"lower": "refuted", "higher": "holds", "same": "not distinguishable"}[test["batch 512"]]


if __name__ == "__main__":
    run(__file__)
