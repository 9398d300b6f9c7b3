"""Maxout resists catastrophic forgetting, as each unit is driven by several filters.

Taught: a well-known textbook (after Goodfellow et al. 2014, arXiv:1312.6211), and notes on ReLU, which ask what it is.

Forgetting: a network that has learned task A is trained on task B, and loses A. A: digits. B: digits whose pixels are
shuffled, one fixed shuffle a seed. ReLU, tanh, maxout with as many outputs, and maxout with as many weights as ReLU
learn A, then B; after every epoch A is tested. ReLU and maxout also with dropout, which the paper found to matter more.

Practice: Against forgetting mix in samples of A, or hold the weights near their old values. Maxout
and dropout lessen it by a few points; neither prevents it.
"""

import numpy as np
import torch

from softknee.claims import Evidence, laboratory, overall, run
from softknee.claims.together import fit_together

TOPIC, ABOUT = "Maxout, gates and shrinkage", ("relu", "tanh")
EPOCHS = 6


def measure(e: Evidence) -> str:
    def maxout(width: int, **more: object) -> dict:
        net = {"pieces": 2, "scale": 1.0} | more
        return {"hidden": [width] * 2, "net": net}

    drop = {"dropout": lambda: torch.nn.Dropout(0.3)}
    conditions = {"relu": {"act": "relu"}, "tanh": {"act": "tanh"}, "maxout 64 x 2": maxout(64)}
    conditions |= {"maxout 42 x 2": maxout(42), "relu, dropout": {"act": "relu", "net": drop}}
    conditions["maxout 64 x 2, dropout"] = maxout(64, **drop)
    shuffles = [torch.randperm(64, generator=torch.Generator().manual_seed(s)) for s in range(8)]
    curves, lost, second = {}, {}, {}
    for name, each in laboratory.trials(8, conditions, hidden=[64, 64], epochs=10).items():
        models, kept = [t.model for t in each], [[t.accuracy for t in each]]
        x = torch.stack([t.split.x[:, p] for t, p in zip(each, shuffles, strict=True)])
        for _ in range(EPOCHS):
            fit_together(models, x, torch.stack([t.split.y for t in each]), epochs=1)
            kept.append([t.accuracy for t in each])
        curves[name] = np.array(kept).T
        lost[name] = curves[name][:, 0] - curves[name][:, -1]
        tasks = [(t.model, t.split.test_x[:, p], t.split.test_y) for t, p in zip(each, shuffles, strict=True)]
        second[name] = [laboratory.accuracy(*task) for task in tasks]
    e.lines("Accuracy on A while B is learned", range(EPOCHS + 1), curves, "epochs of task B", "accuracy")
    test = e.tests("Forgotten: accuracy on A before minus after B", lost, unit="points")
    other = e.tests("Accuracy on task B", second)
    wide, equal, dropped = "maxout 64 x 2", "maxout 42 x 2", "relu, dropout"
    e.say(f"""After {EPOCHS} epochs of task B a ReLU network has lost {test.mean("relu")} points of accuracy on A (and reaches
        {other.mean("relu")} % on B). Maxout minus ReLU: {test.difference(wide)} points at equal width,
        {test.difference(equal)} at an equal number of weights. Dropout changes what ReLU forgets by
        {test.difference(dropped)}.""")
    verdicts = [test.verdict(name, "lower") for name in (wide, equal)]
    e.part("maxout forgets less at equal width", verdicts[0])
    e.part("maxout forgets less at equal numbers of weights", verdicts[1])
    e.part("dropout lessens forgetting", test.verdict(dropped, "lower"))
    return overall(verdicts, "it is given more weights than ReLU")


if __name__ == "__main__":
    run(__file__)
