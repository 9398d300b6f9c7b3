"""The absolute value makes features invariant to reversed polarity.

Taught: a well-known textbook, and notes on ReLU, which ask whether it belongs in one layer or in all.

Digits are trained as they are and tested with light and dark exchanged: for standardised inputs, with their sign reversed.
Without biases |W(-x)| = |Wx| exactly, so one such layer at the bottom is enough; with biases training may break the
symmetry. ReLU in all layers, |z| in the first, in all, and in the last only.

Practice: In the first layer, without bias, if polarity means nothing in your data. Nowhere else.
"""

import torch

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Choosing", ("abs", "relu")


def measure(e: Evidence) -> str:
    places = {
        "relu everywhere": (),
        "abs in the first": (0,),
        "abs in the last": (2,),
        "abs everywhere": (0, 1, 2),
    }
    same, turned = {}, {}
    for name, where in places.items():
        same[name], turned[name] = [], []
        layers = [sk.nn.Abs if i in where else sk.nn.ReLU for i in range(3)] * 8
        kinds = iter(layers)
        for t in laboratory.trials(8, {"": {"act": lambda k=kinds: next(k)()}}, epochs=8, net={"scale": 1.2})[
            ""
        ]:
            t.model[0].bias.data.zero_()
            same[name].append(t.accuracy)
            turned[name].append(laboratory.accuracy(t.model, -t.split.test_x, t.split.test_y))
    usual = e.tests("Test accuracy, polarity as trained", same)
    reverse = e.tests("Test accuracy, polarity reversed", turned)
    w, x = torch.randn(8, 64), laboratory.data("digits").test_x
    apart = float(((x @ w.T).abs() - (-x @ w.T).abs()).abs().max())
    e.table("Without bias", ["", "value"], [["largest ||Wx| - |W(-x)||", apart]])
    e.say(f"""With polarity reversed ReLU falls from {usual.mean("relu everywhere")} % to {reverse.mean("relu everywhere")} %; with
        |z| in the first layer (its bias set to 0 after training) accuracy stays at {reverse.mean("abs in the first")} %, in all
        layers at {reverse.mean("abs everywhere")} %, in the last only at {reverse.mean("abs in the last")} %.""")
    first = reverse["abs in the first"] == "higher" and reverse["abs in the last"] != "higher"
    e.part("one layer, the first, is enough", "holds" if first else "refuted")
    cost = {"same": "not distinguishable", "lower": "holds", "higher": "refuted"}
    e.part("in all layers it costs accuracy on usual pictures", cost[usual["abs everywhere"]])
    return "holds" if reverse["abs in the first"] == "higher" else "refuted"


if __name__ == "__main__":
    run(__file__)
