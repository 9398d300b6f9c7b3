"""With the Cauchy distribution in the place of the normal one, GELU becomes ELU.

Taught: notes on torch.nn's activations, as a curiosity.

Right: x F(x) with the Cauchy distribution function F(x) = 1/2 + atan(x)/pi is another function: at -1 it is -1/4 where
ELU is 1/e - 1 = -0.632, and its limit at -infinity is -1/pi = -0.318 where ELU's is -1.

Effect: none in code, but it is a bad picture of the family: a heavy tail of the gate gives a limit, not an exponential.

GELU is x times the probability that a noise lies below x. Any distribution gives such a unit; its behaviour at -infinity
is that of x times the distribution's left tail: 0 for the normal and the logistic one, -1/pi for Cauchy's tail 1/(pi |x|).

Practice: Do not trust "it is said that" about formulas: three values decide.
"""

import numpy as np

import softknee as sk
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Formulas and constants", ("gelu", "elu", "silu")


def measure(e: Evidence) -> str:
    gelu, elu = sk.get("gelu"), sk.get("elu")
    x = np.linspace(-10, 2, 600)
    curves = {
        "gelu, normal": gelu(x),
        "gelu, logistic (silu)": gelu(x, cdf="logistic"),
        "gelu, Cauchy": gelu(x, cdf="cauchy"),
    }
    e.lines("x times a distribution function, and ELU", x, curves | {"elu": elu(x)})
    rows = [[f"{p:g}", gelu(p, cdf="cauchy"), elu(p)] for p in (-1.0, -10.0, -1e6)]
    facts = gelu.facts(cdf="cauchy")
    e.table("Values", ["x", "x F(x), Cauchy", "elu(x)"], [*rows, ["-inf", float(facts.limits[0]), -1.0]])
    e.say(f"""At -1: {rows[0][1]:.4f} against ELU's {rows[0][2]:.4f}; the limit at -infinity is {float(facts.limits[0]):.6f}
        (-1/pi = {-1 / np.pi:.6f}) against -1. With the logistic distribution the family does give a known function: SiLU,
        equal to {float(np.abs(gelu(x, cdf="logistic") - sk.get("silu")(x)).max()):.0e}.""")
    return "refuted" if abs(rows[0][1] - rows[0][2]) > 0.1 else "holds"


if __name__ == "__main__":
    run(__file__)
