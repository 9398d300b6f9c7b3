"""ELU's mean near 0 brings the gradient nearer to the natural gradient.

Taught: notes on torch.nn's activations, after the paper (Clevert et al. 2016, arXiv:1511.07289).

The natural gradient is F^-1 g, with the Fisher matrix F, the mean of s s^T over gradients s of the log-probability of
labels drawn from the model's own prediction. A unit whose mean is not 0 (bias shift) couples the weights that read it to
their bias. For a small network (64-16-16-16-10, 1,754 parameters) F is exact in the labels; a thousandth of its mean
diagonal is added. Measured: the cosine between g and F^-1 g, and the bias shift, the mean's share of the mean square.

Practice: A smaller bias shift is real, and batch norm has it for every activation.
"""

import torch
from torch.func import functional_call, jacrev, vmap

from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Depth and gradients", ("elu", "relu", "leaky_relu", "tanh")


def near(trial: laboratory.Trial) -> tuple[float, float]:
    """The cosine between gradient and natural gradient, and the bias shift."""
    model, x, y = trial.model.double(), trial.split.x[:300].double(), trial.split.y[:300]
    outputs = vmap(jacrev(lambda w, sample: functional_call(model, w, (sample,))), in_dims=(None, 0))
    each = outputs({name: p.detach() for name, p in model.named_parameters()}, x)
    jacobian = torch.cat([j.flatten(2) for j in each.values()], 2)  # (samples, classes, parameters)
    p = model(x).detach().softmax(1)
    scores = jacobian - torch.einsum("nc,ncp->np", p, jacobian)[:, None]
    fisher = torch.einsum("nc,ncp,ncq->pq", p / len(x), scores, scores)
    g = torch.einsum("nc,ncp->p", (p - torch.eye(10)[y]) / len(x), jacobian)
    damping = 1e-3 * fisher.diagonal().mean() * torch.eye(len(g))
    natural = torch.linalg.solve(fisher + damping, g)
    hidden = [h for _, h in laboratory.inside(model, x)]
    shift = sum(float(h.mean(0).square().mean() / h.square().mean()) for h in hidden) / len(hidden)
    return float(torch.cosine_similarity(g, natural, 0)), shift


def measure(e: Evidence) -> str:
    cosine, shifts, verdicts = {}, {}, []
    for when, epochs in (("at the start", 0), ("after 3 epochs", 3)):
        conditions = {a: {"act": a} for a in ("relu", "elu", "leaky_relu", "tanh")}
        found = laboratory.trials(8, conditions, hidden=[16] * 3, epochs=epochs)
        both = {a: [near(t) for t in each] for a, each in found.items()}
        shift = {a: [s for _, s in each] for a, each in both.items()}
        shifts[when] = e.tests(f"Bias shift {when}", shift, unit="% of the mean square")
        angle = {a: [c for c, _ in each] for a, each in both.items()}
        cosine[when] = e.tests(f"Cosine of gradient and natural gradient {when}", angle, scale=1, unit="")
        e.part(f"{when}: ELU's bias shift is smaller than ReLU's", shifts[when].verdict("elu", "lower"))
        verdicts.append(cosine[when].verdict("elu", "higher"))
        e.part(f"{when}: ELU's gradient is nearer to the natural one", verdicts[-1])
    (start, later), shift = cosine.values(), shifts["at the start"]
    e.say(f"""The mean makes up {shift.mean("relu")} % of the mean square of ReLU's outputs, {shift.mean("elu")} % of ELU's. The
        cosine between gradient and natural gradient is {start.mean("relu")} for ReLU at the start; ELU minus ReLU
        {start.difference("elu")}, after 3 epochs {later.difference("elu")}.""")
    when = "at the start" if start["elu"] == "higher" else "after training"
    return overall(verdicts, f"it is asked {when}")


if __name__ == "__main__":
    run(__file__)
