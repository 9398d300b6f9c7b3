"""ReLU is the sum of infinitely many Bernoulli units with shifted biases, ReLU6 of six; the noise has deviation sigmoid(x).

Taught: notes on torch.nn's activations, after Nair & Hinton (2010) and Krizhevsky (2010).

Units with biases -1/2, -3/2, ... fire with probability sigmoid(x - k + 1/2). The mean of their sum is the sum of the sigmoids,
close to softplus(x); its variance is the sum of p (1 - p), and equals sigmoid(x) nearly: the variance, not the deviation.

Practice: `noisy_relu` uses variance sigmoid(x). With sigmoid(x) as the deviation the noise would be too small for x < 0.
"""

import numpy as np
import torch

import softknee as sk
from softknee.claims import Evidence, run

TOPIC, ABOUT = "Dying units and sparsity", ("noisy_relu", "noisy_relu6", "relu6", "softplus", "sigmoid")


def measure(e: Evidence) -> str:
    x = np.linspace(-4, 10, 57)
    biases = np.arange(60) + 0.5
    p = sk.get("sigmoid")(x[:, None] - biases)
    mean, variance = p.sum(1), (p * (1 - p)).sum(1)
    drawn = np.random.default_rng(0).random((4_000, *p.shape), dtype=np.float32) < p
    sums, six = drawn.sum(2), drawn[:, :, :6].sum(2)
    soft, gate = sk.get("softplus")(x), sk.get("sigmoid")(x)
    off, off_variance = np.abs(mean - soft).max(), np.abs(variance - gate).max()
    off_deviation = np.abs(np.sqrt(variance) - gate).max()
    means = {"60 units, drawn": sums.mean(0), "softplus": soft, "6 units, drawn": six.mean(0)}
    e.lines("Mean of the sums", x, means | {"relu6": sk.get("relu6")(x)}, y_label="sum")
    curves = {
        "60 units, drawn": sums.var(0),
        "sigmoid(x)": gate,
        "sigmoid(x)^2": gate**2,
        "6 units, drawn": six.var(0),
    }
    e.lines("Variance of the sums", x, curves, y_label="variance")
    torch.manual_seed(0)
    z = torch.full((200_000,), 3.0)
    noisy, noisy6 = (
        float(getattr(sk.functional, n)(z, training=True).var()) for n in ("noisy_relu", "noisy_relu6")
    )
    e.part("the mean is softplus, near ReLU", "holds" if off < 0.02 else "refuted")
    e.part("the variance is sigmoid(x)", "holds" if off_variance < 0.03 else "refuted")
    e.part("the standard deviation is sigmoid(x)", "refuted" if off_deviation > 0.1 else "holds")
    e.say(f"""The mean of the sum is within {off:.3f} of softplus(x), its variance within {off_variance:.3f} of sigmoid(x); its
        deviation is up to {off_deviation:.2f} away from sigmoid(x). Six units saturate at 6 as ReLU6 does. The library's
        noise at x = 3: variance {noisy:.3f} (sigmoid(3) = {sk.get("sigmoid")(3.0):.3f}) and, capped, {noisy6:.3f}.""")
    return (
        "holds only if sigmoid(x) is read as the variance"
        if off_variance < 0.03 < off_deviation
        else "refuted"
    )


if __name__ == "__main__":
    run(__file__)
