"""Learned slopes beat fixed ones.

Taught: papers on learned activations: PReLU (He et al. 2015, arXiv:1502.01852: 1.2 points on ImageNet with 14 layers) and ACON (Ma et
al. 2021, arXiv:2009.04759: top-1 error of ResNet-50 24.0 % with ReLU, 23.5 with Swish, 23.2 with ACON-C).

Published numbers disagree: the Mish repository's 23 runs on CIFAR-10 have PReLU a point below ReLU. A reproduction in
kind: learned slopes against fixed ones of the same form and start, on digits with 2 and 12 hidden layers; of three
rates the validation data choose.

Practice: A learned slope is one more thing to start, to keep out of weight decay, and to watch; a fixed one is free.
"""

from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Published comparisons, repeated", ("prelu", "leaky_relu", "relu", "swish", "silu", "acon_c")
MISH_TABLE = {"relu": 86.66, "leaky_relu": 86.85, "prelu": 85.66, "silu": 87.32}
START = "leaky_relu(negative_slope=0.25)"


def measure(e: Evidence) -> str:
    tests, rows, verdicts = {}, [], []
    names = f"relu,leaky_relu,{START},prelu,silu,swish,acon_c"
    found = laboratory.compared("digits", names, depth=(2, 12), epochs=8)
    for depth, each in zip((2, 12), found.values(), strict=True):
        scores = laboratory.scores(each)
        tests[depth] = e.tests(f"Test accuracy on digits, {depth} hidden layers", scores)
        for learned, fixed in (("prelu", START), ("swish", "silu"), ("acon_c", "silu")):
            pair = e.tests(None, {fixed: scores[fixed], learned: scores[learned]})
            verdicts.append(pair.verdict(learned, "higher"))
            e.part(f"{depth} layers: {learned} is better than {fixed}", verdicts[-1])
            ends = [v for o in each[learned] for v in next(iter(o.learned.values()))[-1]]
            span = f"{min(ends):.2f} to {max(ends):.2f}"
            rows.append([f"{learned}, {depth} layers", fixed, pair.difference(learned), span])
    title = "Beside the Mish repository's table (CIFAR-10, SqueezeNet, 23 runs): here digits, 12 layers"
    e.beside(title, MISH_TABLE, tests[12])
    columns = ["learned", "fixed", "difference, points", "where its (first) parameter ended"]
    e.table("Learned against fixed", columns, rows)
    e.say(f"""PReLU minus leaky ReLU of the same start: {rows[0][2]} points with 2 layers, {rows[3][2]} with 12 (published,
        minus ReLU: +1.2 on ImageNet, -1.0 in the Mish table). Swish minus SiLU: {rows[1][2]} and {rows[4][2]}. ACON-C
        minus SiLU: {rows[2][2]} and {rows[5][2]} (published, minus Swish: +0.3).""")
    return overall(verdicts, "it is one of the cases below that hold")


if __name__ == "__main__":
    run(__file__)
