"""CELU is alpha exp(x/alpha - 1) below 0, and GELU is about 0.5 x (1 + tanh(sqrt(2/pi))) (x + 0.044715 x^3).

Taught: notes on torch.nn's activations, each with a parenthesis in the wrong place.

Right: alpha (exp(x/alpha) - 1) for CELU; 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) for GELU.

Effect: the misprinted CELU jumps at 0 from alpha/e to 0 and tends to 0 instead of -alpha; the misprinted GELU is a
polynomial of degree 4 and grows without bound on both sides.

Both misprints are typed in as printed and set beside the right functions.

Practice: Test a typed-in formula at three points: 0, a large positive and a large negative number. Both misprints fail
at once: `softknee.testing.check_activation` does this and more.
"""

import numpy as np

import softknee as sk
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Formulas and constants", ("celu", "gelu", "gelu_tanh")


def measure(e: Evidence) -> str:
    x = np.linspace(-4, 3, 701)
    celu_printed = np.where(x >= 0, x, np.exp(x - 1))
    gelu_printed = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi))) * (x + 0.044715 * x**3)
    celu, gelu = sk.get("celu")(x), sk.get("gelu")(x, approximate="tanh")
    e.lines("CELU, alpha = 1", x, {"right": celu, "as printed": celu_printed})
    e.lines(
        "GELU, tanh form", x, {"right": gelu, "as printed": np.clip(gelu_printed, -1, 8)}, y_label="cut at 8"
    )
    points = [-20.0, -1.0, -1e-9, 3.0]
    rows = []
    for p in points:
        printed = 0.5 * p * (1 + np.tanh(np.sqrt(2 / np.pi))) * (p + 0.044715 * p**3)
        c = float(np.where(p >= 0, p, np.exp(p - 1)))
        rows.append([f"{p:g}", sk.get("celu")(p), c, sk.get("gelu")(p, approximate="tanh"), float(printed)])
    e.table("Values", ["x", "celu", "as printed", "gelu(tanh)", "as printed"], rows)
    worst = float(np.abs(celu - celu_printed).max()), float(np.abs(gelu - gelu_printed).max())
    e.say(f"""On [-4, 3] the misprinted CELU is off by up to {worst[0]:.3g}, the misprinted GELU by up to {worst[1]:.3g};
        at -20 the latter is {rows[0][4]:.3g} where GELU is 0.""")
    return "refuted" if min(worst) > 0.1 else "holds"


if __name__ == "__main__":
    run(__file__)
