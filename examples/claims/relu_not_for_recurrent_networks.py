"""ReLU is for MLPs and convolutional networks, not for recurrent ones, which take tanh.

Taught: tutorials on ReLU ("use with MLPs, CNNs, but probably not RNNs") and notes on torch.nn's activations.

The same weights are used in every step, so what a step multiplies is raised to the number of steps: tanh bounds the
state, ReLU does not. A plain recurrent network, a GRU and an LSTM read digits row by row, the first two also add up two
marked numbers of a sequence of 50 (the adding problem); an MLP and a convolutional network read digits whole. Each
activation has its own weight scale and learning rate.

Practice: tanh in plain recurrent layers and in LSTMs, where the kernels are made for it, too; GRUs take either. In small
feed-forward networks tanh is no worse than ReLU: compare.
"""

from softknee.claims import Evidence, laboratory, overall, run

TOPIC, ABOUT = "Choosing", ("relu", "tanh")
SEEDS = 12


def measure(e: Evidence) -> str:
    cases = [(network, "digits") for network in ("rnn", "gru", "lstm", "mlp", "cnn")]
    verdicts, rows = {}, []
    for network, data in [*cases, ("rnn", "memory"), ("gru", "memory")]:
        recurrent = network in ("rnn", "gru", "lstm")
        how = {"network": network, "lr": (0.003, 0.01), "depth": 1 if recurrent else 2}
        how |= {"epochs": 4 if data == "memory" else 8, "width": 64 if network == "mlp" else 16}
        found = laboratory.compared(data, "tanh,relu", seeds=SEEDS, **how).popitem()[1]
        case = f"{network.upper()}, {'the adding problem' if data == 'memory' else 'digits' + ', row by row' * recurrent}"
        unit = "R² x 100" if data == "memory" else "%"
        test = e.tests(case, laboratory.scores(found), unit=unit)
        failed = {a: sum(bool(o.failure) for o in each) for a, each in found.items()}
        rows.append([case, test.mean("tanh"), test.difference("relu"), failed["tanh"], failed["relu"]])
        verdict = test.verdict("relu", "lower" if recurrent else "higher")
        e.part(f"{case}: ReLU is {'worse' if recurrent else 'better'} than tanh", verdict)
        verdicts[case] = verdict
    columns = ["", "tanh [95 %]", "relu minus tanh", "learned nothing: tanh", "relu"]
    e.table("All of them", columns, rows)
    (plain, *_), difference = rows[0], rows[0][2]
    e.say(f"""{plain}: ReLU minus tanh {difference} points; GRU {rows[1][2]}, LSTM {rows[2][2]}. On the adding problem GRU's R² x
        100 is {rows[6][1]} with tanh, ReLU minus that {rows[6][2]}. MLP {rows[3][2]}, convolutional network {rows[4][2]}.""")
    worse = [case for case, verdict in verdicts.items() if verdict == "holds"]
    return overall(verdicts.values(), f"it is said of: {'; '.join(worse)}")


if __name__ == "__main__":
    run(__file__)
