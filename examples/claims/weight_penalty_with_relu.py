"""ReLU needs a weight penalty because it is unbounded, and L1 is the better one.

Taught: tutorials on ReLU, among the tips for its use.

L1 and L2 on the weights, and on the activations, each at three strengths, on 150 training samples of digits, where
overfitting has room. The best strength is chosen on the test data, which favours the penalties.

Practice: With few data try L2 on the weights (weight decay) first; choose its strength by validation data. There is no
reason to prefer L1 for accuracy.
"""

import numpy as np

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Dying units and sparsity", ("relu",)


def weights(power: int, strength: float):
    return lambda w, h: strength * sum(v.abs().pow(power).sum((1, 2)) for v in w)


def activations(power: int, strength: float):
    return lambda w, h: strength * sum(v.abs().pow(power).mean((1, 2)) for v in h)


def measure(e: Evidence) -> str:
    kinds = {"weights L1": (weights, 1, (1e-5, 1e-4, 1e-3)), "weights L2": (weights, 2, (1e-4, 1e-3, 1e-2))}
    kinds |= {
        "outputs L1": (activations, 1, (1e-3, 1e-2, 0.1)),
        "outputs L2": (activations, 2, (1e-3, 1e-2, 0.1)),
    }
    conditions: dict[str, dict] = {"none": {}}
    for name, (make, power, strengths) in kinds.items():
        conditions |= {f"{name}, {s:g}": {"penalty": make(power, s)} for s in strengths}
    found = laboratory.trials(8, conditions, samples=150, epochs=25)
    scores, best = laboratory.accuracies(found), {"none": "none"}
    for name in kinds:
        best[name] = max((c for c in conditions if c.startswith(name)), key=lambda c: np.mean(scores[c]))
    test = e.tests("Test accuracy, 150 samples, best strength of each", {c: scores[c] for c in best.values()})
    rows = []
    for condition in best.values():
        inside = [h for t in found[condition] for _, h in laboratory.inside(t.model, t.split.test_x)]
        zeros = sum(float((h == 0).float().mean()) for h in inside) / len(inside)
        rows.append([condition, max(float(h.max()) for h in inside), f"{zeros:.0%}"])
    e.table("Trained networks", ["penalty", "largest output", "exact zeros"], rows)
    l1, l2 = (best[f"weights {k}"] for k in ("L1", "L2"))
    pair = e.tests("L1 against L2 on the weights", {l2: scores[l2], l1: scores[l1]})
    e.say(f"""Against no penalty: weights L1 {test.difference(l1)}, weights L2 {test.difference(l2)}, outputs L1
        {test.difference(best["outputs L1"])} points. L1 minus L2 on the weights: {pair.difference(l1)}. Exact zeros go from
        {rows[0][2]} without penalty to {rows[3][2]} with L1 on the outputs.""")
    word = {"same": "not distinguishable", "higher": "holds", "lower": "refuted"}
    helps = "holds" if "higher" in (test[l1], test[l2]) else "not distinguishable"
    e.part("a weight penalty raises test accuracy", helps)
    e.part("L1 is better than L2", word[pair[l1]])
    return word[pair[l1]]


if __name__ == "__main__":
    run(__file__)
