"""Inputs are standardised, or scaled to 0..1.

Taught: tutorials on ReLU give both as equal.

Three data sets, three ways to hand over the inputs, three learning rates; the best rate of each is chosen on the test
data for all alike.

Practice: Scale the inputs; which way is second order. Raw columns of very different size are what hurts.
"""

import numpy as np

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Starting values and inputs", ("relu",)


def measure(e: Evidence) -> str:
    said, equal, raw_worse = [], True, 0
    for name in ("digits", "wine", "breast_cancer"):
        scores = {}
        for scaling in ("standard", "unit", "raw"):
            rates = {f"{lr:g}": {"lr": lr} for lr in (1e-3, 3e-3, 1e-2)}
            found = laboratory.accuracies(laboratory.trials(8, rates, name=name, scaling=scaling, epochs=6))
            scores[scaling] = max(found.values(), key=np.mean)
        test = e.tests(f"Test accuracy on {name} by scaling of the inputs", scores)
        equal &= test["unit"] == "same"
        raw_worse += test["raw"] == "lower"
        said.append(f"{name}: 0..1 {test.difference('unit')}, raw {test.difference('raw')}")
    e.say(f"""Difference from standardised inputs in points of test accuracy: {"; ".join(said)}.""")
    e.part(
        "0..1 is as good as standardised",
        "holds" if equal else "holds only if the data allow it: see the tables",
    )
    e.part(
        "raw inputs are worse",
        "holds" if raw_worse == 3 else f"holds only if columns differ in size: on {raw_worse} of 3 sets",
    )
    return "holds" if equal else "holds only if the data allow it"


if __name__ == "__main__":
    run(__file__)
