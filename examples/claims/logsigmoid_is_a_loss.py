"""logsigmoid is a loss rather than an activation.

Taught: notes on torch.nn's activations ("found little but its use in loss functions").

The logistic loss of a logit z and a label +-1 is -logsigmoid(+-z), and so is the loss of word2vec's negative sampling.
-log(sigmoid(z)) is the same on paper, but infinite where sigmoid(z) rounds to 0, and its gradient is lost. Both are
tried on a grid in three dtypes and in training on inputs that were not scaled; then logsigmoid as an activation.

Practice: `binary_cross_entropy_with_logits`, `logsigmoid`, or `softplus(-z)`; never the log of a sigmoid.
"""

import math

import torch

from softknee import functional as F
from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Choosing", ("logsigmoid", "sigmoid", "softplus", "relu")
FORMS = {"log(sigmoid)": lambda z: -torch.log(F.sigmoid(z)), "logsigmoid": lambda z: -F.logsigmoid(z)}


def measure(e: Evidence) -> str:
    z = torch.linspace(-130, 20, 301, dtype=torch.float64)
    exact, rows, curves, lost = -F.logsigmoid(z), [], {}, {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for form, f in FORMS.items():
            value, name = f(z.to(dtype)).double(), f"{form}, {str(dtype)[6:]}"
            wrong = ((value - exact).abs() > 0.05 * exact + 1e-2).double().mean()
            endless = f"{float(z[value.isinf()].max()):g}" if value.isinf().any() else "nowhere"
            rows.append([name, endless, f"{float(wrong):.0%}"])
            curves[name] = value.clamp(max=150)
    e.table("The loss on [-130, 20]", ["form", "infinite up to z =", "wrong by more than 5 %"], rows)
    title = "The logistic loss by two formulas (infinite: drawn at 150)"
    shown = {name: curve for name, curve in curves.items() if "bfloat" not in name}
    e.lines(title, z, shown, "logit of the right class", "nats")
    how = {"name": "breast_cancer", "scaling": "raw", "hidden": [32], "outputs": 1, "optimiser": "sgd"}
    for form, f in FORMS.items():
        loss = {"loss": lambda out, y, f=f: f((2 * y - 1) * out[:, 0]).mean()}
        each = laboratory.trials(8, {"": loss}, epochs=10, lr=0.01, **how)[""]
        lost[form] = sum(not math.isfinite(t.losses[-1]) for t in each)
    found = laboratory.trials(8, {a: {"act": a} for a in ("relu", "logsigmoid", "softplus")}, epochs=8)
    test = e.tests("As an activation: test accuracy on digits, 3 layers", laboratory.accuracies(found))
    first, second = FORMS
    e.say(f"""-log(sigmoid(z)) is infinite up to z = {rows[0][1]} in float32 and up to {rows[4][1]} in float16, -logsigmoid(z)
        {rows[1][1]} on the grid. On inputs that were not scaled {lost[first]} of 8 trainings with the first lose their
        numbers, {lost[second]} with the second. As an activation: logsigmoid minus ReLU {test.difference("logsigmoid")}
        points.""")
    stable = "holds" if lost[second] < lost[first] else "not distinguishable"
    e.part("logsigmoid is the stable form of the loss", stable)
    worse = test.verdict("logsigmoid", "lower")
    e.part("as an activation it is worse than ReLU", worse)
    return overall((stable, worse), "it is said of its use: it is the stable loss, and no bad activation")


if __name__ == "__main__":
    run(__file__)
