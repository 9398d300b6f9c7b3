"""Which learning rates are tried: the same number for every activation and condition.

"grid": those that are given. "optuna": rates between the lowest and the highest given, one after the other, each
where the validation scores of the ones before it make it worth while (tree-structured Parzen estimator, Bergstra et
al. 2011, Advances in Neural Information Processing Systems 24), for every activation and condition on its own. Each
rate is tried with all seeds. Of what was tried each seed's own validation data choose, as from a grid.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from softknee.compare.conditions import Condition
from softknee.compare.engine import Outcome
from softknee.compare.errors import CompareError
from softknee.compare.protocol import Run

Search = Literal["grid", "optuna"]
Outcomes = dict[Condition, dict[Run, Outcome]]
Round = Mapping[tuple[Condition, str], Sequence[float]]  # the rates of each condition and activation

SEARCHES = get_args(Search)


def checked(search: str, rates: Sequence[float], trials: int | None) -> int:
    """How many rates each activation gets in each condition; refuses what cannot be searched."""
    if search not in SEARCHES:
        raise CompareError(f"search={search!r}; it is {' or '.join(SEARCHES)}")
    if search == "grid":
        if trials is not None and trials != len(rates):
            raise CompareError(f"trials={trials}: a grid tries the {len(rates)} learning rates it is given")
        return len(rates)
    if len(rates) < 2:
        raise CompareError("search='optuna' needs two learning rates to search between, as in lr=0.0003,0.03")
    trials = 6 if trials is None else trials
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise CompareError(f"trials={trials}: a whole number from 1 is needed")
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise CompareError("search='optuna' needs Optuna: pip install 'softknee[optuna]'") from None
    return trials


def rounds(
    search: str,
    rates: Sequence[float],
    trials: int,
    cells: Sequence[Condition],
    labels: Sequence[str],
    outcomes: Outcomes,
) -> Iterator[Round]:
    """What to train next, until the budget is spent; `outcomes` has what was trained before."""
    pairs = [(cell, label) for cell in cells for label in labels]
    if search == "grid":
        yield dict.fromkeys(pairs, rates)
        return
    low, high = min(rates), max(rates)
    studies = {pair: _study(math.sqrt(low * high), trials) for pair in pairs}
    for _ in range(trials):
        asked = {pair: study.ask() for pair, study in studies.items()}
        tried = {
            pair: float(f"{trial.suggest_float('lr', low, high, log=True):.3g}")
            for pair, trial in asked.items()
        }
        yield {pair: (rate,) for pair, rate in tried.items()}
        for (cell, label), trial in asked.items():
            found = [
                outcome.validation_score
                for run, outcome in outcomes[cell].items()
                if run.activation == label and run.learning_rate == tried[cell, label]
            ]
            studies[cell, label].tell(trial, float(np.mean(found)))


def _study(first: float, trials: int) -> Any:
    """One that gives the same rates for the same scores; the first rate is the same for all."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna's, about what it calls experimental
        sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=max(2, trials // 3))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({"lr": first})
    return study
