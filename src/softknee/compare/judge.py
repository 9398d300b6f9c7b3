"""From outcomes to standings and the answer in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from softknee.compare.conditions import Condition
from softknee.compare.engine import Outcome
from softknee.compare.protocol import Run
from softknee.compare.records import Curve, Level, Ranks, Standing, Versus
from softknee.compare.statistics import (
    ALPHA,
    Interval,
    Pair,
    compare_pairs,
    friedman,
    intervals,
    nemenyi,
    seeds_needed,
    smallest_p,
)
from softknee.compare.tasks import SCORES

Outcomes = Mapping[Run, Outcome]


def judge(
    outcomes: Mapping[Condition, Outcomes],
    labels: Sequence[str],
    seeds: Sequence[int],
) -> tuple[Level, ...]:
    """Standings and pairs in every condition, all pairs of all conditions in one family of tests."""
    chosen = {
        condition: [
            [chosen_run(found, [Run(label, rate, seed) for rate in _rates(found, label)]) for seed in seeds]
            for label in labels
        ]
        for condition, found in outcomes.items()
    }
    groups = [
        np.array([[outcomes[condition][run].test_score for run in runs] for runs in of]).T
        for condition, of in chosen.items()
    ]
    levels = []
    for condition, scores, pairs in zip(chosen, groups, compare_pairs(groups), strict=True):
        levels.append(_level(condition, outcomes[condition], chosen[condition], scores, pairs))
    return tuple(levels)


def _level(
    condition: Condition,
    outcomes: Outcomes,
    chosen: Sequence[Sequence[Run]],
    scores: np.ndarray,
    pairs: Sequence[Pair],
) -> Level:
    task, protocol = condition.task, condition.protocol
    kind = "reconstruction" if protocol.network == "autoencoder" else task.kind
    guess = 0.0 if kind == "reconstruction" else task.majority
    ranking = np.argsort(-scores.mean(0), kind="stable")
    versus = _matrix(pairs, len(chosen))
    best = int(ranking[0])
    found = intervals(scores)
    highest = max(float(np.median([outcomes[run].validation_score for run in runs])) for runs in chosen)
    target = guess + 0.95 * (highest - guess)
    return Level(
        data=task.name,
        title=condition.title,
        metric=SCORES[kind],
        protocol=protocol,
        varies=condition.varies,
        guess=guess,
        target=target,
        standings=tuple(_standing(outcomes, chosen[i], target, found[i], versus[best][i]) for i in ranking),
        versus=tuple(tuple(versus[i][j] for j in ranking) for i in ranking),
    )


def _rates(outcomes: Outcomes, label: str) -> list[float]:
    """The learning rates that an activation was given."""
    return sorted({run.learning_rate for run in outcomes if run.activation == label})


def chosen_run(outcomes: Outcomes, candidates: Sequence[Run]) -> Run:
    """The seed's learning rate: highest validation score, then lowest validation loss, then lowest rate."""

    def merit(run: Run) -> tuple[float, float, float]:
        outcome = outcomes[run]
        loss = outcome.validation_loss[outcome.best_epoch]
        return (-outcome.validation_score, loss if np.isfinite(loss) else np.inf, run.learning_rate)

    return min(candidates, key=merit)


def ranks(levels: Sequence[Level]) -> Ranks | None:
    """Mean ranks over the data sets; each one's conditions and seeds are averaged first. At least two sets and
    three activations are needed."""
    sets = list(dict.fromkeys(level.data for level in levels))
    labels = sorted(s.label for s in levels[0].standings)
    if len(sets) < 2 or len(labels) < 3:
        return None
    table = np.array(
        [
            [
                np.mean([level.of(label).score.mean for level in levels if level.data == name])
                for label in labels
            ]
            for name in sets
        ]
    )
    mean, p = friedman(table)
    ordered = sorted(zip(labels, mean.tolist(), strict=True), key=lambda pair: pair[1])
    return Ranks(tuple(sets), tuple(ordered), p, nemenyi(len(labels), len(sets)))


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
    target: float,
    score: Interval,
    behind: Versus | None,
) -> Standing:
    found = [outcomes[run] for run in runs]
    label = runs[0].activation
    train = float(np.mean([o.train_score for o in found]))
    seconds = [o.step_seconds for o in found]
    by_rate = {
        rate: np.mean([outcomes[Run(label, rate, run.seed)].validation_score for run in runs])
        for rate in _rates(outcomes, label)
    }
    learned = {
        name: tuple(
            _curve([[values[layer] for values in o.learned[name]] for o in found])
            for layer in range(len(found[0].learned[name][0]))
        )
        for name in found[0].learned
    }
    return Standing(
        label=label,
        score=score,
        scores=tuple(o.test_score for o in found),
        train_score=train,
        train_scores=tuple(o.train_score for o in found),
        gap=train - score.mean,
        test_loss=float(np.mean([o.test_loss for o in found])),
        behind=behind,
        rates=tuple(run.learning_rate for run in runs),
        by_rate=tuple((rate, float(value)) for rate, value in by_rate.items()),
        train_loss=_curve([o.train_loss for o in found]),
        validation_loss=_curve([o.validation_loss for o in found]),
        validation_score=_curve([o.validation_curve for o in found]),
        epochs_to_target=_epochs([o.validation_curve for o in found], target),
        best_epochs=tuple(o.best_epoch for o in found),
        step_seconds=(float(np.median(seconds)), min(seconds), max(seconds)),
        saved=max(o.saved for o in found),
        peak=max(o.peak for o in found),
        together=min(o.together for o in found),
        dead=tuple(np.mean([o.dead for o in found], 0).tolist()),
        saturated=tuple(np.mean([o.saturated for o in found], 0).tolist()),
        learned=learned,
        failures=tuple((run.seed, o.failure) for run, o in zip(runs, found, strict=True) if o.failure),
    )


def _curve(curves: Sequence[Sequence[float]]) -> Curve:
    """Median and quartiles; a loss that is not finite counts as infinitely large, a run that ended early goes on
    with its last value."""
    longest = max(map(len, curves))
    full = [[*curve, *[curve[-1]] * (longest - len(curve))] for curve in curves]
    values = np.nan_to_num(np.array(full), nan=np.inf, posinf=np.inf)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75], axis=0, method="inverted_cdf")
    return Curve(*(tuple(line.tolist()) for line in (middle, low, high)))


def _epochs(curves: Sequence[Sequence[float]], target: float) -> float | None:
    """The median number of epochs until the target is reached."""
    reached = [next((i + 1 for i, v in enumerate(curve) if v >= target), np.inf) for curve in curves]
    middle = float(np.median(reached))
    return middle if np.isfinite(middle) else None


def answer(levels: Sequence[Level], seeds: int) -> str:
    """The whole comparison in one sentence."""
    names = list(dict.fromkeys(level.data for level in levels))
    name, several = _and(names), len(levels) > 1 or len(names) > 1
    count = len(levels[0].standings)
    if count == 1:
        reached = [
            f"{_percent(v.standings[0].score.mean)}{f' with {v.title}' if several else ''}" for v in levels
        ]
        return f"On {name}, {levels[0].standings[0].label} reaches {_and(reached)}; name a second activation to compare."
    if smallest_p(seeds) > ALPHA:
        return (
            f"On {name}, {seeds} seed{'s' * (seeds > 1)} cannot show a difference between the {count} activations "
            f"(the smallest p attainable is {_p(smallest_p(seeds))}): use at least {seeds_needed()} seeds."
        )
    if len(levels) > 4:
        return f"On {name} over {seeds} seeds, {_many(levels)}."
    same = [level for level in levels if not level.differences]
    parts = []
    if same:
        means = [s.score.mean for level in same for s in level.standings]
        where = f"with {_titles(same)} " if len(same) < len(levels) or len(levels) == 1 else ""
        anywhere = "" if where else f" in any of {len(levels)} conditions"
        parts.append(
            f"{where}the {count} activations are not distinguishable{anywhere} "
            f"(means {_percent(min(means), '')} to {_percent(max(means))})"
        )
    parts += [_difference(level) for level in levels if level.differences]
    return f"On {name} over {seeds} seeds, {'; '.join(parts)}."


def _many(levels: Sequence[Level]) -> str:
    """Many conditions: who always keeps up, and who falls back most."""
    labels = [s.label for s in levels[0].standings]
    always = [label for label in labels if all(level.of(label).tied for level in levels)]
    worst = max(
        (
            (s.behind.difference.mean, s.label, level.title)
            for level in levels
            for s in level.standings
            if s.behind
        ),
    )
    lead = (
        f"{_and(always) if len(always) <= 4 else f'{len(always)} of {len(labels)} activations'} "
        f"{'is' if len(always) == 1 else 'are'} never distinguishable from the best in {len(levels)} conditions"
        if always
        else f"no activation keeps up with the best in all {len(levels)} conditions"
    )
    if len(always) == len(labels):
        return f"none of the {len(labels)} activations falls behind the best by more than chance in any of {len(levels)} conditions"
    return f"{lead}; the largest loss is {worst[1]}'s with {worst[2]}, {_points(worst[0])} points"


def _difference(level: Level) -> str:
    best, *others = level.standings
    lead = f"with {level.title} {best.label} has the highest mean ({_percent(best.score.mean)})"
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


def _titles(levels: Sequence[Level]) -> str:
    """`2 and 12 hidden layers`, not `2 hidden layers and 12 hidden layers`."""
    titles = [level.title for level in levels]
    words = [title.split(" ", 1) for title in titles]
    if len(titles) > 1 and all(len(w) == 2 for w in words) and len({w[1].rstrip("s") for w in words}) == 1:
        return f"{_and([w[0] for w in words])} {words[-1][1]}"
    return _and(titles)


def _and(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _percent(share: float, unit: str = " %") -> str:
    return f"{100 * share:.1f}{unit}"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _p(p: float) -> str:
    """Two significant digits."""
    return f"{p:.2g}"


def groups(values: Sequence[tuple[str, float]], critical: float) -> list[tuple[int, int]]:
    """The largest stretches (first, last) of sorted (label, rank) that span less than the critical difference."""
    found: list[tuple[int, int]] = []
    for first in range(len(values)):
        last = max(i for i in range(first, len(values)) if values[i][1] - values[first][1] < critical)
        if last > first and not any(a <= first and last <= b for a, b in found):
            found.append((first, last))
    return found
