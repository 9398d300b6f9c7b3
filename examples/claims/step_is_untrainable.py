"""A network of step functions cannot be trained by gradient descent.

Taught: lecture notebooks on activation functions: the derivative is 0 wherever it exists.

True of the gradient, not of the step. Rosenblatt's perceptron rule trains one layer of it without any derivative, and
the straight-through estimator trains deep ones: a step forwards, the slope of a hard sigmoid backwards. All three are
tried on digits with one hidden layer of 128 step units.

Practice: For binary units use a straight-through gradient; for one layer, the perceptron rule is enough.
"""

import torch

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Derivatives and kinks", ("binary_step", "hardtanh", "relu")


class StraightThrough(torch.nn.Module):
    """A step forwards; backwards the slope of clamp(z, -1, 1)."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        soft = sk.functional.hardtanh(z)
        return soft + (sk.functional.binary_step(z) - soft).detach()


def perceptron(split: laboratory.Split, seed: int) -> float:
    """One layer of steps on the pixels, by Rosenblatt's rule."""
    weight = torch.zeros(64, 10)
    for epoch in range(3):
        for i in torch.randperm(len(split.y), generator=torch.Generator().manual_seed(31 * seed + epoch)):
            fired, wanted = (split.x[i] @ weight >= 0).float(), torch.eye(10)[split.y[i]]
            weight += torch.outer(split.x[i], wanted - fired)
    return float(((split.test_x @ weight).argmax(1) == split.test_y).float().mean())


def measure(e: Evidence) -> str:
    conditions = {
        "step, its own gradient": {"act": sk.nn.BinaryStep},
        "step, straight-through": {"act": StraightThrough},
    }
    conditions |= {"relu": {"act": "relu"}}
    found = laboratory.trials(8, conditions, hidden=[128], epochs=8)
    scores = laboratory.accuracies(found)
    scores["perceptron rule, one layer"] = [perceptron(laboratory.data("digits", s), s) for s in range(8)]
    gradient = laboratory.per_layer_gradients(
        found["step, its own gradient"][0].model, *laboratory.data("digits")[:2]
    )
    test = e.tests("Test accuracy on digits", scores)
    flat = float(sk.get("binary_step").facts().flat_share)
    e.say(f"""The slope is 0 for {flat:.0%} of all inputs, and the hidden layer's gradient is {gradient[0]:g}: only the output
        layer learns ({test.mean("step, its own gradient")} %, random features). Straight through: difference
        {test.difference("step, straight-through")} points. The perceptron rule on the pixels alone reaches
        {test.mean("perceptron rule, one layer")} %.""")
    return "holds" if gradient[0] == 0 and test["step, straight-through"] == "higher" else "refuted"


if __name__ == "__main__":
    run(__file__)
