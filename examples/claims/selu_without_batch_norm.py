"""With SELU a deep network needs no batch normalisation.

Taught: problem sets on ReLU and its relatives, after the paper on self-normalising networks.

SELU's fixed point (mean 0, variance 1) does at the start what batch norm does in every step. Twelve hidden layers are
trained on digits: ReLU with and without batch norm, SELU with and without, each with the weights that belong to it.
Time per step is the processor's, on one core.

Practice: SELU without batch norm trains where plain ReLU struggles, and its steps are cheaper. Batch norm also acts as
a regulariser and lets larger steps be taken, so compare accuracy on your data before dropping it.
"""

import time

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Self-normalisation", ("selu", "relu")


def measure(e: Evidence) -> str:
    conditions = {
        "relu with batch norm": {"act": "relu", "net": {"norm": True}},
        "relu": {"act": "relu"},
        "selu": {"act": "selu"},
        "selu with batch norm": {"act": "selu", "net": {"norm": True}},
    }
    found, seconds = {}, {}
    for name, settings in conditions.items():
        start = time.process_time()
        found[name] = laboratory.trials(8, {name: settings}, hidden=[64] * 12, epochs=10, lr=1e-3)[name]
        seconds[name] = (time.process_time() - start) / (8 * 10 * 19)
    test = e.tests("Test accuracy on digits, 12 hidden layers, 10 epochs", laboratory.accuracies(found))
    e.lines(
        "Training loss",
        range(1, 11),
        {k: [t.losses for t in v] for k, v in found.items()},
        "epoch",
        "nats",
        "y",
    )
    e.table("Time", ["network", "ms a step"], [[k, 1e3 * s] for k, s in seconds.items()])
    e.say(f"""SELU without batch norm reaches {test.mean("selu")} %, ReLU with it {test.mean("relu with batch norm")} %
        (SELU minus that: {test.difference("selu")}), ReLU without {test.mean("relu")} %. A step with batch norm takes
        {seconds["relu with batch norm"] / seconds["selu"]:.1f} times as long as one of SELU without.""")
    e.part("SELU is as good without batch norm", "refuted" if test["selu"] == "lower" else "holds")
    e.part("ReLU is as good without batch norm", "refuted" if test["relu"] == "lower" else "holds")
    return "refuted" if test["selu"] == "lower" else "holds"


if __name__ == "__main__":
    run(__file__)
