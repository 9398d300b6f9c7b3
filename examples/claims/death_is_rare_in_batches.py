"""Dead ReLUs are rare because training goes in batches.

Taught: notes on ReLU: "the probability is very small, because training goes batch by batch".

A unit dies when a step throws its bias and weights so far that no sample reaches it. Batches of 8, 64 and 512 meet
learning rates from 0.1 to 0.3 under plain SGD, with equal numbers of epochs (3: many more steps with small batches) and
with equal numbers of steps (450). The units that fire for no training sample are counted in three layers of 64; where a
network diverged none fires, and it is counted apart.

Practice: If units die, lower the learning rate. Smaller batches do not protect: they are noisier, and take more steps.
"""

import math

import torch

from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Dying units and sparsity", ("relu",)
SEEDS, BATCHES, RATES = 10, (8, 64, 512), (0.1, 0.2, 0.3)


def dead(trial: laboratory.Trial) -> float:
    silent = [~(h > 0).any(0) for _, h in laboratory.inside(trial.model, trial.split.x)]
    return float(torch.cat(silent).float().mean())


def measure(e: Evidence) -> str:
    verdicts, rows, tests = [], [], {}
    for steps, epochs in (("3 epochs", (3, 3, 3)), ("450 steps", (3, 24, 150))):
        curves = {}
        for lr in RATES:
            cases = {f"batch {b}": {"batch": b, "epochs": n} for b, n in zip(BATCHES, epochs, strict=True)}
            found = laboratory.trials(SEEDS, cases, optimiser="sgd", lr=lr)
            lost = {k: sum(not math.isfinite(t.losses[-1]) for t in each) for k, each in found.items()}
            shares = {k: [dead(t) for t in each] for k, each in found.items()}
            curves[f"rate {lr:g}"] = list(zip(*shares.values(), strict=True))
            tests[steps, lr] = test = e.tests(None, shares)
            rows.append([f"rate {lr:g}, {steps}", *(f"{test.mean(k)}, {lost[k]}" for k in cases)])
            verdicts.append(test.verdict("batch 512", "higher"))
            e.part(f"rate {lr:g}, {steps}: batches of 512 kill more units than batches of 8", verdicts[-1])
        e.lines(f"Dead units, {steps}", BATCHES, curves, "batch size", "share of units", log="x")
    columns = ["", *(f"batch {b}: dead %, diverged" for b in BATCHES)]
    e.table(f"Dead units in % [95 %], and networks of {SEEDS} that diverged", columns, rows)
    few, many = tests["3 epochs", 0.3], tests["450 steps", 0.1]
    e.say(f"""At a rate of 0.3 three epochs in batches of 8 leave {few.mean("batch 8")} % of the units dead, in batches of 512
        {few.mean("batch 512")} % (difference {few.difference("batch 512")}). At a rate of 0.1 dead units are rare whatever the
        batch, also at equal numbers of steps: {many.mean("batch 8")} % with 8, {many.mean("batch 512")} % with 512.""")
    return overall(verdicts, "the rate is large and the steps are as many")


if __name__ == "__main__":
    run(__file__)
