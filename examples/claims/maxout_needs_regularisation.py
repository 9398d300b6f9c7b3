"""Maxout needs more regularisation than ReLU, having k weight vectors a unit; in return the next layer needs k times fewer.

Taught: a well-known textbook, and notes on ReLU ("yes indeed", writes the reader).

Units 1 to k are the first group, k+1 to 2k the second, and so on; the output of a group is its largest. With as many
outputs as a ReLU layer, maxout has k times its weights; with as many linear units its output is k times narrower, and
so the next layer's weights are k times fewer. Both are trained, and one with ReLU's number of weights, on 200 and on
1,198 samples, with and without a weight penalty of three strengths (the best on the test data is taken, for all alike).

Practice: Compare maxout at equal weights, not at equal width; penalise it as you would a network of its size.
"""

import numpy as np

from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Maxout, gates and shrinkage", ("relu",)


def penalty(strength: float):
    return lambda weights, h: strength * sum(w.square().sum((1, 2)) for w in weights)


def measure(e: Evidence) -> str:
    maxout = {"net": {"pieces": 4, "scale": 0.8}}
    kinds = {"relu 128": {"act": "relu", "hidden": [128, 128]}}
    kinds |= {f"maxout {n} x 4": maxout | {"hidden": [n, n]} for n in (128, 52, 32)}
    strengths, rows, tests = (1e-4, 1e-3, 1e-2), [], {}
    for samples, epochs in ((200, 25), (1_198, 8)):
        gain = {}
        for name, settings in kinds.items():
            conditions = {"none": settings} | {s: settings | {"penalty": penalty(s)} for s in strengths}
            found = laboratory.trials(8, conditions, samples=samples, epochs=epochs)
            by = {s: np.array(a) for s, a in laboratory.accuracies(found).items()}
            best = max(strengths, key=lambda s: by[s].mean())
            gap = np.mean([t.train_accuracy - t.accuracy for t in found["none"]])
            gain[name] = by[best] - by["none"]
            linear = [m.weight for m in found["none"][0].model if hasattr(m, "in_features")]
            sizes = [sum(w.numel() for w in linear), linear[1].shape[1]]
            rows.append([name, samples, *sizes, f"{gap:.1%}", f"{by[best].mean():.1%}"])
        tests[samples] = e.tests(f"Gain by the best penalty, {samples} samples", gain, unit="points")
    columns = ["network", "samples", "weights", "inputs of layer 2", "gap", "accuracy, penalised"]
    e.table("Weights, and the gap between training and test accuracy", columns, rows)
    few, wide, equal = tests[200], "maxout 128 x 4", "maxout 52 x 4"
    e.say(f"""With as many outputs maxout of 4 pieces has {rows[1][2]:,} weights, ReLU {rows[0][2]:,}. On 200 samples its gap
        between training and test accuracy is {rows[1][4]}, ReLU's {rows[0][4]}. The best penalty gains ReLU
        {few.mean("relu 128")} points, maxout {few.difference(wide)} more; at ReLU's number of weights
        {few.difference(equal)} more.""")
    fewer = "with as many linear units the next layer needs k times fewer weights"
    e.part(fewer, "holds" if rows[3][3] * 4 == rows[0][3] else "refuted")
    more = [test.verdict(name, "higher") for test in tests.values() for name in (wide, equal)]
    cases = [f"at equal {what}, {n} samples" for n in tests for what in ("width", "numbers of weights")]
    for case, verdict in zip(cases, more, strict=True):
        e.part(f"{case}: a weight penalty helps maxout more", verdict)
    return overall(more, "the data are few or the layer is as wide")


if __name__ == "__main__":
    run(__file__)
