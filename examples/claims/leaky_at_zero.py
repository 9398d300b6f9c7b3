"""Leaky ReLU is defined for x < 0 and for x > 0.

Taught: notes on ReLU, as two cases that leave x = 0 out.

Right: the value at 0 is 0 (both cases agree there); only the slope at 0 is a choice, alpha in torch.

Effect: code that follows the two cases literally returns whatever was in memory, or NaN, for an exact 0; and exact
zeros are everywhere: padding, black pixels, one-hot inputs, biases at their start.

We count exact zeros in real inputs and in what follows, and fill a result by the two cases.

Practice: Let every case distinction cover the line: `x > 0` and `else`.
"""

import numpy as np

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Formulas and constants", ("leaky_relu",)


def two_cases(x: np.ndarray, alpha: float = 0.01) -> np.ndarray:
    y = np.full_like(x, np.nan)
    y[x < 0], y[x > 0] = alpha * x[x < 0], x[x > 0]
    return y


def measure(e: Evidence) -> str:
    rows, shares = [], {}
    for name in ("digits", "wine", "breast_cancer"):
        x = laboratory.data(name, scaling="raw").x.numpy()
        shares[name] = float((x == 0).mean())
        missing = float(np.isnan(two_cases(x)).mean())
        rows.append(
            [
                name,
                f"{shares[name]:.2%}",
                f"{missing:.2%}",
                f"{float((sk.get('leaky_relu')(x) == 0).mean()):.2%}",
            ]
        )
    columns = ["data", "inputs exactly 0", "NaN by the two cases", "exact zeros out of softknee's"]
    e.table("A leaky ReLU straight on the inputs", columns, rows)
    e.bars("Share of inputs that are exactly 0", shares, "share")
    at_zero = [float(sk.get("leaky_relu")(v)) for v in (-0.0, 0.0)]
    e.say(f"""{shares["digits"]:.0%} of the pixels of digits are exactly 0, and the two cases leave every one undefined.
        softknee's values at -0 and 0: {at_zero[0]:g}, {at_zero[1]:g}; its slope at 0:
        {sk.get("leaky_relu").derivative(0.0):g}.""")
    return "refuted" if at_zero == [0, 0] and shares["digits"] > 0.01 else "holds"


if __name__ == "__main__":
    run(__file__)
