"""PReLU's slopes stay below 1; with weight decay they go to 0, and PReLU becomes ReLU.

Taught: notes on torch.nn's activations, after the paper (He et al. 2015, arXiv:1502.01852).

How is the slope learned? f(z) = max(0, z) + a min(0, z), so df/da = min(0, z), and the gradient of a is the sum of
dL/df * min(0, z) over all elements that share it: the chain rule, nothing more. We train six layers with one slope
each, with and without weight decay, with the decay on everything and with the slopes left out.

Practice: Keep the slopes out of weight decay: it is a prior towards ReLU, not a regulariser.
"""

import numpy as np

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Slopes, fixed and learned", ("prelu", "relu")


def measure(e: Evidence) -> str:
    conditions = {
        "no decay": {},
        "decay 1": {"weight_decay": 1.0},
        "decay 10": {"weight_decay": 10.0},
        "decay 10, slopes left out": {"weight_decay": 10.0, "decay_slopes": False},
    }
    found = laboratory.trials(8, conditions, act=lambda: sk.nn.PReLU(), hidden=[48] * 6, epochs=8, lr=5e-3)
    slopes = {
        name: np.array([[m.weight.item() for m in t.model if isinstance(m, sk.nn.PReLU)] for t in each])
        for name, each in found.items()
    }
    e.lines("Learned slopes by layer, from 0.25", range(1, 7), slopes, "hidden layer", "slope")
    rows = [[name, float(v.min()), float(v.mean()), float(v.max())] for name, v in slopes.items()]
    e.table(
        "Learned slopes (8 seeds, 6 layers)", ["weight decay (AdamW)", "smallest", "mean", "largest"], rows
    )
    one = laboratory.compared("digits", "prelu", seeds=1, depth=6, width=48, lr=(5e-3,)).popitem()[1][
        "prelu"
    ][0]
    (by_epoch,), x = one.learned.values(), np.array([-3.0, 0.0, 0.5])
    bent = [[np.where(x < 0, a * x, x) for a in layers] for layers in by_epoch]
    names = [f"layer {i}" for i in range(1, 7)]
    moving = {f"epoch {t}": dict(zip(names, curves, strict=True)) for t, curves in enumerate(bent)}
    e.frames("Six PReLUs while they learn, from 0.25", x, moving, "z")
    sizes = {k: np.abs(v).mean(1) for k, v in slopes.items()}
    test = e.tests("Mean |slope| of a network", sizes, unit="", scale=1)
    accuracy = e.tests("Test accuracy on digits", laboratory.accuracies(found))
    free, strong = slopes["no decay"], slopes["decay 10"]
    e.say(f"""Without decay the 48 slopes end between {free.min():.2f} and {free.max():.2f} (start 0.25), none above 1. With a decay
        of 10 the mean |slope| changes by {test.difference("decay 10")}, to {np.abs(strong).mean():.3f}; with the slopes left
        out of it, by {test.difference("decay 10, slopes left out")}. Test accuracy changes by {accuracy.difference("decay 10")} points.""")
    e.part("slopes stay below 1", "holds" if free.max() < 1 else "refuted")
    smaller = test["decay 10"] == "lower"
    e.part("weight decay drives them towards 0", "holds" if smaller else "not distinguishable")
    return "holds" if free.max() < 1 and smaller else "refuted"


if __name__ == "__main__":
    run(__file__)
