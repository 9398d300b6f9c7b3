"""ELU saturates quickly below 0 and so keeps the sparsity of ReLU.

Taught: problem sets on ReLU and its relatives.

Sparse means that most numbers are exactly 0: then they need no storage and no multiplication, and "this feature is
absent" has a sign of its own. ELU sends large negative inputs to -1, which is as far from 0 as its outputs get below.
We count exact zeros, and values near 0, in networks trained on digits.

Practice: Choose ELU for its mean near 0, not for sparse codes. For true zeros take ReLU or a shrink function, with an
L1 penalty if there should be many.
"""

import torch

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Dying units and sparsity", ("elu", "relu", "gelu", "leaky_relu", "softshrink")


def measure(e: Evidence) -> str:
    found = laboratory.trials(8, {name: {"act": name} for name in ABOUT}, epochs=8)
    rows, outputs, zeros = [], {}, {}
    for name, each in found.items():
        inside = [
            torch.cat([h.flatten() for _, h in laboratory.inside(t.model, t.split.test_x)]) for t in each
        ]
        shares = [float((h == 0).float().mean()) for h in inside]
        near = sum(float((h.abs() < 0.05).float().mean()) for h in inside) / len(inside)
        zeros[name], outputs[name] = sum(shares) / len(shares), inside[0].clamp(-1.5, 3)
        theory = float(sk.get(name).facts().zero_share)
        accuracy = sum(t.accuracy for t in each) / len(each)
        rows.append([name, f"{theory:.1%}", f"{zeros[name]:.1%}", f"{near:.1%}", f"{accuracy:.1%}"])
    columns = [
        "function",
        "exact zeros, N(0, 1)",
        "exact zeros, trained",
        "within 0.05 of 0, trained",
        "test accuracy",
    ]
    e.table("Hidden outputs of trained networks (3 layers of 64, digits, 8 seeds)", columns, rows)
    e.histogram(
        "Hidden outputs of trained networks", {k: outputs[k] for k in ("elu", "relu", "gelu")}, "h", bins=45
    )
    e.say(f"""In trained networks {zeros["relu"]:.0%} of ReLU's outputs are exactly 0, and {zeros["elu"]:.1%} of ELU's; the
        values that ELU saturates at are -1, not 0.""")
    return "refuted" if zeros["elu"] < 0.01 < zeros["relu"] else "holds"


if __name__ == "__main__":
    run(__file__)
