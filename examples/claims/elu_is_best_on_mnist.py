"""On MNIST ELU is best, and ELU and SELU converge faster than ReLU.

Taught: a comparison that problem sets recommend (Pedamonti 2018, arXiv:1804.02763): 2 layers of 100 units, then to
8.

A reproduction on 5,000 images (3,000 to train on): sigmoid, ReLU, leaky ReLU, ELU and SELU with 2 and 8 layers of
100, SGD with momentum; of two rates each seed's validation data choose, for all alike. Faster: a lower training loss
after the second of six epochs. The paper's statements are in words here: it has one run each, on 50,000 images.

Practice: With two layers take any but sigmoid. How fast a network learns is a matter of rate and weights first.
"""

import numpy as np

from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Published comparisons, repeated", ("elu", "selu", "leaky_relu", "relu", "sigmoid")
PUBLISHED = {
    "elu": "best; faster than ReLU",
    "selu": "faster than ReLU",
    "leaky_relu": "like ReLU",
    "sigmoid": "worst",
}


def measure(e: Evidence) -> str:
    how = {"depth": (2, 8), "width": 100, "optimiser": "sgd", "lr": (0.01, 0.03), "epochs": 6}
    found = laboratory.compared("mnist5k", "relu,leaky_relu,elu,selu,sigmoid", **how)
    better, faster, rows, verdicts = {}, {}, [], []
    for depth, each in zip((2, 8), found.values(), strict=True):
        early = {a: [np.log(o.train_loss[1]) for o in runs] for a, runs in each.items()}
        better[depth] = e.tests(f"Test accuracy on MNIST-5k, {depth} hidden layers", laboratory.scores(each))
        title = f"Log of the training loss after 2 epochs, {depth} hidden layers"
        faster[depth] = e.tests(title, early, unit="nats", scale=1)
        for name, theirs in PUBLISHED.items():
            both = [better[depth].difference(name), faster[depth].difference(name)]
            rows.append([f"{name}, {depth} layers", theirs, *both])
        verdicts.append(better[depth].verdict("elu", "higher"))
        e.part(f"{depth} layers: ELU is better than ReLU", verdicts[-1])
        for name in ("elu", "selu"):
            verdicts.append(faster[depth].verdict(name, "lower"))
            e.part(f"{depth} layers: {name.upper()} converges faster than ReLU", verdicts[-1])
    columns = ["function", "published, in words", "accuracy minus ReLU's, points", "log loss minus ReLU's"]
    e.table("Published beside here", columns, rows)
    e.say(f"""ELU minus ReLU: {better[2].difference("elu")} points of test accuracy with 2 layers, {better[8].difference("elu")}
        with 8. The log of the training loss after 2 epochs: {faster[2].difference("elu")} and {faster[8].difference("elu")};
        SELU's {faster[2].difference("selu")} and {faster[8].difference("selu")}. Sigmoid with 8 layers reaches
        {better[8].mean("sigmoid")} %.""")
    return overall(verdicts, "the network is deep, of convergence; not of accuracy")


if __name__ == "__main__":
    run(__file__)
