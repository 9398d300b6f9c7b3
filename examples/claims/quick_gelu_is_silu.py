"""GELU's approximation x sigmoid(1.702 x) is also called SiLU.

Taught: notes on torch.nn's activations: "as the last approximation uses the sigmoid it is called SiLU".

Right: SiLU is x sigmoid(x). x sigmoid(1.702 x) is known as quick GELU: a Swish with beta = 1.702.

Effect: a model trained with one and served with the other computes something else: they differ by up to 0.2 at any
single unit, ten times the error of the approximation itself.

We measure the three functions' distances, and exchange one for the other in a trained network without retraining.

Practice: In a converted checkpoint look for the name: CLIP models say `quick_gelu`. Never alias it to `silu`.
"""

import numpy as np

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Formulas and constants", ("gelu", "quick_gelu", "silu")


def measure(e: Evidence) -> str:
    x = np.linspace(-6, 6, 24_001)
    gelu, quick, silu = (sk.get(n)(x) for n in ("gelu", "quick_gelu", "silu"))
    e.lines(
        "What is left after subtracting GELU",
        x[::40],
        {"quick_gelu - gelu": (quick - gelu)[::40], "silu - gelu": (silu - gelu)[::40]},
    )
    scores: dict[str, list[float]] = {
        "trained and run with quick_gelu": [],
        "run with gelu": [],
        "run with silu": [],
    }
    for one in laboratory.trials(8, {"": {"act": "quick_gelu"}}, hidden=[64] * 6, epochs=8)[""]:
        for name, found in scores.items():
            act = laboratory.activation(name.split()[-1])
            other = [act if isinstance(m, sk.nn.QuickGELU) else m for m in one.model]
            found.append(laboratory.accuracy(type(one.model)(*other), one.split.test_x, one.split.test_y))
    test = e.tests("Test accuracy on digits, 6 hidden layers, no retraining", scores)
    far, near = float(np.abs(silu - gelu).max()), float(np.abs(quick - gelu).max())
    e.say(f"""Largest distances on [-6, 6]: quick GELU from GELU {near:.4f}, SiLU from GELU {far:.4f}, {far / near:.0f} times
        as much. Exchanged in a trained network, GELU changes the accuracy by {test.difference("run with gelu")},
        SiLU by {test.difference("run with silu")}.""")
    return "refuted" if far > 5 * near else "holds"


if __name__ == "__main__":
    run(__file__)
