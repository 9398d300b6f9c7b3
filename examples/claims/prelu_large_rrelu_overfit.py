"""PReLU for very large training sets, RReLU when the network overfits.

Taught: tips for choosing an activation, which go around in several languages.

The training set's size is the axis: 60, 300 and 1,198 samples of digits, two wide layers. If the tips hold, RReLU's
advantage over ReLU shrinks with more samples and PReLU's grows.

Practice: When a network overfits, reach for data, dropout or weight decay before the activation.
"""

import numpy as np

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Slopes, fixed and learned", ("prelu", "rrelu", "leaky_relu", "relu")


def measure(e: Evidence) -> str:
    sizes = (60, 300, 1_198)
    conditions = {n: {"act": n} for n in ("relu", "leaky_relu", "rrelu")} | {"prelu": {"act": sk.nn.PReLU}}
    rows, states, curves = [], {}, {n: [] for n in ("leaky_relu", "rrelu", "prelu")}
    for size in sizes:
        how = {"hidden": [128] * 2, "epochs": min(40, 8 * 1_198 // size), "net": {"scale": 1.41}}
        found = laboratory.trials(8, conditions, samples=size, **how)
        scores = laboratory.accuracies(found)
        states[size] = test = e.tests(f"Test accuracy, {size} training samples", scores)
        gap = {n: np.mean([t.train_accuracy - t.accuracy for t in found[n]]) for n in scores}
        pairs = (test.difference(n) for n in ("prelu", "rrelu"))
        rows.append([size, *pairs, *(f"{gap[n]:.1%}" for n in ("relu", "rrelu"))])
        for n, values in curves.items():
            values.append(np.array(scores[n]) - scores["relu"])
    columns = ["samples", "prelu", "rrelu", "gap train - test, relu", "gap, rrelu"]
    e.table("Minus ReLU, in points of test accuracy", columns, rows)
    matrices = {n: np.array(v).T for n, v in curves.items()}
    e.lines("Test accuracy minus ReLU's", sizes, matrices, "training samples", "difference", log="x")
    few, many = states[60], states[1_198]
    e.say(f"""With 60 samples RReLU minus ReLU is {few.difference("rrelu")} points, with 1,198
        {many.difference("rrelu")}; PReLU minus ReLU {few.difference("prelu")} and {many.difference("prelu")}.""")
    word = {"same": "not distinguishable", "higher": "holds", "lower": "refuted"}
    e.part("RReLU helps where the network overfits", word[few["rrelu"]])
    e.part("PReLU helps on more data", word[many["prelu"]])
    if {few["rrelu"], many["prelu"]} == {"higher", "same"}:
        return "holds only if it is read half: see the two parts"
    return word[few["rrelu"]] if few["rrelu"] == many["prelu"] else "refuted"


if __name__ == "__main__":
    run(__file__)
