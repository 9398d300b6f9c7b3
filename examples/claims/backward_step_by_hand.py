"""One step of backpropagation through ELU can be computed by hand.

Taught: problem sets on ReLU and its relatives, as an exercise.

The network: x = (1, -2), two hidden units z = W x + b with ELU, one output y = v h, loss L = (y - t)^2 / 2 with t = 1.
Backwards: dL/dy = y - t; dL/dv = (y - t) h; dL/dh = (y - t) v; dL/dz = dL/dh * f'(z), where f'(z) = 1 above 0 and
f(z) + alpha below; dL/dW = dL/dz x^T. The program prints every number of that chain and compares it with autograd's.

Practice: Do it once on paper. The only line that knows the activation is the one with f'.
"""

import functools
import math

import torch

import softknee as sk
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Derivatives and kinks", ("elu",)
as_tensor = functools.partial(torch.tensor, dtype=torch.float64)


def measure(e: Evidence) -> str:
    x, t = [1.0, -2.0], 1.0
    weights, bias, out = [[0.5, -0.25], [-1.0, 0.5]], [0.0, 0.5], [1.0, -2.0]
    z = [row[0] * x[0] + row[1] * x[1] + b for row, b in zip(weights, bias, strict=True)]
    h = [v if v > 0 else math.exp(v) - 1 for v in z]
    error = out[0] * h[0] + out[1] * h[1] - t
    slope = [1.0 if v > 0 else u + 1 for v, u in zip(z, h, strict=True)]
    dz = [error * v * s for v, s in zip(out, slope, strict=True)]
    by_hand = [[d * v for v in x] for d in dz]
    W = as_tensor(weights).requires_grad_()

    def loss(w: torch.Tensor) -> torch.Tensor:
        hidden = sk.functional.elu(w @ as_tensor(x) + as_tensor(bias))
        return (hidden @ as_tensor(out) - t) ** 2 / 2

    (gradient,) = torch.autograd.grad(loss(W), W)
    rows = [
        ["z = W x + b", *z],
        ["h = elu(z)", *h],
        ["f'(z): 1, or h + 1", *slope],
        ["dL/dz", *dz],
        ["dL/dW, by x2 = -2", *(row[1] for row in by_hand)],
        ["autograd, by x2", *gradient[:, 1].tolist()],
    ]
    cells = [[r[0], *(f"{v:.6f}" for v in r[1:])] for r in rows]
    e.table(f"y = {error + t:.6f}, y - t = {error:.6f}", ["", "hidden unit 1", "hidden unit 2"], cells)
    steps = torch.linspace(0, 1, 60, dtype=torch.float64)
    after = [float(loss(W.detach() - step * gradient)) for step in steps]
    e.lines("The loss after one step", steps, {"loss": after}, "learning rate", "L")
    worst = float((gradient - as_tensor(by_hand)).abs().max())
    e.say(f"""Autograd's gradient and the one by hand differ by at most {worst:.0e}. One step of size 0.1 takes the loss from
        {after[0]:.4f} to {after[6]:.4f}.""")
    return "holds" if worst < 1e-12 else "refuted"


if __name__ == "__main__":
    run(__file__)
