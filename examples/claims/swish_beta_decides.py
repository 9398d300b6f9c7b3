"""Swish learns from beta whether a layer needs its activation: towards 0 it is linear, towards infinity ReLU.

Taught: problem sets on ReLU and its relatives.

The limits are mathematics: x sigmoid(beta x) tends to x/2 and to max(0, x). Whether training goes there is another
question. We learn one beta for each of six layers from beta = 1 and from 0.1 and 5, on digits, and on a target that is
linear in its inputs, where no layer needs its activation.

Practice: Read learned betas as a mild preference. What they start from stays visible in where they end.
"""

import numpy as np
import torch

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Slopes, fixed and learned", ("swish", "silu", "relu")


def learned(target: str, start: float) -> np.ndarray:
    """Betas after training: (seeds, layers)."""
    settings = {
        "act": lambda: sk.nn.Swish(beta=start),
        "hidden": [48] * 6,
        "net": {"scale": 1.68},
        "lr": 5e-3,
    }
    if target == "linear":
        plane = torch.randn(64, 10, generator=torch.Generator().manual_seed(0)) / 8
        settings |= {"change": lambda s: s._replace(y=s.x @ plane), "loss": torch.nn.functional.mse_loss}
    found = laboratory.trials(8, {"": settings}, outputs=10, epochs=12)[""]
    return np.array([[m.beta.item() for m in t.model if isinstance(m, sk.nn.Swish)] for t in found])


def measure(e: Evidence) -> str:
    x = np.linspace(-4, 4, 401)
    low, high = (
        np.abs(sk.get("swish")(x, beta=b) - f).max() for b, f in ((1e-6, x / 2), (1e6, np.maximum(x, 0)))
    )
    cases = [("digits", 1.0), ("linear", 1.0), ("digits", 0.1), ("digits", 5.0)]
    ends = {f"{t}, from {s:g}": learned(t, s) for t, s in cases}
    e.lines("Learned beta by layer (8 seeds)", range(1, 7), ends, "hidden layer", "beta")
    rows = [[k, *map(float, (v.min(), v.mean(), v.max()))] for k, v in ends.items()]
    e.table("Learned beta", ["task", "smallest", "mean", "largest"], rows)
    pair = {k: v.mean(1) for k, v in ends.items() if k.endswith("from 1")}
    test = e.tests("Mean beta of a network that starts from 1", pair, unit="", scale=1)
    e.say(f"""Limits: beta = 1e-6 is within {low:.0e} of x/2, beta = 1e6 within {high:.0e} of ReLU. From 1, betas end at
        {test.mean("digits, from 1")} on digits and {test.mean("linear, from 1")} where the target is linear (difference
        {test.difference("linear, from 1")}). From 0.1 they end at {ends["digits, from 0.1"].mean():.2f} on average, from
        5 at {ends["digits, from 5"].mean():.2f}.""")
    falls = "holds" if test["linear, from 1"] == "lower" else "refuted"
    e.part("the limits are x/2 and ReLU", "holds" if max(low, high) < 1e-4 else "refuted")
    e.part("beta falls where no nonlinearity is needed", falls)
    stays = ends["digits, from 5"].mean() > 2 * ends["digits, from 0.1"].mean()
    return "holds only if beta starts near where it should end: it moves little" if stays else "holds"


if __name__ == "__main__":
    run(__file__)
