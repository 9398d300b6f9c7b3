"""Large weights or an outlier in the inputs kill ReLU units.

Taught: tutorials on ReLU: to fit the outlier the bias becomes very negative, and the unit is silent for usual inputs.

Two different things. At the start large weights kill nothing: with bias 0, z and 10 z have the same sign. What kills is
a step: its size is the rate times the gradient, and large weights or inputs make gradients large. We multiply the
weights, or one of 1,198 samples, and count the units that fire for no clean test image, at the start and after two
epochs of plain SGD; and with Adam, whose steps do not grow with the gradient. In a network that diverged no unit fires.

Practice: Clip or remove outliers, scale inputs, keep the usual weights; or let the optimiser normalise its steps.
"""

import torch

from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Dying units and sparsity", ("relu",)


def outlier(size: float):
    def change(split: laboratory.Split) -> laboratory.Split:
        return split._replace(x=torch.cat([split.x[:1] * size, split.x[1:]]))

    return change


def dead(trial: laboratory.Trial) -> float:
    silent = [~(h > 0).any(0) for _, h in laboratory.inside(trial.model, trial.split.test_x)]
    return float(torch.cat(silent).float().mean())


def measure(e: Evidence) -> str:
    conditions = {"as usual": {}}
    conditions |= {f"weights x {k}": {"net": {"scale": k * 2**0.5}} for k in (3, 10)}
    conditions |= {f"one sample x {k}": {"change": outlier(k)} for k in (100, 1_000)}
    sgd, adam = {"optimiser": "sgd", "lr": 0.1, "epochs": 2}, {"lr": 3e-3, "epochs": 2}
    cases, tests, lost = {"at the start": {"epochs": 0}, "after SGD": sgd, "after Adam": adam}, {}, 0
    for name, how in cases.items():
        found = laboratory.trials(8, conditions, **how)
        shares = {k: [dead(t) for t in each] for k, each in found.items()}
        tests[name] = e.tests(f"Dead units {name}", shares)
        lost += sum(t.losses[-1] != t.losses[-1] for t in found["weights x 10"] if t.losses)
    start, sgd, adam = tests.values()
    big, far = "weights x 10", "one sample x 1000"
    e.say(f"""At the start {start.mean("as usual")} % of the units are dead, with weights ten times as large {start.mean(big)} %.
        After two epochs of SGD: {sgd.mean("as usual")} % as usual, {sgd.mean(big)} % from the large weights ({lost} of 8
        networks diverged), {sgd.mean(far)} % with one sample a thousand times as large. With Adam {adam.mean("as usual")},
        {adam.mean(big)} and {adam.mean(far)} %.""")
    same = start.pairs[big].difference.mean == 0
    e.part("large weights kill at the start", "refuted" if same else start.verdict(big, "higher"))
    for what, label in (("large weights lead", big), ("an outlier leads", far)):
        e.part(f"{what} to dead units after SGD", sgd.verdict(label, "higher"))
        e.part(f"{what} to dead units after Adam", adam.verdict(label, "higher"))
    kills = [tests[k].verdict(label, "higher") for k in ("after SGD", "after Adam") for label in (big, far)]
    return overall(kills, "a step follows that grows with the gradient")


if __name__ == "__main__":
    run(__file__)
