"""Three ways to kill the units of a ReLU network, and what brings them back: a large negative bias, a
large step, an input that is not scaled. A unit is dead that fires for none of the samples.

    python examples/dying_relu.py
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

import picture
from softknee import functional as F
from softknee import init, nn

SAMPLES, INPUTS, WIDTH, STEPS = 256, 10, 48, 200
torch.manual_seed(0)
X = torch.randn(SAMPLES, INPUTS)
Y = torch.sin(X[:, :1]) + X[:, 1:2] * X[:, 2:3].tanh()
RAW = 40 * X + 100  # in other units, and not centred


@dataclass
class Case:
    cause: str
    name: str
    x: torch.Tensor = X
    rate: float = 0.01
    bias: float = 0.0
    activation: str = "ReLU"
    dead: float = 0.0
    loss: float = 0.0

    def run(self) -> None:
        torch.manual_seed(1)
        act = getattr(nn, self.activation)
        slope = (0.2,) if self.activation == "LeakyReLU" else ()
        model = nn.Sequential(
            nn.Linear(INPUTS, WIDTH), act(*slope), nn.Linear(WIDTH, WIDTH), act(*slope), nn.Linear(WIDTH, 1)
        )
        init.initialize_(model, bias=self.bias)
        optimizer = torch.optim.SGD(model.parameters(), lr=self.rate, momentum=0.9)
        for _ in range(STEPS):
            optimizer.zero_grad()
            F.mse_loss(model(self.x), Y).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1000)  # a large step stays large, the numbers finite
            optimizer.step()
        first = model[0](self.x)
        second = model[2](model[1](first))
        silent = torch.cat([(first <= 0).all(0), (second <= 0).all(0)])
        # a leaky unit passes a gradient wherever it is: it cannot die
        self.dead = 0.0 if slope else float(silent.float().mean())
        self.loss = float(F.mse_loss(model(self.x), Y).detach()) / float(Y.var())


CASES = [
    Case("", "healthy: scaled, He's weights"),
    Case("negative bias", "bias -6", bias=-6),
    Case("negative bias", "cure: bias +0.1", bias=0.1),
    Case("negative bias", "cure: leaky_relu", bias=-6, activation="LeakyReLU"),
    Case("large step", "step 0.5", rate=0.5),
    Case("large step", "cure: step 0.01"),
    Case("unscaled input", "input: mean 100, deviation 40", x=RAW),
    Case("unscaled input", "cure: standardise it", x=(RAW - RAW.mean(0)) / RAW.std(0)),
]


def main() -> None:
    for case in CASES:
        case.run()
        print(f"{case.name:30} dead {case.dead:4.0%}, loss / variance {case.loss:.3g}")
    figure, (left, right) = picture.panels(2, 4.6, 3.4, sharey=True)
    places = range(len(CASES))[::-1]
    colours = [picture.COLOURS[1] if c.dead > 0.4 else picture.COLOURS[0] for c in CASES]
    dead = left.barh(places, [100 * c.dead for c in CASES], color=colours, height=0.65)
    left.bar_label(dead, fmt="%.0f", padding=3, color=picture.INK)
    left.set_yticks(list(places), [c.name for c in CASES])
    left.set(title="Dead units, %", xlim=(0, 115))
    loss = right.barh(places, [min(c.loss, 2) for c in CASES], color=colours, height=0.65)
    right.bar_label(loss, fmt="%.2f", padding=3, color=picture.INK)
    right.axvline(1, color=picture.INK, linewidth=1)
    right.set(title="Loss, 1 for the mean alone", xlim=(0, 1.3))
    for ax in (left, right):
        ax.grid(visible=False, axis="y")
        ax.tick_params(length=0)
    picture.save(figure, "dying_relu")
    for case in CASES:
        if "cure" in case.name or not case.cause:
            assert case.dead < 0.1, case.name
            assert case.loss < (0.6 if "leaky" in case.name else 0.05), case.name
        else:
            assert case.dead > 0.4, case.name
            assert case.loss > 0.9, case.name


if __name__ == "__main__":
    main()
