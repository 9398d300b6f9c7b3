"""Exact GELU is fast enough: its approximations are hardly ever needed.

Taught: notes on torch.nn's activations.

Three forms: x Phi(x), the tanh form and x sigmoid(1.702 x). Their errors are facts of the formulas; their times are
measured in turns on one core, for softknee and for torch, with and without gradient.

Practice: Use the exact form unless a checkpoint was trained with another: exchanging them changes results more than
rounding does.
"""

import numpy as np
import torch

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Speed and precision", ("gelu", "gelu_tanh", "quick_gelu")


def measure(e: Evidence) -> str:
    forms = {
        "exact": sk.functional.gelu,
        "tanh": lambda x: sk.functional.gelu(x, approximate="tanh"),
        "sigmoid": sk.functional.quick_gelu,
        "torch, exact": torch.nn.functional.gelu,
        "torch, tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    }
    x = torch.randn(1 << 18)
    leaf = x.clone().requires_grad_()
    alone = laboratory.in_turns({name: lambda f=f: f(x) for name, f in forms.items()})
    both = laboratory.in_turns(
        {n: lambda f=f: torch.autograd.grad(f(leaf), leaf, x) for n, f in forms.items()}
    )
    t = np.linspace(-8, 8, 160_001)
    exact = sk.get("gelu")(t)
    others = {"tanh": sk.get("gelu")(t, approximate="tanh"), "sigmoid": sk.get("quick_gelu")(t)}
    errors = {name: float(np.abs(values - exact).max()) for name, values in others.items()}
    base = alone["exact"], both["exact"]
    error = {n: f"{errors.get(n.split()[-1], 0.0):.1e}" for n in forms}
    rows = [[n, error[n], alone[n] / base[0], both[n] / base[1]] for n in forms]
    columns = ["form", "largest error", "time, forward", "forward and backward"]
    e.table("262,144 float32 elements, one core, times relative to softknee's exact form", columns, rows)
    e.lines(
        "Errors of the approximations",
        t[::200],
        {k: (v - exact)[::200] for k, v in others.items()},
        "x",
        "error",
    )
    gain = 1 - min(r[3] for r in rows[1:3])
    e.say(f"""The tanh form is off by up to {errors["tanh"]:.1e}, the sigmoid form by {errors["sigmoid"]:.1e}. Forward and backward
        the exact form takes {1 / rows[1][3]:.2f} times as long as the tanh form and {1 / rows[2][3]:.2f} times as long as
        the sigmoid form; torch's exact form takes {rows[3][3]:.2f} times as long as softknee's.""")
    return "holds" if gain < 0.4 else "refuted"


if __name__ == "__main__":
    run(__file__)
