"""The derivative of leaky ReLU below 0 is -0.3.

Taught: problem sets on ReLU and its relatives, as LReLU'(t) = 1 for t >= 0, -0.3 for t < 0.

Right: +alpha: the derivative of alpha x is alpha. The default differs: 0.01 in torch, 0.3 in Keras' layer, 0.2 in Keras'
function `leaky_relu`.

Effect: whoever trains with the gradient as printed walks uphill in every unit that is below 0.

We train the same network twice, once with the right derivative and once with the printed one in its backward pass.

Practice: Write the slope down explicitly when a model moves between libraries. Check a gradient that was written by hand
against a finite difference, once.
"""

import torch

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Formulas and constants", ("leaky_relu",)


class Printed(torch.nn.Module):
    """Leaky ReLU of slope 0.3 whose backward pass uses -0.3 below 0."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        value, slope = sk.functional.leaky_relu(z, 0.3), torch.where(z >= 0, 1.0, -0.3)
        return slope * z + (value - slope * z).detach()


def measure(e: Evidence) -> str:
    leaky, step = sk.get("leaky_relu"), 1e-6
    up, down = (leaky(-1 + s, negative_slope=0.3) for s in (step, -step))
    kinds = {"slope +0.3": {"act": "leaky_relu(negative_slope=0.3)"}, "slope -0.3": {"act": Printed}}
    found = laboratory.trials(8, kinds, epochs=8, optimiser="sgd", lr=0.02)
    test = e.tests("Test accuracy on digits after 8 epochs of SGD", laboratory.accuracies(found))
    curves = {k: [t.losses for t in v] for k, v in found.items()}
    e.lines("Training loss (band: 10th to 90th percentile of 8 seeds)", range(1, 9), curves, "epoch", "nats")
    x = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    defaults = {"torch": 0.01, "Keras, function": 0.2, "Keras, layer": 0.3}
    rows = [[name, a, float(leaky(x, negative_slope=a).square().mean())] for name, a in defaults.items()]
    e.table(
        "What the default changes: mean square of the output for N(0, 1)",
        ["default of", "slope", "E f(z)^2"],
        rows,
    )
    e.say(f"""The central difference at -1 is {(up - down) / (2 * step):+.6f}. Trained with the printed sign the network
        reaches {test.mean("slope -0.3")} % test accuracy, with the right one {test.mean("slope +0.3")} %
        (difference {test.difference("slope -0.3")}).""")
    return "refuted" if up > down else "holds"


if __name__ == "__main__":
    run(__file__)
