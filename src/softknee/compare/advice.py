"""Which activation for this task, within a budget of minutes: successive halving over the catalogue.

Rung by rung (Jamieson & Talwalkar 2016, arXiv 1502.07943), the contestants are trained with a growing number of
epochs on a few seeds, and the half with the higher validation scores goes on; what is left, with the usual choice
(`activations.OTHER`) to compare with, is compared on fresh seeds by the tests of `compare`. No test score takes part
in the choosing; but each seed splits the samples anew, so that a sample may choose in one seed and test in another.

The time for that last comparison, with all epochs, is set aside as soon as the first few have shown how long a run
takes; the rungs share the rest. The field is tried in its order until its share is spent: who is not reached is left
out, and the answer says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from softknee import catalogue
from softknee.compare.activations import DEFAULT, OTHER, activation, resolve
from softknee.compare.errors import CompareError
from softknee.compare.experiment import compare
from softknee.compare.records import Comparison
from softknee.compare.schedule import Listener, Progress
from softknee.compare.specification import parse, specifications
from softknee.compare.statistics import seeds_needed

_FINALISTS, _SCREENED = 4, 3  # activations in the last comparison; seeds in each rung before it
_SHARE = 0.6  # of the budget for the last comparison, at most
_RUNGS = ((1 / 8, 0.6), (1 / 4, 0.8), (1 / 2, 1.0))  # of the epochs; of the rungs' time, when each ends
_TOGETHER = 4  # activations tried between the first two looks at the clock


@dataclass(frozen=True)
class Rung:
    """One round: the epochs of each run, and the contestants with their mean validation scores, best first."""

    epochs: int
    scores: tuple[tuple[str, float], ...]
    kept: int


@dataclass(frozen=True)
class Recommendation:
    """The answer, how the field was narrowed, and the comparison it rests on, which says both, too."""

    answer: str
    activation: str
    matters: bool  # whether the recommended one is better than the usual choice, by test and interval
    rungs: tuple[Rung, ...]
    evidence: Comparison

    def __str__(self) -> str:
        return str(self.evidence)

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
    the budget, kept by trying fewer, by narrowing the field sooner, then by fewer epochs in the last comparison; a few
    are always tried, and the last comparison has one epoch at least.
    """
    if not 0 < minutes < math.inf:
        raise CompareError(f"minutes={minutes}: a positive number is needed")
    if settings.get("depth") is None and settings.get("network") in (None, "mlp"):
        settings["depth"] = 2
    start, budget = time.monotonic(), 60 * minutes
    field = candidates() if activations is None else [str(s) for s in specifications(activations)]
    usual = field[0] if OTHER not in field else OTHER
    if len(field) < 2:
        raise CompareError("one activation: there is nothing to choose from")
    seeds = max(seeds, seeds_needed())
    last_work = (min(_FINALISTS, len(field)) + 1) * seeds * epochs
    rungs: list[Rung] = []
    untried, second = 0, math.inf  # second: the time that an epoch of one seed takes, with all learning rates

    def spent() -> float:
        return time.monotonic() - start

    def tell(event: Progress) -> None:
        progress(Progress(min(spent(), budget), budget, event.text))

    def scores(some: Sequence[str], trained: int) -> dict[str, float]:
        nonlocal second
        begun, screened = spent(), range(1000, 1000 + _SCREENED)
        found = compare(data, some, seeds=screened, epochs=trained, progress=tell, **settings)
        if len(found.levels) > 1:
            raise CompareError("recommend takes one data set and one value of each setting")
        # the least of all: the first ones also compile their kernels, and few do not fill the cores
        second = min(second, _second(found, spent() - begun))
        return {s.label: s.validation_score.middle[-1] for s in found.levels[0].standings}

    for number, (share, end) in enumerate(_RUNGS):
        if rungs and len(field) <= _FINALISTS:
            break
        trained = max(1, round(share * epochs))
        note = f"round {number + 1}: {'up to ' * (not rungs)}{len(field)} activations, {trained} epoch{'s' * (trained > 1)}"
        progress(Progress(min(spent(), budget), budget, "", note))
        found: dict[str, float] = {}
        at, size = 0, _TOGETHER
        while at < len(field):
            some = [name for name in field[at : at + size] if rungs or activations or _trainable(name)]
            at += size
            if some:
                found |= scores(some, trained)
            for_rungs = budget - min(_SHARE * budget, second * last_work)
            left = end * for_rungs - spent()
            if left <= 0 and len(found) > _FINALISTS:
                break
            size = max(_TOGETHER, min(2 * size, int(left / (second * trained * _SCREENED))))
        if not rungs:
            untried = len(field) - at
        ordered = sorted(found, key=lambda label: -found[label])
        following, until = _RUNGS[min(number + 1, len(_RUNGS) - 1)]
        next_seconds = second * _SCREENED * max(1, round(following * epochs))  # of an activation
        affordable = int((until - end) * for_rungs / next_seconds)
        kept = min(len(ordered), max(_FINALISTS, min(math.ceil(len(ordered) / 2), affordable)))
        rungs.append(Rung(trained, tuple((label, found[label]) for label in ordered), kept))
        field = ordered[:kept]
    finalists = list(dict.fromkeys([usual, *field[:_FINALISTS]]))
    last = max(1, min(epochs, int((budget - spent()) / (second * len(finalists) * seeds))))
    notes = [f"the budget left {untried} untried"] * (untried > 0)
    if last < epochs:
        notes.append(f"the budget allowed {last} of {epochs} epochs: more minutes give a firmer answer")
    evidence = compare(data, finalists, seeds=seeds, epochs=last, progress=progress, **settings)
    return _judged(evidence, usual, tuple(rungs), f" ({'; '.join(notes)})" if notes else "")


def _second(found: Comparison, took: float) -> float:
    """The time that an epoch of one seed took, with all learning rates; where all of it was there, by its record."""
    epochs = len(found.seeds) * found.protocol.epochs
    if found.trained:
        share = found.trained / (found.trained + found.found)
        return took / (share * len(found.labels) * epochs)
    steps = math.ceil(found.data[0].split[0] / found.protocol.batch_size)
    standings = found.levels[0].standings
    return min(steps * len(s.by_rate) * s.step_seconds[0] for s in standings)


def candidates() -> list[str]:
    """The field: the pointwise activations of the catalogue that need no value from the caller; the usual ones first."""
    found = DEFAULT.split(",")
    for definition in catalogue.all_definitions():
        if definition.name in found or definition.family == "user" or definition.inputs != ("x",):
            continue
        try:
            resolve(parse(definition.name)[0])
        except CompareError:
            continue
        found.append(definition.name)
    return found


def _trainable(name: str) -> bool:
    """Whether a gradient gets through."""
    try:
        contestant = activation(parse(name)[0])
    except CompareError:
        return False
    return math.isfinite(contestant.gain)


def _judged(evidence: Comparison, usual: str, rungs: tuple[Rung, ...], notes: str) -> Recommendation:
    level = evidence.levels[0]
    first = level.standings[0]
    tried = len(rungs[0].scores)
    about = f"{tried} activations tried on {level.data}, {len(level.standings)} compared over {len(evidence.seeds)} seeds"
    column = next(i for i, s in enumerate(level.standings) if s.label == usual)
    against = level.versus[0][column]
    failed, runs = sum(len(s.failures) for s in level.standings), len(level.standings) * len(evidence.seeds)
    tied = [s.label for s in level.standings if s.tied]
    matters = against is not None and against.distinguishable
    if against is not None and matters:
        d = against.difference
        text = (
            f"Use {first.label}: {100 * d.mean:.1f} points of {level.metric} better than {usual} "
            f"(95 % interval {100 * d.low:.1f} to {100 * d.high:.1f}, p = {against.p:.2g}; {about}){notes}."
        )
    elif 2 * failed > runs:
        text = (
            f"Undecided: {failed} of the last {runs} runs learned nothing ({about}){notes}; more minutes, more epochs "
            "or other learning rates may tell."
        )
    else:
        text = (
            f"It does not matter here: {usual} is not distinguishable from the best of {about}{notes}; keep {usual}"
            f"{f', or take the cheapest of {_and(tied)}' if len(tied) > 2 else ''}."
        )
    return Recommendation(
        text,
        first.label if matters else usual,
        matters,
        rungs,
        replace(evidence, answer=text, before=_told(rungs)),
    )


def _told(rungs: Sequence[Rung]) -> tuple[str, ...]:
    return tuple(
        f"Round {i}: {len(rung.scores)} activations, {rung.epochs} epoch{'s' * (rung.epochs > 1)}, {_SCREENED} seeds; "
        f"the first {rung.kept}: {', '.join(label for label, _ in rung.scores[: rung.kept])}"
        for i, rung in enumerate(rungs, 1)
    )


def _and(items: Sequence[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}"
