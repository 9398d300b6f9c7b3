"""Gated feed-forward layers (GEGLU, SwiGLU) are better than ReLU and GELU.

Taught: the paper on GLU variants (Shazeer 2020, arXiv:2002.05202, table 1: T5 base, log-perplexity after 65,536
steps), and since by nearly every language model.

A reproduction on characters (the Python manual, windows of 64): a transformer with one block of width 32, whose
feed-forward part is f(W x) or f(W x) * V x with two thirds of the units, so that the number of weights is the same. 8
paired seeds; loss in nats a character on held-out text. The published differences are 0.05 at a model 10,000 times as
large.

Practice: At equal numbers of weights a gate costs nothing; which function gates matters less than that there is a
gate.
"""

from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Published comparisons, repeated", ("relu", "gelu", "silu", "sigmoid", "identity")
PUBLISHED = {"ReLU": 1.997, "GELU": 1.983, "GLU": 1.982, "Bilinear": 1.960}
PUBLISHED |= {"ReGLU": 1.953, "SwiGLU": 1.944, "GEGLU": 1.942}


def measure(e: Evidence) -> str:
    how = {"depth": 1, "width": 32, "samples": 600, "batch_size": 16, "epochs": 3, "lr": (0.01,)}
    plain = laboratory.compared("python_manual", "relu,gelu", network="transformer", **how).popitem()[1]
    gates = "sigmoid,identity,relu,silu,gelu"
    gated = laboratory.compared("python_manual", gates, network="gated_transformer", **how).popitem()[1]
    found = dict(zip(PUBLISHED, [*plain.values(), *gated.values()], strict=True))
    loss = {name: [o.test_loss for o in each] for name, each in found.items()}
    test = e.tests("Loss on held-out text", loss, unit="nats a character", scale=1)
    e.beside("Beside the published log-perplexities (nats a token)", PUBLISHED, test, unit="nats", digits=3)
    gelu = {name: loss[name] for name in ("GELU", "GEGLU", "SwiGLU", "GLU", "Bilinear")}
    against = e.tests("Loss on held-out text, against GELU", gelu, unit="nats a character", scale=1)
    e.say(f"""GEGLU minus ReLU: {test.difference("GEGLU")} nats (published -0.055), minus GELU: {against.difference("GEGLU")}
        (published -0.041). SwiGLU minus ReLU: {test.difference("SwiGLU")} (published -0.053). Bilinear, without any
        activation: {test.difference("Bilinear")} (published -0.037).""")
    verdicts = []
    for name in ("GEGLU", "SwiGLU"):
        verdicts += [test.verdict(name, "lower"), against.verdict(name, "lower")]
        e.part(f"{name} is better than ReLU", verdicts[-2])
        e.part(f"{name} is better than GELU", verdicts[-1])
    alone = test.verdict("Bilinear", "lower")
    e.part("even without activation (bilinear) the gate is better than ReLU", alone)
    return overall(verdicts, "it is compared with " + ("ReLU" if verdicts[0] == "holds" else "GELU"))


if __name__ == "__main__":
    run(__file__)
