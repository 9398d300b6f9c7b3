"""In a convolutional layer ReLU comes before pooling.

Taught: tutorials on ReLU: "on the filter maps themselves, followed by a pooling layer".

A function that never falls commutes with taking a maximum: max(f(a), f(b)) = f(max(a, b)). So ReLU after max pooling
gives the same numbers, bit by bit, from a quarter of the elements. It is not so for average pooling, nor for
functions that fall somewhere (GELU, SiLU, Mish). Both orders are timed in turns on one core.

Practice: Behind max pooling put any monotone activation after the pooling; it is the same function, sooner.
"""

import torch
import torch.nn.functional as F

import softknee as sk
from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Speed and precision", ("relu", "elu", "tanh", "gelu", "silu", "mish")


def measure(e: Evidence) -> str:
    x = torch.randn(16, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    rows, ratios, same = [], {}, {}
    for name in ABOUT:
        act = sk.get(name)
        apart = [
            float((pool(act(x), 2) - act(pool(x, 2))).abs().max()) for pool in (F.max_pool2d, F.avg_pool2d)
        ]
        orders = {"first": lambda f=act: F.max_pool2d(f(x), 2), "last": lambda f=act: f(F.max_pool2d(x, 2))}
        times = laboratory.in_turns(orders)
        same[name], ratios[name] = apart[0] == 0, times["first"] / times["last"]
        rows.append(
            [name, "yes" if act.facts().monotone else "no", *(f"{a:.2g}" for a in apart), ratios[name]]
        )
    columns = [
        "function",
        "monotone",
        "max pooling, largest difference",
        "average pooling",
        "time, before / after",
    ]
    e.table("Activation before or after 2 x 2 pooling", columns, rows)
    e.bars("Time with the activation before max pooling, over time with it after", ratios, "ratio")
    e.say(f"""With max pooling the order makes no difference at all for {", ".join(n for n, s in same.items() if s)}; for the
        others up to {max(float(r[2]) for r in rows):.2g}. Activation first takes {min(ratios.values()):.2f} to
        {max(ratios.values()):.2f} times as long.""")
    monotone = [n for n in ABOUT if sk.get(n).facts().monotone]
    e.part("the order matters for the result", "refuted" if same["relu"] else "holds")
    right = monotone == [n for n, s in same.items() if s]
    return "holds only if the pooling is an average or the function is not monotone" if right else "holds"


if __name__ == "__main__":
    run(__file__)
