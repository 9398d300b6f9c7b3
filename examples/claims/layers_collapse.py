"""Without a nonlinearity, layers collapse into one.

Taught: everywhere; notes add that linear layers in between are "not meaningless" because they have weights of their own.

A product of matrices is a matrix: ten layers without activation are multiplied out here and give the same outputs. What
they can represent is what one layer can; XOR is not among it, and with an activation it is. How they are trained does
differ: the same function, other gradients.

Practice: Two linear layers in a row are a low-rank factorisation at best. If a model has them by mistake
(an activation was forgotten), it pays for depth and gets none.
"""

import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Depth and gradients", ("identity", "relu", "tanh")


def xor(split: laboratory.Split) -> laboratory.Split:
    x, y = torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]]), torch.tensor([0, 1, 1, 0])
    return laboratory.Split(x, y, x, y)


def measure(e: Evidence) -> str:
    found = laboratory.trials(8, {n: {"act": n, "hidden": [64] * 9} for n in ABOUT}, epochs=6, lr=1e-3)
    found["one layer"] = laboratory.trials(8, {"": {"hidden": []}}, epochs=6)[""]
    one = found["identity"][0]
    weight, bias = torch.eye(64, dtype=torch.float64), torch.zeros(64, dtype=torch.float64)
    for layer in one.model:
        if isinstance(layer, torch.nn.Linear):
            w = layer.weight.detach().double()
            weight, bias = w @ weight, w @ bias + layer.bias.detach().double()
    x = one.split.test_x.double()
    apart = float((one.model.double()(x) - (x @ weight.T + bias)).abs().max().detach())
    one.model.float()
    test = e.tests("Test accuracy on digits, 10 layers", laboratory.accuracies(found), against="identity")
    small = {n: {"act": n} for n in ABOUT}
    cases = laboratory.accuracies(
        laboratory.trials(8, small, change=xor, hidden=[8], outputs=2, epochs=150, lr=0.03)
    )
    e.table("XOR, 2-8-2: cases right of 4, for 8 seeds", ["activation", *map(str, range(1, 9))],
            [[k, *(int(4 * v) for v in each)] for k, each in cases.items()])  # fmt: skip
    e.say(f"""Multiplied out, ten linear layers and one matrix differ by {apart:.0e} in their outputs. XOR: without an activation
        at most {int(4 * max(cases["identity"]))} of 4 cases, with ReLU {int(4 * max(cases["relu"]))}. On digits, which one
        linear layer separates well, one layer reaches {test.mean("one layer")} %, ten linear ones
        {test.mean("identity")} %, ten with ReLU {test.mean("relu")} %.""")
    return "holds" if apart < 1e-10 and max(cases["identity"]) < 1 == max(cases["relu"]) else "refuted"


if __name__ == "__main__":
    run(__file__)
