"""From outcomes to standings and the answer in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from softknee.compare.engine import Outcome
from softknee.compare.protocol import Run
from softknee.compare.records import Curve, Level, Standing, Versus
from softknee.compare.statistics import (
    ALPHA,
    Interval,
    Pair,
    compare_pairs,
    intervals,
    seeds_needed,
    smallest_p,
)

Outcomes = Mapping[Run, Outcome]


def judge(
    outcomes: Outcomes,
    labels: Sequence[str],
    depths: Sequence[int],
    rates: Sequence[float],
    seeds: Sequence[int],
) -> tuple[Level, ...]:
    """Standings and pairs at every depth, all pairs of all depths in one family of tests."""
    chosen = {
        (label, depth): [
            chosen_run(outcomes, [Run(label, depth, rate, seed) for rate in rates]) for seed in seeds
        ]
        for depth in depths
        for label in labels
    }
    groups = [
        np.array([[outcomes[run].test_accuracy for run in chosen[label, depth]] for label in labels]).T
        for depth in depths
    ]
    levels = []
    for depth, scores, pairs in zip(depths, groups, compare_pairs(groups), strict=True):
        ranking = np.argsort(-scores.mean(0), kind="stable")
        versus = _matrix(pairs, len(labels))
        best = int(ranking[0])
        accuracy = intervals(scores)
        target = 0.95 * max(
            np.median([outcomes[run].validation_accuracy for run in chosen[label, depth]]) for label in labels
        )
        standings = tuple(
            _standing(outcomes, chosen[labels[i], depth], rates, target, accuracy[i], versus[best][i])
            for i in ranking
        )
        levels.append(
            Level(
                depth, float(target), standings, tuple(tuple(versus[i][j] for j in ranking) for i in ranking)
            )
        )
    return tuple(levels)


def chosen_run(outcomes: Outcomes, candidates: Sequence[Run]) -> Run:
    """The seed's learning rate: highest validation accuracy, then lowest validation loss, then lowest rate."""

    def merit(run: Run) -> tuple[float, float, float]:
        outcome = outcomes[run]
        loss = outcome.validation_loss[-1]
        return (-outcome.validation_accuracy, loss if np.isfinite(loss) else np.inf, run.learning_rate)

    return min(candidates, key=merit)


def _matrix(pairs: Sequence[Pair], count: int) -> list[list[Versus | None]]:
    matrix: list[list[Versus | None]] = [[None] * count for _ in range(count)]
    for pair in pairs:
        d = pair.difference
        matrix[pair.a][pair.b] = Versus(d, pair.p, pair.wins, pair.distinguishable)
        turned = Interval(-d.mean, -d.high, -d.low)
        matrix[pair.b][pair.a] = Versus(turned, pair.p, 1 - pair.wins, pair.distinguishable)
    return matrix


def _standing(
    outcomes: Outcomes,
    runs: Sequence[Run],
    rates: Sequence[float],
    target: float,
    accuracy: Interval,
    behind: Versus | None,
) -> Standing:
    found = [outcomes[run] for run in runs]
    label, depth = runs[0].activation, runs[0].depth
    train = float(np.mean([o.train_accuracy for o in found]))
    seconds = [o.step_seconds for o in found]
    by_rate = {
        rate: np.mean([outcomes[Run(label, depth, rate, run.seed)].validation_accuracy for run in runs])
        for rate in rates
    }
    return Standing(
        label=label,
        accuracy=accuracy,
        scores=tuple(o.test_accuracy for o in found),
        train_accuracy=train,
        gap=train - accuracy.mean,
        behind=behind,
        rates=tuple(run.learning_rate for run in runs),
        by_rate=tuple((rate, float(value)) for rate, value in by_rate.items()),
        train_loss=_curve([o.train_loss for o in found]),
        validation_loss=_curve([o.validation_loss for o in found]),
        validation_accuracy=_curve([o.validation_curve for o in found]),
        epochs_to_target=_epochs([o.validation_curve for o in found], target),
        step_seconds=(float(np.median(seconds)), min(seconds), max(seconds)),
        together=min(o.together for o in found),
        dead=tuple(np.mean([o.dead for o in found], 0).tolist()),
        saturated=tuple(np.mean([o.saturated for o in found], 0).tolist()),
        failures=tuple((run.seed, o.failure) for run, o in zip(runs, found, strict=True) if o.failure),
    )


def _curve(curves: Sequence[Sequence[float]]) -> Curve:
    """Median and quartiles; a loss that is not finite counts as infinitely large."""
    values = np.nan_to_num(np.array(curves), nan=np.inf, posinf=np.inf)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0, method="inverted_cdf")
    return Curve(*(tuple(line.tolist()) for line in (middle, low, high)))


def _epochs(curves: Sequence[Sequence[float]], target: float) -> float | None:
    """The median number of epochs until the target is reached."""
    reached = [next((i + 1 for i, v in enumerate(curve) if v >= target), np.inf) for curve in curves]
    middle = float(np.median(reached))
    return middle if np.isfinite(middle) else None


def answer(name: str, levels: Sequence[Level], seeds: int) -> str:
    """The whole comparison in one sentence."""
    count = len(levels[0].standings)
    if count == 1:
        spread = _and([f"{_percent(v.standings[0].accuracy.mean)} with {_layers(v.depth)}" for v in levels])
        return f"On {name}, {levels[0].standings[0].label} reaches {spread}; name a second activation to compare."
    if smallest_p(seeds) > ALPHA:
        return (
            f"On {name}, {seeds} seed{'s' * (seeds > 1)} cannot show a difference between the {count} activations "
            f"(the smallest p attainable is {_p(smallest_p(seeds))}): use at least {seeds_needed()} seeds."
        )
    same = [level for level in levels if not level.differences]
    other = [level for level in levels if level.differences]
    parts = []
    if same:
        means = [s.accuracy.mean for level in same for s in level.standings]
        parts.append(
            f"with {_layers(*(v.depth for v in same))} the {count} activations are not distinguishable "
            f"(means {_percent(min(means), '')} to {_percent(max(means))})"
        )
    parts += [_difference(level) for level in other]
    return f"On {name} over {seeds} seeds, {'; '.join(parts)}."


def _difference(level: Level) -> str:
    best, *others = level.standings
    lead = f"with {_layers(level.depth)} {best.label} has the highest mean ({_percent(best.accuracy.mean)})"
    tied = [s.label for s in others if s.tied]
    worse = [s for s in reversed(others) if not s.tied]
    if tied:
        names = _and(tied) if len(tied) <= 3 else f"{len(tied)} others"
        lead += f", not distinguishable from {names}"
    if not worse:
        return f"{lead}, though {level.differences} of {level.pairs} pairs differ"
    losses = [s.behind.difference.mean for s in worse if s.behind]
    p = max(s.behind.p for s in worse if s.behind)
    if len(worse) <= 3:
        losers = f"{_and([s.label for s in worse])} lose{'s' * (len(worse) == 1)} "
        return f"{lead}, while {losers}{_and([_points(x) for x in losses])} points (p {'≤' * (len(worse) > 1) or '='} {_p(p)})"
    return (
        f"{lead}, while {len(worse)} lose {_points(min(losses))} to {_points(max(losses))} points, "
        f"{worse[0].label} the most (p ≤ {_p(p)})"
    )


def _layers(*depths: int) -> str:
    return f"{_and([str(d) for d in depths])} hidden layer{'s' * (depths != (1,))}"


def _and(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _percent(share: float, unit: str = " %") -> str:
    return f"{100 * share:.1f}{unit}"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _p(p: float) -> str:
    """Two significant digits."""
    return f"{p:.2g}"
