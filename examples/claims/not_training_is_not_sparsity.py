"""A unit in ReLU's negative half does not train, and that is what sparsity is.

Taught: notes on ReLU, which doubt it themselves in the margin.

Two shares of zeros are told apart: of a sample's units that are 0 (sparsity), and of the units that are 0 for every sample
(death). Networks are trained at several learning rates: one share can be high while the other is nothing.

Practice: Count zeros per sample for sparsity, and per unit over all data for death. A mean over the whole matrix
confuses the two.
"""

import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Dying units and sparsity", ("relu",)


def measure(e: Evidence) -> str:
    rates = (0.01, 0.1, 0.3, 1.0)
    conditions = {f"{lr:g}": {"lr": lr, "optimiser": "sgd"} for lr in rates}
    conditions["L1 on outputs"] = {"penalty": lambda w, h: 0.3 * sum(v.abs().mean((1, 2)) for v in h)}
    found = laboratory.trials(8, conditions, epochs=6)
    shares = {}
    for name, each in found.items():
        zero, dead = [], []
        for t in each:
            h = torch.cat([v for _, v in laboratory.inside(t.model, t.split.x)], 1) == 0
            zero.append(float(h.float().mean()))
            dead.append(float(h.all(0).float().mean()))
        shares[name] = zero, dead
    rows = [
        [n, *(f"{sum(v) / 8:.1%}" for v in pair), f"{sum(t.accuracy for t in found[n]) / 8:.1%}"]
        for n, pair in shares.items()
    ]
    e.table(
        "Hidden units of trained networks",
        ["learning rate", "zeros in a sample", "dead units", "test accuracy"],
        rows,
    )
    by_kind = {"zeros in a sample": 0, "dead units": 1}
    curves = {k: [[shares[f"{lr:g}"][i][s] for lr in rates] for s in range(8)] for k, i in by_kind.items()}
    e.lines("Two kinds of zeros", rates, curves, "learning rate of SGD", "share", log="x")
    low, sparse = shares["0.1"], shares["L1 on outputs"]
    e.say(f"""At a rate of 0.1, {sum(low[0]) / 8:.0%} of the outputs are 0 while {sum(low[1]) / 8:.1%} of the units are dead; with an
        L1 penalty on the outputs {sum(sparse[0]) / 8:.0%} and {sum(sparse[1]) / 8:.1%}. At a rate of 1, {rows[3][2]} are dead.""")
    return "refuted" if sum(low[0]) / 8 > 0.3 and sum(low[1]) / 8 < 0.1 else "holds"


if __name__ == "__main__":
    run(__file__)
