"""ReLU layers should start with a large positive bias (or with 0.1).

Taught: problem sets say "some large positive number"; a well-known textbook and its followers say 0.1, "disputed, try both".

With a large bias every unit fires for every sample: nothing dies, but nothing is bent either, and the network starts as
a linear map of its input on top of a large constant. We start the biases of 3 and of 10 hidden layers at 0, 0.1, 1 and
5, count which units are on for some samples and off for others at the start, and train.

Practice: Leave biases at 0. A start at 0.1 does no harm; a large one takes the nonlinearity away where depth needs it.
"""

import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Starting values and inputs", ("relu",)


def measure(e: Evidence) -> str:
    biases, tests = (0.0, 0.1, 1.0, 5.0), {}
    for depth in (3, 10):
        conditions = {f"bias {b:g}": {"net": {"bias": b}} for b in biases}
        found = laboratory.trials(8, conditions, hidden=[64] * depth, epochs=6)
        title = f"Test accuracy on digits, {depth} hidden layers, 6 epochs"
        tests[depth] = e.tests(title, laboratory.accuracies(found))
        curves = {k: [t.losses for t in v] for k, v in found.items()}
        e.lines(f"Training loss, {depth} hidden layers", range(1, 7), curves, "epoch", "nats", log="y")
    split, rows = laboratory.data("digits"), []
    for bias in biases:
        model = laboratory.mlp([64, *[64] * 10, 10], "relu", bias=bias)
        on = torch.stack([(h > 0).float().mean(0) for _, h in laboratory.inside(model, split.x)])
        bent = [float(((s > 0) & (s < 1)).float().mean()) for s in (on[0], on[-1])]
        rows.append([f"{bias:g}", f"{float((on == 0).float().mean()):.1%}", *(f"{b:.0%}" for b in bent)])
    columns = ["bias", "dead", "first layer: on for some samples only", "tenth layer"]
    e.table("Units at the start, 10 hidden layers", columns, rows)
    small, large = tests[10]["bias 0.1"], tests[10]["bias 5"]
    e.part(
        "start with 0.1",
        "not distinguishable" if small == "same" else "holds" if small == "higher" else "refuted",
    )
    e.part("start with a large bias", "refuted" if large == "lower" else "not distinguishable")
    e.say(f"""Against bias 0, with 10 hidden layers: bias 0.1 {tests[10].difference("bias 0.1")}; bias 1
        {tests[10].difference("bias 1")}; bias 5 {tests[10].difference("bias 5")} percentage points of test accuracy.
        With 3 layers: 0.1 {tests[3].difference("bias 0.1")}; 5 {tests[3].difference("bias 5")}.""")
    return "refuted" if large == "lower" else "not distinguishable"


if __name__ == "__main__":
    run(__file__)
