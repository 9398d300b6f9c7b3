"""A negative bias at the start kills a ReLU at once.

Taught: problem sets on backpropagation: "if b is initialised with a negative number, the neuron dies at once".

A unit is dead when it fires for no sample of the data, for only then does its gradient vanish on all of them. Let b be
its bias in standard deviations of its pre-activation. If that were normal and the N samples independent, the unit would
be dead with probability Phi(-b)^N: astronomically small at b = -1, one half only near b = -3.4 for N = 1,797. Images have
heavier tails than the normal distribution, so that far out fewer units die than this says.

Practice: Start biases at 0. A small negative bias makes a layer sparser, not dead; look for dead units on all the
data, never on one batch, before blaming the bias.
"""

import torch

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Dying units and sparsity", ("relu",)


def measure(e: Evidence) -> str:
    split = laboratory.data("digits")
    x, biases = torch.cat([split.x, split.test_x]), [0.0, -0.5, -1.0, -2.0, -3.0, -4.0, -5.0]
    weight = torch.randn(x.shape[1], 20_000, generator=torch.Generator().manual_seed(0))
    z = x @ weight
    z = (z - z.mean(0)) / z.std(0)  # every unit's own standard deviation is the unit of its bias
    highest, samples = z.max(0).values, len(x)
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    theory = [float(normal.cdf(torch.tensor(-b, dtype=torch.float64)) ** samples) for b in biases]
    dead = [float((highest + b <= 0).float().mean()) for b in biases]
    fires = [float((z + b > 0).float().mean()) for b in biases]
    e.table(
        f"20,000 random units, {samples} images of digits, bias in standard deviations of the pre-activation",
        ["bias", "samples it fires for", "dead, measured", "dead, N(0, 1) and independent samples"],
        [
            [f"{b:g}", f"{f:.2%}", f"{d:.2%}", f"{t:.2g}"]
            for b, f, d, t in zip(biases, fires, dead, theory, strict=True)
        ],
    )
    e.lines(
        "Share of units that never fire", biases, {"measured": dead, "theory": theory}, "bias", "share dead"
    )
    e.say(
        f"""With a bias of -1 standard deviation {dead[2]:.2%} of 20,000 units are dead (theory for independent
        normal samples: {theory[2]:.0e}); at -3 it is {dead[4]:.1%} ({theory[4]:.2f}), at -5 {dead[6]:.1%}
        ({theory[6]:.4f}). A unit with bias -1 still fires for {fires[2]:.0%} of the samples."""
    )
    return "refuted" if dead[2] < 0.01 else "holds"


if __name__ == "__main__":
    run(__file__)
