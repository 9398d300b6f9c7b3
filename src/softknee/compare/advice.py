"""Which activation for this task, within a budget of minutes: successive halving over the catalogue.

Rung by rung (Jamieson & Talwalkar 2016, arXiv 1502.07943), the contestants are trained with a growing number of
epochs on a few seeds, and the half with the higher validation scores goes on; what is left, with the usual choice
(`activations.OTHER`) to compare with, is compared on fresh seeds by the tests of `compare`. No test score takes part
in the choosing; but each seed splits the samples anew, so that a sample may choose in one seed and test in another.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from softknee import catalogue
from softknee.compare.activations import DEFAULT, OTHER, activation
from softknee.compare.errors import CompareError
from softknee.compare.experiment import compare
from softknee.compare.records import Comparison
from softknee.compare.schedule import Listener, Progress
from softknee.compare.specification import parse, specifications
from softknee.compare.statistics import seeds_needed

_FINALISTS, _SCREENED = 4, 3  # activations in the last comparison; seeds in each rung before it
_SHARE = 0.5  # of the budget for the last comparison


@dataclass(frozen=True)
class Rung:
    """One round: the epochs of each run, and the contestants with their mean validation scores, best first."""

    epochs: int
    scores: tuple[tuple[str, float], ...]
    kept: int


@dataclass(frozen=True)
class Recommendation:
    """The answer, how the field was narrowed, and the comparison it rests on."""

    answer: str
    activation: str
    matters: bool  # whether the recommended one is better than the usual choice, by test and interval
    rungs: tuple[Rung, ...]
    evidence: Comparison

    def __str__(self) -> str:
        return f"{self.answer}\n\n{self.evidence}"

    def _repr_html_(self) -> str:
        return self.evidence._repr_html_()


def recommend(
    data: Any,
    activations: str | Sequence[str] | None = None,
    *,
    minutes: float = 10.0,
    epochs: int = 15,
    seeds: int = 10,
    progress: Listener = lambda event: None,
    **settings: Any,
) -> Recommendation:
    """The activation to use for a task.

    data, settings: as `compare` takes them, one value each. activations: the field; default: the catalogue's. minutes:
    the budget, kept by narrowing the field sooner, then by fewer epochs in the last comparison; a first round of one
    epoch is always run.
    """
    if not 0 < minutes < math.inf:
        raise CompareError(f"minutes={minutes}: a positive number is needed")
    if settings.get("depth") is None and settings.get("network") in (None, "mlp"):
        settings["depth"] = 2
    deadline = time.monotonic() + 60 * minutes
    field = candidates() if activations is None else [str(s) for s in specifications(activations)]
    usual = field[0] if OTHER not in field else OTHER
    if len(field) < 2:
        raise CompareError("one activation: there is nothing to choose from")
    rungs: list[Rung] = []
    trained, seconds_an_epoch = 1, 0.0
    while len(field) > _FINALISTS or not rungs:
        start = time.monotonic()
        progress(
            Progress(
                0,
                1,
                "",
                f"round {len(rungs) + 1}: {len(field)} activations, {trained} epoch{'s' * (trained > 1)}",
            )
        )
        found = compare(
            data, field, seeds=range(1000, 1000 + _SCREENED), epochs=trained, progress=progress, **settings
        )
        if len(found.levels) > 1:
            raise CompareError("recommend takes one data set and one value of each setting")
        seconds_an_epoch = (time.monotonic() - start) / len(field) / trained / _SCREENED
        scores = {s.label: s.validation_score.middle[-1] for s in found.levels[0].standings}
        ordered = sorted(scores, key=lambda label: -scores[label])
        left = deadline - time.monotonic()
        affordable = _SHARE * left / (seconds_an_epoch * _SCREENED * min(2 * trained, epochs))
        kept = max(_FINALISTS, min(math.ceil(len(field) / 2), int(affordable)))
        rungs.append(Rung(trained, tuple((label, scores[label]) for label in ordered), min(kept, len(field))))
        field = ordered[:kept]
        trained = min(2 * trained, epochs)
    finalists = list(dict.fromkeys([usual, *field]))
    left = max(1.0, deadline - time.monotonic())
    fits = int(left / (seconds_an_epoch * len(finalists) * seeds))
    last = max(1, min(epochs, fits))
    notes = "" if last == epochs else f" (the budget allowed {last} of {epochs} epochs)"
    evidence = compare(
        data, finalists, seeds=max(seeds, seeds_needed()), epochs=last, progress=progress, **settings
    )
    return _judged(evidence, usual, tuple(rungs), notes)


def candidates() -> list[str]:
    """The field: every pointwise activation of the catalogue that can be trained as it is; the usual ones first."""
    found = DEFAULT.split(",")
    for definition in catalogue.all_definitions():
        if definition.name not in found and definition.family != "user":
            try:
                contestant = activation(parse(definition.name)[0])
            except (CompareError, AttributeError):
                continue
            if np.isfinite(contestant.gain) and contestant.steepest > 0:
                found.append(definition.name)
    return found


def _judged(evidence: Comparison, usual: str, rungs: tuple[Rung, ...], notes: str) -> Recommendation:
    level = evidence.levels[0]
    first = level.standings[0]
    tried = len(rungs[0].scores)
    about = f"{tried} activations tried on {level.data}, {len(level.standings)} compared over {len(evidence.seeds)} seeds"
    column = next(i for i, s in enumerate(level.standings) if s.label == usual)
    against = level.versus[0][column]
    if against is not None and against.distinguishable:
        d = against.difference
        text = (
            f"Use {first.label}: {100 * d.mean:.1f} points of {level.metric} better than {usual} "
            f"(95 % interval {100 * d.low:.1f} to {100 * d.high:.1f}, p = {against.p:.2g}; {about}){notes}."
        )
        return Recommendation(text, first.label, True, rungs, evidence)
    tied = [s.label for s in level.standings if s.tied]
    text = (
        f"It does not matter here: {usual} is not distinguishable from the best of {about}{notes}; keep {usual}"
        f"{f', or take the cheapest of {_and(tied)}' if len(tied) > 2 else ''}."
    )
    return Recommendation(text, usual, False, rungs, evidence)


def _and(items: Sequence[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}"
