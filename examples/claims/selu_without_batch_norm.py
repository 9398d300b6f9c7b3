"""With SELU a deep network needs no batch normalisation.

Taught: problem sets on ReLU and its relatives, after the paper on self-normalising networks.

SELU's fixed point (mean 0, variance 1) does at the start what batch norm does in every step. Twelve hidden layers are
trained on digits: ReLU and SELU with and without batch norm, each with the weights that belong to it and, of three
learning rates, the one that each seed's validation data choose. Time per step is the processor's, on one core.

Practice: SELU without batch norm trains as well as with it, and its steps are cheaper. Batch norm also lets larger
steps be taken and acts as a regulariser, so compare on your data before dropping it.
"""

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Self-normalisation", ("selu", "relu")


def measure(e: Evidence) -> str:
    both = laboratory.compared("digits", "relu,selu", seeds=10, depth=12, batch_norm=(True, False), epochs=10)
    with_norm, without = both.values()
    found = {f"{a} with batch norm": each for a, each in with_norm.items()} | without
    base = "relu with batch norm"
    test = e.tests("Test accuracy on digits, 12 hidden layers, 10 epochs", laboratory.scores(found))
    selu = e.tests(None, {k: [o.test_score for o in found[k]] for k in ("selu with batch norm", "selu")})
    relu = e.tests(None, {k: [o.test_score for o in found[k]] for k in (base, "relu")})
    curves = {k: [o.train_loss for o in each] for k, each in found.items()}
    e.lines("Training loss", range(1, 11), curves, "epoch", "nats", log="y")
    ms = {k: 1e3 * sorted(o.step_seconds for o in each)[len(each) // 2] for k, each in found.items()}
    e.table("Time of a step", ["network", "ms"], [[k, v] for k, v in ms.items()])
    e.say(f"""SELU without batch norm reaches {test.mean("selu")} %, ReLU with it {test.mean(base)} % (SELU minus that:
        {test.difference("selu")}). Leaving batch norm out changes SELU by {selu.difference("selu")} points, ReLU by
        {relu.difference("relu")}. A step of ReLU with batch norm takes {ms[base] / ms["selu"]:.1f} times as long as one of
        SELU without.""")
    words = {"lower": "refuted", "same": "holds", "higher": "holds"}
    e.part("SELU is as good without batch norm", words[selu["selu"]])
    e.part("SELU without is as good as ReLU with it", words[test["selu"]])
    e.part("ReLU is as good without batch norm", words[relu["relu"]])
    return "refuted" if "lower" in (selu["selu"], test["selu"]) else "holds"


if __name__ == "__main__":
    run(__file__)
