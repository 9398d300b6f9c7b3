"""The derivative of ReLU at 0 is 1 (others say: 0).

Taught: problem sets give 1 for t >= 0; other notes give 0 for z <= 0.

Right: neither: there are two one-sided derivatives, 0 and 1, and a program picks one. torch picks 0, and so does this
library; any value between is a subgradient.

Effect: it matters exactly as often as a pre-activation is exactly 0.

How often is that? In a trained network we count exact zeros of the pre-activation per element type, and with integer
weights and pixels. Then the network is trained with the slopes 0, 1/2 and 1 at 0, everything else equal.

Practice: Any choice will do in floating point. On integers, padding and empty inputs with biases of 0, zeros are not
rare: state your choice, and keep it the same when results are to be compared.
"""

import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Derivatives and kinks", ("relu",)


class Chosen(torch.nn.Module):
    """ReLU with a slope of one's own at 0."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.relu(z) + self.slope * torch.where(z == 0, z, 0.0)


def measure(e: Evidence) -> str:
    conditions = {f"slope {s:g}": {"act": lambda s=s: Chosen(s)} for s in (0.0, 0.5, 1.0)}
    found = laboratory.trials(8, conditions, epochs=8)
    one, shares = found["slope 0"][0], {}
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        inside = laboratory.inside(one.model.to(dtype), one.split.x.to(dtype))
        shares[str(dtype)[6:]] = sum(float((z == 0).double().mean()) for z, _ in inside) / len(inside)
    weight = one.model.double()[0].weight
    pixels = laboratory.data("digits", scaling="raw").x.double()
    integers = pixels @ (weight * 127 / weight.abs().max()).round().T
    shares["8-bit weights, 4-bit pixels"] = share = float((integers == 0).double().mean())
    rows = [[n, f"{s:.2g}"] for n, s in shares.items()]
    e.table("Share of pre-activations that are exactly 0", ["numbers", "share"], rows)
    one.model.float()
    test = e.tests("Test accuracy on digits by the slope at 0", laboratory.accuracies(found))
    e.say(f"""Exact zeros: {shares["float32"]:.1g} of the pre-activations in float32, {shares["bfloat16"]:.1g} in bfloat16,
        {shares["float16"]:.1g} in float16; with weights of 8 bits and pixels of 4 bits {share:.1g}. Training with slope 1
        at 0 instead of 0 changes the test accuracy by {test.difference("slope 1")} percentage points.""")
    return (
        "holds only if one chooses so: 0 is torch's choice, and in floating point it makes no difference here"
    )


if __name__ == "__main__":
    run(__file__)
