"""SELU beats ReLU in a plain network on MNIST: 92.04 against 90.76 %.

Taught: the self-normalising networks authors' tutorial notebook (784-512-256-10, SGD at 0.001, 20 epochs, dropout
0.05).

A reproduction on 5,000 images of MNIST (3,333 to train on), with a quarter of the widths, LeCun weights and alpha dropout of
0.05 for SELU, usual dropout for ReLU. There are 17 times fewer images, so the rate is 17 times as large: rate times
steps is theirs. ReLU also gets the weights made for it (He), as the notebook gave it SELU's; and the same with 16
layers of 100.

Practice: A difference of one point in one network on one data set is not a property of the function. What carries
over is the deep plain network, where weights and function must belong together.
"""

import torch

import softknee as sk
from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Published comparisons, repeated", ("selu", "relu")


def measure(e: Evidence) -> str:
    relu = {"act": "relu", "net": {"scale": 1.0, "dropout": lambda: torch.nn.Dropout(0.05)}}
    conditions = {
        "relu": relu,
        "selu": {"act": "selu", "net": {"scale": 1.0, "dropout": lambda: sk.nn.AlphaDropout(0.05)}},
        "relu, He's weights": relu | {"net": relu["net"] | {"scale": 2**0.5}},
    }
    how = {"name": "mnist5k", "optimiser": "sgd", "lr": 0.017}
    shallow = laboratory.trials(8, conditions, hidden=[128, 64], epochs=20, **how)
    test = e.tests("MNIST-5k, 128-64, 20 epochs of SGD: test accuracy", laboratory.accuracies(shallow))
    e.beside(
        "Beside the published numbers (MNIST, 55,000 images, 512-256)", {"relu": 90.76, "selu": 92.04}, test
    )
    deep = laboratory.trials(8, conditions, hidden=[100] * 16, epochs=10, **how)
    far = e.tests("MNIST-5k, 16 layers of 100, 10 epochs of SGD: test accuracy", laboratory.accuracies(deep))
    curves = {k: [t.losses for t in v] for k, v in deep.items()}
    e.lines("Training loss, 16 layers", range(1, 11), curves, "epoch", "nats")
    own, he = "selu", "relu, He's weights"
    fair = e.tests(
        "SELU against ReLU, each with its own weights",
        {k: laboratory.accuracies(shallow)[k] for k in (he, own)},
    )
    last = {k: [t.losses[-1] for t in shallow[k]] for k in ("relu", own)}
    fitted = e.tests("Two layers: training loss in the last epoch", last, unit="nats", scale=1)
    e.say(f"""Two layers: SELU minus ReLU {test.difference(own)} points (published: +1.28); against ReLU with He's weights
        {fair.difference(own)}. Sixteen layers: ReLU with LeCun's weights {far.mean("relu")} %, with He's {far.mean(he)} %, SELU
        {far.mean(own)} %. The training loss of the last epoch, two layers, SELU minus ReLU:
        {fitted.difference(own)} nats.""")
    e.part("two layers, LeCun's weights for both, as published: SELU is better", test.verdict(own, "higher"))
    e.part("two layers, each with its own weights: SELU is better", fair.verdict(own, "higher"))
    e.part("sixteen layers, LeCun's weights for both: SELU is better", far.verdict(own, "higher"))
    return overall([t.verdict(own, "higher") for t in (test, fair, far)], "the network is deep")


if __name__ == "__main__":
    run(__file__)
