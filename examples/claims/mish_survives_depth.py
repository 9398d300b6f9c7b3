"""From 15 layers on ReLU and Swish lose accuracy, and Mish keeps it.

Taught: the Mish paper's depth test (Misra 2019, arXiv:1908.08681): fully connected on MNIST, 500 units a layer,
batch norm, dropout of 25 %, SGD; equal at 15 layers, then ReLU and Swish fall first. It is a figure without
intervals.

A reproduction on 5,000 images of MNIST (2,000 to train on) with 64 units a layer, SGD at 0.5, 10 epochs, 8 seeds: so much
less training that all are far from their best, and what is compared is how far they get.

Practice: A network that deep without skips is at the edge of training with any of them: a smoother function reaches
further, skips reach much further.
"""

import torch

from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Published comparisons, repeated", ("mish", "swish", "silu", "relu")
PUBLISHED = {15: "equal", 25: "ReLU and Swish lower"}  # read off its figure


def measure(e: Evidence) -> str:
    names, tests, rows, curves = ("relu", "silu", "mish"), {}, [], {}
    how = {"name": "mnist5k", "samples": 2_000, "batch": 50, "optimiser": "sgd", "lr": 0.5, "epochs": 10}
    for depth, theirs in PUBLISHED.items():
        net = {"norm": True, "dropout": lambda: torch.nn.Dropout(0.25)}
        found = laboratory.trials(8, {a: {"act": a, "net": net} for a in names}, hidden=[64] * depth, **how)
        scores = laboratory.accuracies(found)
        tests[depth] = e.tests(f"Test accuracy on MNIST-5k, {depth} hidden layers", scores, against="mish")
        rows.append([depth, theirs, *(tests[depth].difference(a) for a in names[:2])])
        for name in names:
            curves.setdefault(name, []).append(scores[name])
    matrices = {name: list(zip(*v, strict=True)) for name, v in curves.items()}
    e.lines("Test accuracy by depth", list(PUBLISHED), matrices, "hidden layers", "accuracy")
    columns = ["layers", "published (a figure)", "here: ReLU minus Mish, points", "Swish minus Mish, points"]
    e.table("Published beside here", columns, rows)
    kept = e.tests(None, dict(zip(("15", "25"), curves["mish"], strict=True)))
    e.say(f"""Mish reaches {tests[15].mean("mish")} % with 15 layers, {tests[25].mean("mish")} % with 25. ReLU minus Mish:
        {tests[15].difference("relu")} points with 15, {tests[25].difference("relu")} with 25. Swish minus Mish:
        {tests[15].difference("silu")} and {tests[25].difference("silu")}. Mish with 25 minus with 15: {kept.difference("25")}.""")
    same = {tests[15][a] for a in names[:2]} == {"same"}
    e.part("equal at 15 layers", "holds" if same else "refuted")
    behind = [tests[25].verdict(a, "lower") for a in names[:2]]
    e.part("ReLU is behind Mish at 25 layers", behind[0])
    e.part("Swish is behind Mish at 25 layers", behind[1])
    keeps = "refuted" if kept["25"] == "lower" else "holds"
    e.part("Mish keeps its accuracy from 15 to 25 layers", keeps)
    return overall([*behind, keeps], "it is said of the order: Mish loses accuracy, too")


if __name__ == "__main__":
    run(__file__)
