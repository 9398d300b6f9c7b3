"""The order is SELU > ELU > leaky ReLU > ReLU > tanh > sigmoid; start with ReLU, never take tanh or sigmoid.

Taught: tips for choosing an activation, which go around in several languages (some add "do not trust blindly"), and that
exchanging one activation for another can win a whole per cent.

The order is tested as it stands, neighbour by neighbour, with 3 and with 12 hidden layers on digits and on wine, each
activation with the weights that belong to it.

Practice: At small depth take ReLU and stop thinking about it. In deep plain networks the order of the first four
matters less than keeping sigmoid out; measure with `softknee compare`.
"""

from itertools import pairwise

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Choosing", ("selu", "elu", "leaky_relu", "relu", "tanh", "sigmoid")


def measure(e: Evidence) -> str:
    rows, wrong, gain = [], 0, {}
    for name, depth in (("digits", 3), ("digits", 12), ("wine", 3)):
        conditions = {a: {"act": a} for a in ABOUT}
        found = laboratory.trials(8, conditions, name=name, hidden=[64] * depth, epochs=5, lr=3e-3)
        scores, where = laboratory.accuracies(found), f"{name}, {depth} hidden layers"
        test = e.tests(f"Test accuracy, {where}", scores, against="relu")
        best = max(ABOUT, key=lambda a: test.means[a].mean)
        gain[where] = (
            test.means[best].mean - test.means["relu"].mean,
            best,
            test[best] if best != "relu" else "same",
        )
        for better, worse in pairwise(ABOUT):
            pair = e.tests(
                f"{better} against {worse}, {where}", {worse: scores[worse], better: scores[better]}
            )
            e.tables.pop(), e.figures.pop()
            wrong += pair[better] == "lower"
            rows.append([where, f"{better} > {worse}", pair.difference(better), pair[better]])
    e.table(
        "The order, neighbour by neighbour (points of test accuracy)",
        ["data", "claim", "difference", "the first is"],
        rows,
    )
    confirmed = sum(row[-1] == "higher" for row in rows)
    for where, (points, best, state) in gain.items():
        word = "not distinguishable" if state == "same" else "holds" if points >= 1 else "refuted"
        e.part(f"{where}: another activation ({best}) wins a whole per cent over ReLU ({points:+.1f})", word)
    e.say(f"""Of {len(rows)} neighbouring pairs the claimed order is confirmed in {confirmed}, reversed in {wrong} and not
        distinguishable in {len(rows) - confirmed - wrong}.""")
    return "holds only if depth makes it count" if confirmed > wrong else "refuted"


if __name__ == "__main__":
    run(__file__)
