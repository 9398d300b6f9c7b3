"""Hardtanh, the cheaper tanh, works well for language.

Taught: notes on torch.nn's activations, after Collobert et al. 2011 (Journal of Machine Learning Research 12).

The next character of English text (the Python manual), by a recurrent network and by a small transformer; hardtanh
against tanh, and both against ReLU and GELU. Time is that of the function alone, forward and backward.

Practice: As good as tanh where tanh is the choice, and cheaper without vector units; today's transformers gain from
neither.
"""

import torch

from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Choosing", ("hardtanh", "tanh", "relu", "gelu")


def measure(e: Evidence) -> str:
    tests, good = {}, []
    for network in ("rnn", "transformer"):
        how = {"network": network, "samples": 800, "epochs": 2, "lr": (0.01,), "depth": 1, "width": 32}
        ((_, found),) = laboratory.compared("python_manual", "tanh,hardtanh,relu,gelu", **how).items()
        tests[network] = e.tests(f"Next character right, {network}", laboratory.scores(found))
    z = torch.randn(1 << 17, requires_grad=True)
    layers = {name: laboratory.activation(name) for name in ABOUT}
    times = laboratory.in_turns({n: lambda f=f: f(z).sum().backward() for n, f in layers.items()})
    rows = [[n, t / times["tanh"]] for n, t in times.items()]
    e.table("Time, forward and backward", ["function", "relative to tanh"], rows)
    e.say(f"""Hardtanh minus tanh: {tests["rnn"].difference("hardtanh")} points of right characters in the recurrent network,
        {tests["transformer"].difference("hardtanh")} in the transformer. ReLU minus tanh: {tests["rnn"].difference("relu")} and
        {tests["transformer"].difference("relu")}. Hardtanh takes {times["hardtanh"] / times["tanh"]:.2f} times tanh's time.""")
    for network, test in tests.items():
        good.append("refuted" if test["hardtanh"] == "lower" else "holds")
        e.part(f"{network}: hardtanh is as good as tanh", good[-1])
        best = max(("relu", "gelu"), key=lambda a: test.means[a].mean)
        e.part(f"{network}: {best} is better than tanh", test.verdict(best, "higher"))
    cheaper = times["hardtanh"] < 0.95 * times["tanh"]
    e.part("hardtanh is cheaper than tanh", "holds" if cheaper else "refuted")
    return overall(good, f"the network is {'recurrent' if good[0] == 'holds' else 'a transformer'}")


if __name__ == "__main__":
    run(__file__)
