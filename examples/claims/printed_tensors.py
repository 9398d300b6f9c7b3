"""torch's activations give the tensors that lecture notebooks print.

Taught: lecture notebooks on activation functions show inputs and outputs for sigmoid, tanh, ReLU, leaky ReLU and GELU.

Inputs and outputs are printed to four decimals, so an output is known to 0.00005, and the input's rounding moves it by at
most the Lipschitz constant times 0.00005 more. Every printed pair must fit within that; the notebooks' outputs do not
come from softknee, so this also tests softknee against values from elsewhere.

Practice: Keep such printed values as tests: they cost nothing, and they catch an exchanged argument at once.
"""

import torch

import softknee as sk
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Formulas and constants", ("sigmoid", "tanh", "relu", "leaky_relu", "gelu")
PRINTED = {
    "sigmoid": ([-4.1746, 3.2210, -2.6507, -6.7530, 2.0411], [0.0151, 0.9616, 0.0659, 0.0012, 0.8850]),
    "tanh": ([11.1529, 4.3029, 0.5081, -3.8456, -1.9058], [1.0000, 0.9996, 0.4685, -0.9991, -0.9567]),
    "relu": ([0.1650, -0.1988, 0.6777, 0.0415, 0.1600], [0.1650, 0.0000, 0.6777, 0.0415, 0.1600]),
    "leaky_relu": ([-0.2762, -0.8034, 0.4943, -1.2415, 0.3380], [-0.0028, -0.0080, 0.4943, -0.0124, 0.3380]),
    "gelu": ([2.5845, -2.3937, 2.7921, 5.3007, 7.7047], [2.5719, -0.0200, 2.7847, 5.3007, 7.7047]),
}


def measure(e: Evidence) -> str:
    rows, ratios = [], {}
    for name, (given, printed) in PRINTED.items():
        act = sk.get(name)
        x, wanted = torch.tensor(given, dtype=torch.float64), torch.tensor(printed, dtype=torch.float64)
        allowed = 5e-5 * (1 + act.derivative(x).abs() * 1.001)
        off = (act(x) - wanted).abs()
        ratios[name] = float((off / allowed).max())
        rows.append([name, f"{float(off.max()):.1e}", f"{ratios[name]:.2f}"])
    e.table("Five printed pairs each", ["function", "largest deviation", "in units of the rounding"], rows)
    e.bars("Largest deviation in units of what the printing rounds away", ratios, "1: the limit")
    e.say(f"""All 25 printed outputs agree to their last printed digit: the largest deviation is {max(ratios.values()):.2f} of
        what rounding inputs and outputs to four decimals allows.""")
    return "holds" if max(ratios.values()) <= 1 else "refuted"


if __name__ == "__main__":
    run(__file__)
