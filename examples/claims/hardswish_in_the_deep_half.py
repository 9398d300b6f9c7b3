"""Hard-swish pays in the deep half of a network only.

Taught: notes on torch.nn's activations, after the paper (Howard et al. 2019, arXiv:1905.02244).

Two statements. Cost: with every halving of the resolution an activation has fewer numbers to work on, so the
expensive function belongs where there are few. Benefit: it is greatest in the deep half. Convolutional networks with
4 layers on digits and multilayer perceptrons with 8 have hard-swish everywhere, in the lower half, in the upper half,
or nowhere (ReLU).

Practice: The cost argument is arithmetic and holds wherever resolution falls. For accuracy, place it by experiment.
"""

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Choosing", ("hardswish", "relu")


def measure(e: Evidence) -> str:
    tests = {}
    for network, depth, more in (("cnn", 4, {"width": 16, "lr": (0.003, 0.01)}), ("mlp", 8, {})):
        halves = {
            "lower half": f"1-{depth // 2}",
            "upper half": f"{depth // 2 + 1}-{depth}",
            "everywhere": "all",
        }
        how = {"network": network, "depth": depth, "epochs": 10} | more
        scores = {"nowhere (relu)": laboratory.compared("digits", "relu", **how).popitem()[1]["relu"]}
        for name, layers in halves.items():
            scores[name] = laboratory.compared("digits", "hardswish", layers=layers, **how).popitem()[1][
                "hardswish"
            ]
        what = "a convolutional network of 4 layers" if network == "cnn" else "8 hidden layers"
        tests[network] = e.tests(f"Test accuracy on digits, {what}, hard-swish in", laboratory.scores(scores))
        pair = e.tests(
            f"Upper against lower half, {what}",
            laboratory.scores({k: scores[k] for k in ("lower half", "upper half")}),
        )
        e.part(f"{what}: the upper half is better than the lower", pair.verdict("upper half", "higher"))
        e.part(f"{what}: the upper half is better than none", tests[network].verdict("upper half", "higher"))
        e.say(f"""{what[0].upper() + what[1:]}, against ReLU: lower half {tests[network].difference("lower half")} points, upper
            {tests[network].difference("upper half")}, everywhere {tests[network].difference("everywhere")}; upper minus lower
            {pair.difference("upper half")}.""")
        tests[network, "halves"] = pair
    stages = [(112 >> i, 16 << i) for i in range(5)]  # as usual: half the resolution, twice the channels
    numbers = [size * size * channels for size, channels in stages]
    rows = [[f"{s} x {s}", c, f"{n:,}"] for (s, c), n in zip(stages, numbers, strict=True)]
    e.table(
        "Numbers that an activation works on, stage by stage", ["resolution", "channels", "numbers"], rows
    )
    upper = sum(numbers[3:]) / sum(numbers)
    e.say(
        f"Where every stage halves the resolution and doubles the channels, the last two of five have {upper:.0%} of the numbers."
    )
    e.part("activations cost less in the deep half", "holds" if upper < 0.4 else "refuted")
    states = {tests[n, "halves"].verdict("upper half", "higher") for n in ("cnn", "mlp")}
    return states.pop() if len(states) == 1 else "holds only if it is said of the cost"


if __name__ == "__main__":
    run(__file__)
