"""Which activation for this task, within a budget of minutes: successive halving over the catalogue.

Rung by rung (Jamieson & Talwalkar 2016, arXiv 1502.07943), the contestants are trained with a growing number of
epochs on a few seeds, and the half with the higher validation scores goes on; what is left, with the usual choice
(`activations.OTHER`) to compare with, is compared on fresh seeds by the tests of `compare`. No test score takes part
in the choosing; but each seed splits the samples anew, so that a sample may choose in one seed and test in another.

The budget ends everything: what is being trained then stops after its current step. Nothing is judged that was not
trained to its end, and nothing is compared that was not trained alike: a rung ranks those whose runs are all finished
(the field is tried in its order, then in that of the rung before), the last comparison takes the seeds that are
finished for all. Estimates decide only how the time is shared out: how much of it is kept for the last comparison,
and how many epochs that has.
"""

from __future__ import annotations

import inspect
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from softknee import catalogue
from softknee.compare.activations import DEFAULT, OTHER, Activation, activation, resolve
from softknee.compare.errors import CompareError
from softknee.compare.experiment import Experiment, announcement, compare, versions, whole
from softknee.compare.protocol import Run
from softknee.compare.records import Comparison
from softknee.compare.schedule import Listener, Progress, Schedule
from softknee.compare.specification import parse, specifications
from softknee.compare.statistics import seeds_needed

_FINALISTS = 4  # activations in the last comparison, besides the usual one
_SCREENED = tuple(range(1000, 1003))  # the seeds of each rung before it
_SHARE = 0.6  # of the budget for the last comparison, at most
_PLANNED = 0.67  # of what is left for it is planned, so that it is seldom cut off
_RUNGS = ((1 / 8, 0.6), (1 / 4, 0.8), (1 / 2, 1.0))  # of the epochs; of the rungs' time, when each ends

_clock = time.monotonic


@dataclass(frozen=True)
class Rung:
    """One round: the epochs of each run, and the contestants with their mean validation scores, best first."""

    epochs: int
    scores: tuple[tuple[str, float], ...]
    kept: int


@dataclass(frozen=True)
class Recommendation:
    """The answer, how the field was narrowed, and the comparison it rests on, which says both, too; None where the
    budget ended before two activations had been trained."""

    answer: str
    activation: str
    matters: bool  # whether the recommended one is better than the usual choice, by test and interval
    rungs: tuple[Rung, ...]
    evidence: Comparison | None

    def __str__(self) -> str:
        return self.answer if self.evidence is None else str(self.evidence)

    def _repr_html_(self) -> str:
        return f"<p>{self.answer}</p>" if self.evidence is None else self.evidence._repr_html_()


def recommend(
    data: Any,
    activations: str | Sequence[str] | None = None,
    *,
    minutes: float = 10.0,
    epochs: int = 15,
    seeds: int = 10,
    progress: Listener = lambda event: None,
    began: float | None = None,
    **settings: Any,
) -> Recommendation:
    """The activation to use for a task.

    data, settings: as `compare` takes them, one value each. activations: the field; default: the catalogue's. minutes:
    the budget. It is kept whatever happens: by trying fewer, then by fewer epochs and seeds in the last comparison, and
    at its end by stopping; the answer follows from what is finished. With a store the same call goes on where this one
    stopped, and gives its answer again once all is finished; more minutes try more. began: when the budget began, by
    `time.monotonic()`; default: now.
    """
    began = _clock() if began is None else began
    if not 0 < minutes < math.inf:
        raise CompareError(f"minutes={minutes}: a positive number is needed")
    if settings.get("depth") is None and settings.get("network") in (None, "mlp"):
        settings["depth"] = 2
    epochs, seeds = whole("epochs", [epochs], 1)[0], max(whole("seeds", [seeds], 1)[0], seeds_needed())
    asked = inspect.signature(compare).bind(data, epochs=epochs, **settings)
    asked.apply_defaults()
    others = ("activations", "seeds", "progress")
    experiment = Experiment(**{name: value for name, value in asked.arguments.items() if name not in others})
    return _Tournament(experiment, activations, began, minutes, seeds, progress).result()


class _Stage:
    """A rung or the last comparison: contestants with the same seeds and epochs, and what is finished of them."""

    def __init__(self, experiment: Experiment, labels: Sequence[str], seeds: Sequence[int]) -> None:
        self.experiment, self.labels, self.seeds = experiment, list(labels), tuple(seeds)
        self.cell = experiment.cells[0]
        self.epochs = self.cell.protocol.epochs
        self._rounds: dict[str, list[tuple[float, ...]]] = {label: [] for label in labels}  # learning rates

    def train(
        self, schedule: Schedule, make: Callable[[str], Activation | None], over: Callable[[], bool],
        parts: Sequence[Sequence[int]],
    ) -> None:  # fmt: skip
        """All contestants with the first part of the seeds, then with the next, until it is over."""
        searching = self.experiment.search != "grid"
        size = _FINALISTS + 1 if searching else len(self.labels)
        for some in (self.labels[i : i + size] for i in range(0, len(self.labels), size)):
            if searching:  # it looks at what each of them has reached
                some = [label for label in some if make(label)]
            for rates in self.experiment.rounds(some, schedule.outcomes):
                for label in some:
                    self._rounds[label].append(tuple(rates[self.cell, label]))
                schedule.run(
                    (
                        batch
                        for part in parts
                        for label in some
                        if (contestant := make(label))
                        for batch in self.experiment.batches([contestant], part, 1, rates)
                    ),
                    over,
                )
                if over():
                    return

    def finished(self, schedule: Schedule) -> list[str]:
        """The contestants all of whose runs are there, in their order."""
        return [
            label
            for label in self.labels
            if sum(map(len, self._rounds[label])) == self.experiment.tries
            and all(run in schedule.outcomes[self.cell] for run in self._runs(label, None, self.seeds))
        ]

    def common(self, schedule: Schedule) -> tuple[int, tuple[int, ...]]:
        """The rounds of learning rates, and of the first of them the seeds, that are finished for all."""
        found = schedule.outcomes[self.cell]

        def there(rounds: int, seeds: Sequence[int]) -> bool:
            runs = [run for label in self.labels for run in self._runs(label, rounds, seeds)]
            return bool(runs) and all(run in found for run in runs)

        most = max(map(len, self._rounds.values()))
        whole = max((n for n in range(1, most + 1) if there(n, self.seeds)), default=0)
        return max(1, whole), tuple(seed for seed in self.seeds if there(max(1, whole), [seed]))

    def comparison(
        self, schedule: Schedule, made: dict[str, Activation | None], labels: Sequence[str], rounds: int | None,
        seeds: Sequence[int],
    ) -> Comparison:  # fmt: skip
        """The judgement on these alone."""
        contestants = [one for label in labels if (one := made[label])]
        found = schedule.outcomes[self.cell]
        runs = [run for label in labels for run in self._runs(label, rounds, seeds)]
        outcomes = {self.cell: {run: found[run] for run in runs}}
        return self.experiment.comparison(contestants, seeds, schedule, outcomes)

    def scores(self, schedule: Schedule, label: str) -> float:
        """Of a finished contestant: the mean over seeds of the validation score that chose the learning rate."""
        found, total = schedule.outcomes[self.cell], 0.0
        for seed in self.seeds:
            total += max(found[run].validation_score for run in self._runs(label, None, [seed]))
        return total / len(self.seeds)

    def _runs(self, label: str, rounds: int | None, seeds: Sequence[int]) -> Iterator[Run]:
        for rates in self._rounds[label][:rounds]:
            yield from (Run(label, rate, seed) for rate in rates for seed in seeds)


class _Plan:
    """What has been decided so far, kept in the store: the same call decides it alike."""

    def __init__(self, schedule: Schedule, *defines: Any) -> None:
        self._store = schedule.store
        self._name = [json.dumps([versions(), *defines])]
        state = self._store.state(self._name)
        self._kept: dict[str, Any] = {} if state is None else json.loads(state)

    def __getitem__(self, name: str) -> Any:
        return self._kept.get(name)

    def __setitem__(self, name: str, value: Any) -> None:
        if self._kept.get(name) != value:
            self._kept[name] = value
            self._store.keep(self._name, json.dumps(self._kept).encode())


class _Tournament:
    def __init__(
        self, experiment: Experiment, activations: str | Sequence[str] | None, began: float, minutes: float, seeds: int,
        progress: Listener,
    ) -> None:  # fmt: skip
        self._began, self._budget = began, 60 * minutes
        if len(experiment.cells) > 1:
            raise CompareError("recommend takes one data set and one value of each setting")
        self._experiment, self._seeds, self._progress = experiment, tuple(range(seeds)), progress
        self._epochs = experiment.cells[0].protocol.epochs
        self._catalogue = (
            activations is None
        )  # what cannot be trained is passed over; what was asked for is an error
        named = parse(",".join(candidates())) if activations is None else specifications(activations)
        self._field = list(dict.fromkeys(resolve(one)[1] for one in named))
        if len(self._field) < 2:
            raise CompareError("one activation: there is nothing to choose from")
        self._usual = OTHER if OTHER in self._field else self._field[0]
        self._made: dict[str, Activation | None] = {}
        self._rungs: list[Rung] = []
        self._untried = 0
        self._pace = 0.0  # seconds that an epoch of a run takes; 0: nothing was trained yet

    def result(self) -> Recommendation:
        cell = self._experiment.cells[0]
        search = self._experiment.search, self._experiment.tries, self._experiment.rates
        defines = self._budget, self._seeds, self._field, cell.task.digest, asdict(cell.protocol), search
        with self._experiment.open(self._tell) as schedule:
            plan = _Plan(schedule, *defines)
            stage = self._screen(schedule, plan)
            if stage is None:
                return self._undecided("to train two activations", None)
            finalists = list(dict.fromkeys([self._usual, *self._field[:_FINALISTS]]))
            runs = len(finalists) * len(self._seeds) * self._experiment.tries
            if plan["epochs"] is None:
                left = max(0.0, self._budget - self._spent())
                planned = int(_PLANNED * left / (self._pace * runs)) if self._pace else self._epochs
                plan["epochs"] = max(1, min(self._epochs, planned))
            last = _Stage(self._experiment.with_epochs(plan["epochs"]), finalists, self._seeds)
            schedule.tell("", f"last: {_and(finalists)}, {_count(last.epochs, 'epoch')}, {runs} runs")
            schedule.tell("", announcement(len(self._seeds), len(finalists)))
            at_once = 1 if self._experiment.own else seeds_needed()  # one's own are trained one run at a time
            parts = [self._seeds[i : i + at_once] for i in range(0, len(self._seeds), at_once)]
            last.train(schedule, self._contestant, self._over, parts)
            rounds, seeds = last.common(schedule)
            if seeds:
                return self._judged(last.comparison(schedule, self._made, finalists, rounds, seeds))
            evidence = stage.comparison(schedule, self._made, stage.finished(schedule), None, stage.seeds)
            return self._undecided("for the last comparison, so this is the last round", evidence)

    def _spent(self) -> float:
        return _clock() - self._began

    def _over(self) -> bool:
        return self._spent() >= self._budget

    def _tell(self, event: Progress) -> None:
        self._progress(Progress(min(self._spent(), self._budget), self._budget, event.text, event.note))

    def _contestant(self, label: str) -> Activation | None:
        """Made when its turn comes: its kernels are compiled. None: it cannot be trained."""
        if label not in self._made:
            try:
                made: Activation | None = activation(parse(label)[0])
            except CompareError:
                if not self._catalogue:
                    raise
                made = None
            self._made[label] = made
        return self._made[label]

    def _screen(self, schedule: Schedule, plan: _Plan) -> _Stage | None:
        """The rungs, which leave the best of the field in `_field`; the last one that ranked two or more."""
        ranked = None
        for number, (share, end) in enumerate(_RUNGS):
            if number and len(self._field) <= _FINALISTS:
                break
            epochs, before = max(1, round(share * self._epochs)), len(self._field)
            many = f"{'up to ' * (number == 0)}{before} activations"
            schedule.tell("", f"round {number + 1}: {many}, {_count(epochs, 'epoch')}")
            decided = plan[f"round {number + 1}"]
            field = self._field if decided is None else decided["labels"]
            stage = _Stage(self._experiment.with_epochs(epochs), field, _SCREENED)
            stage.train(schedule, self._contestant, self._ends(stage, schedule, end, decided), [_SCREENED])
            labels = stage.finished(schedule)
            if number == 0:
                passed = sum(one is None for one in self._made.values())
                self._untried = decided["untried"] if decided else before - len(labels) - passed
            if not self._over():
                plan[f"round {number + 1}"] = {"labels": labels, "untried": self._untried}
            if len(labels) < 2:
                break
            ranked = stage
            scores = {label: stage.scores(schedule, label) for label in labels}
            ordered = sorted(labels, key=lambda label: -scores[label])
            kept = min(len(ordered), max(_FINALISTS, math.ceil(len(ordered) / 2)))
            self._rungs.append(Rung(epochs, tuple((label, scores[label]) for label in ordered), kept))
            self._field = ordered[:kept]
        return ranked

    def _ends(self, stage: _Stage, schedule: Schedule, end: float, decided: Any) -> Callable[[], bool]:
        """Whether a rung's time is up: then, but not before a few are finished, which the last comparison needs."""
        before, counted = self._pace, [(self._spent(), schedule.trained)]
        runs = (min(_FINALISTS, len(self._field)) + 1) * len(self._seeds) * self._experiment.tries
        fewest = min(_FINALISTS, len(stage.labels))

        def over() -> bool:
            if self._over() or decided is not None:
                return self._over()
            if schedule.trained > counted[-1][1]:
                counted.append((self._spent(), schedule.trained))
                since, there = counted[min(1, len(counted) - 2)]  # the first ones also start the workers
                self._pace = (self._spent() - since) / ((schedule.trained - there) * stage.epochs)
            pace = self._pace or before
            kept = min(_SHARE * self._budget, pace * runs * self._epochs) if pace else _SHARE * self._budget
            return self._spent() >= end * (self._budget - kept) and len(stage.finished(schedule)) >= fewest

        return over

    def _undecided(self, what: str, evidence: Comparison | None) -> Recommendation:
        minutes = self._budget / 60
        text = f"Undecided: {minutes:g} minute{'s were' if minutes != 1 else ' was'} not enough {what}; give it more."
        return self._recommendation(text, self._usual, False, evidence)

    def _judged(self, evidence: Comparison) -> Recommendation:
        level, seeds, epochs = evidence.levels[0], len(evidence.seeds), evidence.protocol.epochs
        first = level.standings[0]
        notes = [f"the budget left {self._untried} untried"] * (self._untried > 0)
        if epochs < self._epochs:
            notes.append(
                f"the budget allowed {epochs} of {self._epochs} epochs: more minutes give a firmer answer"
            )
        if seeds < len(self._seeds):
            notes.append(f"the budget allowed {seeds} of {len(self._seeds)} seeds")
        more = f" ({'; '.join(notes)})" if notes else ""
        about = (
            f"{len(self._rungs[0].scores)} activations tried on {level.data}, {len(level.standings)} compared over "
            f"{seeds} seed{'s' * (seeds > 1)}"
        )
        column = next(i for i, s in enumerate(level.standings) if s.label == self._usual)
        against = level.versus[0][column]
        failed, runs = sum(len(s.failures) for s in level.standings), len(level.standings) * seeds
        tied = [s.label for s in level.standings if s.tied]
        matters = against is not None and against.distinguishable
        if against is not None and matters:
            d = against.difference
            early = f", as far as {_count(epochs, 'epoch')} can tell" * (2 * epochs < self._epochs)
            text = (
                f"Use {first.label}{early}: {100 * d.mean:.1f} points of {level.metric} better than {self._usual} "
                f"(95 % interval {100 * d.low:.1f} to {100 * d.high:.1f}, p = {against.p:.2g}; {about}){more}."
            )
        elif 2 * failed > runs:
            text = (
                f"Undecided: {failed} of the last {runs} runs learned nothing ({about}){more}; more minutes, more "
                "epochs or other learning rates may tell."
            )
        elif seeds < seeds_needed():
            text = f"Undecided: {seeds_needed()} seeds are the fewest that can show a difference ({about}){more}."
        elif 2 * epochs < self._epochs:
            text = (
                f"Undecided: so early {self._usual} is not distinguishable from the best of {about}{more}; keep "
                f"{self._usual} until then."
            )
        else:
            text = (
                f"It does not matter here: {self._usual} is not distinguishable from the best of {about}{more}; keep "
                f"{self._usual}{f', or take the cheapest of {_and(tied)}' if len(tied) > 2 else ''}."
            )
        return self._recommendation(text, first.label if matters else self._usual, matters, evidence)

    def _recommendation(
        self, text: str, label: str, matters: bool, evidence: Comparison | None
    ) -> Recommendation:
        if evidence is not None:
            evidence = replace(evidence, answer=text, before=_told(self._rungs))
        return Recommendation(text, label, matters, tuple(self._rungs), evidence)


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


def _told(rungs: Sequence[Rung]) -> tuple[str, ...]:
    told, left = [], None
    for number, rung in enumerate(rungs, 1):
        reached = f" of {left}" * (left is not None and left > len(rung.scores))
        told.append(
            f"Round {number}: {len(rung.scores)}{reached} activations, {_count(rung.epochs, 'epoch')}, {len(_SCREENED)} "
            f"seeds; the first {rung.kept}: {', '.join(label for label, _ in rung.scores[: rung.kept])}"
        )
        left = rung.kept
    return tuple(told)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _and(items: Sequence[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}"
