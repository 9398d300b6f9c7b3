"""ReLU does not saturate (the same page: ReLU saturates hard for x < 0).

Taught: notes on ReLU list "no saturating region" among its virtues, and its hard saturation a few lines on.

Right: saturation has a side and a kind. ReLU: none above, hard below (the slope is exactly 0). Sigmoid and tanh: soft on
both sides (the slope tends to 0). Leaky ReLU: none.

Effect: "does not saturate" is taken for "always passes the gradient on": half of ReLU's inputs pass nothing.

Limits of the derivative at both ends are derived from the formula, not sampled: hard means that the slope is exactly 0
from some point on. The share of N(0, 1) inputs that pass no gradient is the size of the set where f' = 0.

Practice: Ask for the side. Hard saturation stops a unit's learning on those samples; soft saturation slows it down.
"""

import numpy as np

import softknee as sk
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Derivatives and kinks", ("relu", "leaky_relu", "elu", "sigmoid", "tanh", "hardtanh", "gelu")


def measure(e: Evidence) -> str:
    rows = []
    for name in ABOUT:
        facts = sk.get(name).facts()
        rows.append([name, *facts.saturation, f"{float(facts.flat_share):.3f}"])
    e.table(
        "Where the slope goes to 0",
        ["function", "towards -inf", "towards +inf", "share of N(0, 1) with f' = 0"],
        rows,
    )
    x = np.linspace(-6, 6, 600)
    e.lines(
        "Slopes",
        x,
        {n: sk.get(n).derivative(x) for n in ("relu", "leaky_relu", "elu", "sigmoid", "tanh")},
        "x",
        "f'(x)",
    )
    relu = sk.get("relu").facts()
    e.say(f"""ReLU: towards -infinity {relu.saturation[0]}, towards +infinity {relu.saturation[1]}; for a standard normal
        input {float(relu.flat_share):.0%} of the elements pass no gradient at all.""")
    return "holds only if the input is positive; below 0 it saturates hard"


if __name__ == "__main__":
    run(__file__)
