"""The slope of leaky ReLU must be tuned.

Taught: notebooks list it as a disadvantage ("an additional hyperparameter"); tips say to use the library's default.

Slopes from -1 (the absolute value) over 0 (ReLU) to 1 (linear), in networks of 3 and of 8 hidden layers on digits; each
slope with the weights that keep its mean square.

Practice: Anything from 0 to 0.3 will do. Leave the default, and spend the search on the learning rate.
"""

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Slopes, fixed and learned", ("leaky_relu", "relu", "abs")
SLOPES = (-1.0, -0.3, 0.0, 0.01, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0)


def measure(e: Evidence) -> str:
    curves, tests = {}, {}
    for depth in (3, 8):
        conditions = {f"{s:g}": {"act": f"leaky_relu(negative_slope={s})"} for s in SLOPES}
        found = laboratory.accuracies(laboratory.trials(8, conditions, hidden=[64] * depth, epochs=4))
        tests[depth] = e.tests(
            f"Test accuracy on digits by slope, {depth} hidden layers", found, against="0.01"
        )
        curves[f"{depth} hidden layers"] = [[found[f"{s:g}"][i] for s in SLOPES] for i in range(8)]
    e.lines("Test accuracy by slope", SLOPES, curves, "slope below 0", "accuracy")
    usual = ("0", "0.1", "0.2", "0.3")
    differ = {d: [s for s in usual if t[s] != "same"] for d, t in tests.items()}
    e.say(f"""Against torch's 0.01: with 3 hidden layers a slope of 0.3 gives {tests[3].difference("0.3")} points, 1
        (no activation at all) {tests[3].difference("1")}; with 8 layers 0.3 gives {tests[8].difference("0.3")} and 1
        {tests[8].difference("1")}. Of the slopes 0 to 0.3, distinguishable from 0.01 are: with 3 layers
        {", ".join(differ[3]) or "none"}, with 8 {", ".join(differ[8]) or "none"}.""")
    for depth, found in differ.items():
        e.part(
            f"{depth} hidden layers: slopes from 0 to 0.3 differ from 0.01",
            "holds" if found else "not distinguishable",
        )
    return (
        "holds only if the network is deep"
        if differ[8] and not differ[3]
        else "holds"
        if differ[3]
        else "not distinguishable"
    )


if __name__ == "__main__":
    run(__file__)
