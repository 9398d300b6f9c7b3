"""Never use tanh or sigmoid in hidden layers.

Taught: problem sets on ReLU and its relatives: "under no circumstances".

tanh and sigmoid beside ReLU on digits with 2 and 12 hidden layers, on diabetes (a regression) and on wine, each with
the weight scale that belongs to it, or with the one made for ReLU; of two learning rates the validation data choose.

Practice: Keep sigmoid for gates and outputs. tanh is a sound choice in shallow networks, in recurrent ones, and where
the weights are scaled for it; "never" is too strong.
"""

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Choosing", ("tanh", "sigmoid", "relu")


def measure(e: Evidence) -> str:
    cases = [
        ("digits", 2, "own"),
        ("digits", 12, "own"),
        ("digits", 12, "same"),
        ("wine", 2, "own"),
        ("diabetes", 2, "own"),
    ]
    rows, worse = [], {"tanh": 0, "sigmoid": 0}
    for data, depth, init in cases:
        how = {"depth": depth, "init": init, "epochs": 8, "lr": (0.001, 0.01)}
        ((_, found),) = laboratory.compared(data, "relu,tanh,sigmoid", **how).items()
        title = (
            f"{data}, {depth} hidden layers, {'its own' if init == 'own' else 'ReLU' + chr(39) + 's'} weights"
        )
        unit = "R² x 100" if data == "diabetes" else "%"
        test = e.tests(f"{title}: test score", laboratory.scores(found), unit=unit)
        for name in worse:
            worse[name] += test[name] == "lower"
            rows.append([title, name, test.difference(name), test[name]])
            e.part(f"{title}: {name} is worse than ReLU", test.verdict(name, "lower"))
    e.table("Minus ReLU", ["case", "function", "difference", "it is"], rows)
    e.say(
        f"""Of {len(cases)} cases tanh is distinguishably worse than ReLU in {worse["tanh"]}, sigmoid in {worse["sigmoid"]}."""
    )
    if worse["tanh"] == len(cases):
        return "holds"
    return (
        "holds only if it is sigmoid and the network deep" if worse["sigmoid"] > worse["tanh"] else "refuted"
    )


if __name__ == "__main__":
    run(__file__)
