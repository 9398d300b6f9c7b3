"""A network of step functions cannot be trained by gradient descent.

Taught: lecture notebooks on activation functions: the derivative is 0 wherever it exists.

True of the gradient, not of the step. Rosenblatt's perceptron rule trains one layer of it without any derivative, and
the straight-through estimator trains deep ones: a step forwards, the slope of clamp(z, -1, 1) backwards. All three are
tried on digits with one hidden layer of 128 step units.

Practice: For binary units use `nn.StraightThrough`; for one layer, the perceptron rule is enough.
"""

import numpy as np

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Derivatives and kinks", ("binary_step", "hardtanh", "relu")


def perceptron(split: laboratory.Split, seed: int) -> float:
    """One layer of steps on the pixels, by Rosenblatt's rule."""
    x, wanted, weight = split.x.numpy(), np.eye(10)[split.y.numpy()], np.zeros((64, 10))
    for i in np.random.default_rng(seed).permuted(np.tile(np.arange(len(x)), (3, 1)), axis=1).ravel():
        weight += np.outer(x[i], wanted[i] - (x[i] @ weight >= 0))
    return float(((split.test_x.numpy() @ weight).argmax(1) == split.test_y.numpy()).mean())


def measure(e: Evidence) -> str:
    conditions = {
        "step, its own gradient": {"act": sk.nn.BinaryStep},
        "step, straight-through": {"act": lambda: sk.nn.StraightThrough("binary_step")},
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
