"""True zeros are important for autoencoders.

Taught: tutorials on ReLU, among its advantages ("representational sparsity").

Autoencoders of digits, through a narrow code of 16 numbers and a wide one of 256 with an L1 penalty on it. ReLU sets
numbers of the code to exactly 0; leaky ReLU, ELU and tanh do not. What could the zeros be good for? A better
reconstruction (R² on test data), a code that tells the digit (a linear read-out by least squares), or less to store.

Practice: Take ReLU or a shrink function and an L1 penalty if you want sparse codes, to store them or to see which
feature is absent. For reconstruction alone, zeros in a narrow code are capacity thrown away.
"""

import torch

from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Dying units and sparsity", ("relu", "leaky_relu", "elu", "tanh")


def copies(split: laboratory.Split) -> laboratory.Split:
    return split._replace(y=split.x, test_y=split.test_x)


def read_out(trial: laboratory.Trial, seed: int, place: int) -> tuple[float, float]:
    """The share of exact zeros in the test data's code, and the accuracy of a linear map from code to digit."""
    split = laboratory.data("digits", seed)
    codes = [laboratory.inside(trial.model, x)[place][1] for x in (split.x, split.test_x)]
    a, b = (torch.nn.functional.pad(h, (0, 1), value=1.0) for h in codes)
    inner = a.T @ a + 1e-2 * len(a) * torch.eye(a.shape[1])
    guess = b @ torch.linalg.solve(inner, a.T @ torch.eye(10)[split.y])
    return float((codes[1] == 0).float().mean()), float((guess.argmax(1) == split.test_y).float().mean())


def measure(e: Evidence) -> str:
    zeros, verdicts = {}, []
    for name, hidden, place, strength in (("narrow", [128, 16, 128], 1, 0.0), ("wide", [256], 0, 3e-3)):
        how = {"hidden": hidden, "outputs": 64, "loss": torch.nn.functional.mse_loss, "change": copies}
        how["penalty"] = lambda w, h, s=strength, p=place: s * h[p].abs().sum(2).mean(1)
        found = laboratory.trials(8, {a: {"act": a} for a in ABOUT}, **how)
        seen = {a: [read_out(t, s, place) for s, t in enumerate(each)] for a, each in found.items()}
        zeros[name] = {a: sum(z for z, _ in each) / 8 for a, each in seen.items()}
        quality = {a: [t.explained for t in each] for a, each in found.items()}
        r2 = e.tests(f"Reconstruction of digits, {name} code", quality, unit="R² x 100")
        right = {a: [accuracy for _, accuracy in each] for a, each in seen.items()}
        told = e.tests(f"Linear read-out of the digit, {name} code", right)
        for what, test in (("reconstructs", r2), ("tells the digit", told)):
            best = max(ABOUT[1:], key=lambda a, t=test: t.means[a].mean)
            verdicts.append(test.verdict(best, "lower"))
            e.part(f"{name} code: ReLU {what} better than {best}, the best of the others", verdicts[-1])
        e.say(f"""{name.capitalize()} code: {zeros[name]["relu"]:.0%} of ReLU's numbers are exactly 0, {zeros[name]["elu"]:.0%}
            of ELU's. R² x 100: ReLU {r2.mean("relu")}, ELU minus that {r2.difference("elu")}. Read-out: ReLU {told.mean("relu")} %,
            ELU minus that {told.difference("elu")}.""")
    rows = [[a, *(f"{zeros[name][a]:.1%}" for name in zeros)] for a in ABOUT]
    e.table("Exact zeros in the code", ["", *(f"{name} code" for name in zeros)], rows)
    worth = "the code is to be stored: functions without zeros reconstruct and tell as well"
    return overall([*verdicts, "holds" if zeros["wide"]["relu"] > 0.5 else "refuted"], worth)


if __name__ == "__main__":
    run(__file__)
