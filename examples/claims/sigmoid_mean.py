"""The mean of the sigmoid is 0.25.

Taught: notes on vanishing gradients, to explain the bias shift.

Right: 0.5, for any input distribution symmetric about 0. 0.25 is its largest slope.

Effect: the bias shift is twice as large as taught; and who centres the output by subtracting 0.25 leaves half of it.

sigmoid(x) + sigmoid(-x) = 1, so the mean is 1/2 whenever x and -x are equally likely. We show the identity, the
Gaussian mean by quadrature at several input variances, and the mean inside a network.

Practice: Sigmoid's shift is a fixed +1/2: tanh(x) = 2 sigmoid(2x) - 1 is the same curve without it.
"""

import torch

import softknee as sk
from softknee.analysis.function import function_of
from softknee.analysis.gaussian import gaussian_of
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Formulas and constants", ("sigmoid", "tanh")


def measure(e: Evidence) -> str:
    definition = sk.get("sigmoid").definition
    rows = [
        [f"N(0, {q:g})", float(gaussian_of(function_of(definition), q=q).mean)]
        for q in (0.1, 1.0, 10.0, 100.0)
    ]
    uniform = torch.rand(10**6, generator=torch.Generator().manual_seed(0)) * 8 - 4
    rows.append(["uniform on [-4, 4]", float(sk.get("sigmoid")(uniform).mean())])
    split = laboratory.data("digits")
    model = laboratory.mlp([64, 256, 256, 256, 10], "sigmoid", scale=1.0)
    inside = [float(h.mean()) for _, h in laboratory.inside(model, split.x)]
    rows += [[f"hidden layer {i + 1} of a network on digits", m] for i, m in enumerate(inside)]
    e.table("Mean of sigmoid", ["input", "mean"], [[a, f"{b:.4f}"] for a, b in rows])
    x = torch.linspace(-6, 6, 400, dtype=torch.float64)
    act = sk.get("sigmoid")
    e.lines(
        "The value 1/4 is the top of the slope", x, {"sigmoid(x)": act(x), "sigmoid'(x)": act.derivative(x)}
    )
    mean, slope = float(act.facts().mean), float(act.facts().lipschitz)
    e.say(f"""E sigmoid(z) = {mean:.4f} for z ~ N(0, 1), and the same at every variance; its largest slope is {slope:.4f}.
        In a network on digits the layers' means are {", ".join(f"{m:.3f}" for m in inside)}.""")
    return "refuted" if abs(mean - 0.5) < 1e-9 else "holds"


if __name__ == "__main__":
    run(__file__)
