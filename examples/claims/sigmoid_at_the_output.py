"""Sigmoid belongs at the output of binary and multi-label classifiers.

Taught: lecture notebooks on activation functions.

The output function is decided by what may be true together. Multi-label: each label has a probability of its own
(sigmoid); exclusive classes share one (softmax). Here a digit has five labels: even, prime, above 4, with a loop, with a
round top. The same network is trained with either output; an exact match has all five right.

| task | output | loss |
| --- | --- | --- |
| binary, multi-label | sigmoid, only when asked for a probability | `binary_cross_entropy_with_logits` |
| one of several classes | softmax, likewise | `cross_entropy` |
| a count | exponential or softplus | `poisson_nll_loss` |
| any real number | none | `mse_loss` |

Practice: Leave the output linear, and choose the loss that contains the output function.
"""

import torch
import torch.nn.functional as F

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Choosing", ("sigmoid", "logsigmoid")
LABELS = torch.tensor(
    [[d % 2 == 0, d in (2, 3, 5, 7), d > 4, d in (0, 6, 8, 9), d in (0, 2, 3, 8, 9)] for d in range(10)]
)


def shared(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Softmax's cross-entropy with the labels as shares of one probability."""
    return F.cross_entropy(z, y / y.sum(-1, keepdim=True).clamp(min=1))


def labelled(split: laboratory.Split) -> laboratory.Split:
    return split._replace(y=LABELS[split.y].float(), test_y=LABELS[split.test_y])


def measure(e: Evidence) -> str:
    losses = {"sigmoid": {"loss": F.binary_cross_entropy_with_logits}, "softmax": {"loss": shared}}
    found = laboratory.trials(8, losses, change=labelled, outputs=5, epochs=8)
    scores: dict[str, list[float]] = {name: [] for name in found}
    for name, each in found.items():
        for one in each:
            z = one.model(one.split.test_x).detach()
            said = z > 0 if name == "sigmoid" else z.softmax(1) > 1 / 6  # softmax's shares: 1/3, 1/4 ...
            scores[name].append(float((said == one.split.test_y).all(1).float().mean()))
    test = e.tests("All five labels right, test data", scores)
    z = torch.tensor([-20.0, -50.0, -110.0])
    naive, inside = -torch.log(torch.sigmoid(z)), -F.logsigmoid(z)
    e.table("Loss of a positive label in float32", ["logit", "-log(sigmoid(z))", "-logsigmoid(z)"],
            [[f"{a:g}", b, c] for a, b, c in zip(z.tolist(), naive.tolist(), inside.tolist(), strict=True)])  # fmt: skip
    e.say(f"""Five labels at once: sigmoid {test.mean("sigmoid")} % exact matches, softmax {test.mean("softmax")} %
        (difference {test.difference("softmax")}). At a logit of -110 the loss of a separate sigmoid and logarithm is
        {float(naive[2]):g}, in one function {float(inside[2]):g}.""")
    return "holds" if test["softmax"] == "lower" else "refuted"


if __name__ == "__main__":
    run(__file__)
