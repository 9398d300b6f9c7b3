"""Inputs are standardised to zero mean and "variance 0".

Taught: notes on ReLU, among the tips for its use (a slip of the pen that is copied).

Right: mean 0 and variance 1.

Effect: variance 0 means that every sample is the same number, and nothing can be learnt.

We scale the standardised digits down towards variance 0 and train the same network; and up, for the other side.

Practice: Standardise to variance 1 with the training data's mean and deviation. A column that is constant has no
deviation to divide by: leave it at 0.
"""

from softknee.claims import Evidence, laboratory, run

TOPIC, ABOUT = "Starting values and inputs", ("relu",)


def measure(e: Evidence) -> str:
    deviations = [1.0, 0.0, 1e-4, 1e-3, 1e-2, 0.1, 10.0]
    conditions = {
        f"{d:g}": {"change": lambda s, d=d: s._replace(x=s.x * d, test_x=s.test_x * d)} for d in deviations
    }
    found = laboratory.trials(8, conditions, epochs=6)
    test = e.tests("Test accuracy on digits by the inputs' standard deviation", laboratory.accuracies(found))
    e.say(f"""With variance 1 the network reaches {test.mean("1")} %, with variance 0 {test.mean("0")} %, which is guessing;
        with a deviation of 0.01 {test.mean("0.01")} % in the same 6 epochs.""")
    return "refuted" if test["0"] == "lower" else "holds"


if __name__ == "__main__":
    run(__file__)
