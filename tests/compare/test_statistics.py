"""The statistics: exact where known, calibrated under the null, able to find what is there."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
from scipy import stats

from softknee.compare.statistics import (
    ALPHA,
    compare_pairs,
    flips,
    intervals,
    max_t,
    seeds_needed,
    smallest_p,
    typical,
)


def differences(scores: np.ndarray) -> np.ndarray:
    pairs = list(itertools.combinations(range(scores.shape[1]), 2))
    return np.stack([scores[:, a] - scores[:, b] for a, b in pairs], 1)


def p_values(scores: np.ndarray) -> np.ndarray:
    d = differences(scores)
    return max_t(d, flips(len(d)), typical(d))


# Exact values


@pytest.mark.parametrize("seeds", [2, 5, 8, 10])
def test_one_pair_has_the_exact_p_of_scipys_permutation_test(seeds: int) -> None:
    d = np.random.default_rng(seeds).normal(0.4, 1, seeds)
    expected = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert max_t(d[:, None], flips(seeds))[0] == pytest.approx(expected.pvalue, abs=1e-12)
    assert max_t(d[:, None], flips(seeds), 0.7)[0] == pytest.approx(expected.pvalue, abs=1e-12)


def test_the_smallest_p_is_reached_and_no_smaller_one() -> None:
    for seeds in range(2, 12):
        d = np.ones((seeds, 1))
        assert max_t(d, flips(seeds))[0] == smallest_p(seeds) == 2 / 2**seeds
    assert smallest_p(1) == 1.0
    assert smallest_p(30) == 1e-4


def test_the_seeds_needed() -> None:
    assert seeds_needed() == 6
    assert smallest_p(6) <= ALPHA < smallest_p(5)
    assert seeds_needed(0.01) == 8
    assert smallest_p(8) <= 0.01 < smallest_p(7)


def test_all_flips_are_there_once() -> None:
    found = flips(6)
    assert found[0].tolist() == [1] * 6
    both = np.vstack([found, -found])
    assert len(np.unique(both, axis=0)) == 2**6
    assert flips(20).shape == (10_000, 20)


def test_step_down_by_hand() -> None:
    """Two columns, three seeds, offset 0: the statistics under the four flips, by hand, are
    column 1: 1, 1/3, 1/3, 1/3; column 2, (3, 3, -3)/3 * ...: 1/3, 1/3, 1/3, 1 (the flip of its odd one)."""
    d = np.array([[1.0, 3.0], [1.0, 3.0], [1.0, -3.0]])
    assert max_t(d, flips(3)).tolist() == [2 / 4, 1.0]


def test_ties_among_everything() -> None:
    assert p_values(np.ones((8, 4))).tolist() == [1.0] * 6
    (pairs,) = compare_pairs([np.ones((8, 3))])
    assert all(not pair.distinguishable and pair.wins == 0.5 for pair in pairs)
    assert all(pair.difference.low == pair.difference.high == 0 for pair in pairs)


def test_interval_is_scipys_and_contains_the_mean() -> None:
    sample = np.random.default_rng(0).exponential(size=(12, 3))
    for column, interval in enumerate(intervals(sample)):
        expected = stats.bootstrap(
            (sample[:, column],),
            np.mean,
            method="BCa",
            n_resamples=50_000,
            random_state=np.random.default_rng(1),
        ).confidence_interval
        assert interval.mean == pytest.approx(sample[:, column].mean())
        assert interval.low < interval.mean < interval.high
        assert interval.low == pytest.approx(expected.low, abs=0.03)
        assert interval.high == pytest.approx(expected.high, abs=0.06)


def test_degenerate_samples() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        constant, varying = intervals(np.stack([np.full(9, 0.7), np.arange(9.0)], 1))
        (alone,) = intervals(np.array([[0.3]]))
    assert constant.low == constant.high == constant.mean == pytest.approx(0.7)
    assert varying.low < 4 < varying.high
    assert alone.mean == 0.3
    assert np.isnan(alone.low)
    assert not alone.excludes_zero


def test_the_interval_covers_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    found = intervals(random.normal(size=(20, 600)))
    covered = np.mean([i.low <= 0 <= i.high for i in found])
    assert 0.88 < covered < 0.98  # bootstrap intervals are a little short with 20 values


# Calibration and power


def noise(kind: str, random: np.random.Generator, seeds: int, count: int) -> np.ndarray:
    """Contestants that are equally good: a seed moves all, and each has its own noise."""
    shape = (seeds, count)
    common = random.normal(size=(seeds, 1))
    return (
        common
        + {
            "normal": lambda: random.normal(size=shape),
            "heavy": lambda: random.standard_t(2, size=shape),
            "skewed": lambda: random.exponential(size=shape),
            "rare failures": lambda: random.normal(size=shape) - 50 * (random.random(shape) < 0.05),
            "counts": lambda: random.binomial(36, 0.95, size=shape) / 36,
            "unequal": lambda: random.normal(size=shape) * np.linspace(0.2, 5, count),
        }[kind]()
    )


@pytest.mark.parametrize("kind", ["normal", "heavy", "skewed", "rare failures", "counts", "unequal"])
def test_under_the_null_the_family_wise_error_is_near_five_percent(kind: str) -> None:
    random, times = np.random.default_rng(11), 400
    wrong = sum(p_values(noise(kind, random, 8, 8)).min() <= ALPHA for _ in range(times))
    assert wrong / times <= 0.08  # 0.05 + 2.75 standard errors
    if kind in ("normal", "skewed"):
        assert wrong / times >= 0.02  # and not merely asleep


def test_errors_stay_rare_beside_a_true_difference() -> None:
    random, times, wrong = np.random.default_rng(12), 300, 0
    null = [i for i, (a, _) in enumerate(itertools.combinations(range(8), 2)) if a != 0]
    for _ in range(times):
        scores = noise("normal", random, 8, 8)
        scores[:, 0] = 4 * scores[:, 0] - 30  # one is far worse, and noisier
        wrong += (p_values(scores)[null] <= ALPHA).any()
    assert wrong / times <= 0.085


def test_planted_differences_are_found() -> None:
    random, times = np.random.default_rng(13), 60
    hits = np.zeros(3)
    pairs = list(itertools.combinations(range(12), 2))
    true = [i for i, (a, _) in enumerate(pairs) if a == 0]
    for _ in range(times):
        scores = noise("normal", random, 10, 12)
        scores[:, 0] -= 2.0
        d, signs = differences(scores), flips(10)
        hits += [
            (max_t(d, signs, typical(d))[true] <= ALPHA).mean(),
            (max_t(d, signs)[true] <= ALPHA).mean(),  # without the offset
            (stats.ttest_rel(scores[:, :1], scores[:, 1:]).pvalue * len(pairs) <= ALPHA).mean(),  # Bonferroni
        ]
    with_offset, without, bonferroni = hits / times
    assert with_offset > 0.7
    assert with_offset > without + 0.2
    assert with_offset > bonferroni + 0.2


def unpaired_p(scores: np.ndarray, random: np.random.Generator) -> float:
    """A planted fault: the smallest p of all pairs when the pairing of seeds is thrown away."""
    shuffled = np.stack([random.permutation(column) for column in scores.T], 1)
    return float(p_values(shuffled).min())


def test_a_test_that_forgets_the_pairing_would_be_noticed() -> None:
    random = np.random.default_rng(14)
    paired = unpaired = 0
    for _ in range(40):
        scores = noise("normal", random, 10, 4) + 10 * random.normal(size=(10, 1))  # seeds matter most
        scores[:, 0] -= 3
        paired += p_values(scores).min() <= ALPHA
        unpaired += unpaired_p(scores, random) <= ALPHA
    assert paired >= 36
    assert unpaired <= 8


def test_without_the_correction_the_calibration_would_be_noticed() -> None:
    random, times = np.random.default_rng(11), 100
    wrong = 0
    for _ in range(times):
        d = differences(noise("normal", random, 8, 8))
        wrong += min(max_t(d[:, [i]], flips(8))[0] for i in range(d.shape[1])) <= ALPHA
    assert wrong / times > 0.3


# Pairs


def test_pairs_carry_sign_share_and_verdict() -> None:
    base = np.random.default_rng(5).normal(size=(10, 1))
    scores = base + np.array([0.0, 1.0, 1.0]) + 0.05 * np.random.default_rng(6).normal(size=(10, 3))
    (pairs,) = compare_pairs([scores])
    assert [(pair.a, pair.b) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]
    first, _, last = pairs
    assert first.difference.mean == pytest.approx(-1, abs=0.1)
    assert first.wins == 0.0
    assert first.distinguishable
    assert not last.distinguishable


def test_all_groups_are_one_family() -> None:
    random = np.random.default_rng(8)
    one, two = random.normal(size=(8, 4)), random.normal(size=(8, 4))
    alone = [pair.p for pair in compare_pairs([one])[0]]
    together = [pair.p for pair in compare_pairs([one, two])[0]]
    assert all(b >= a for a, b in zip(alone, together, strict=True))
    assert sum(together) > sum(alone)


def test_one_contestant_has_no_pairs() -> None:
    assert compare_pairs([np.ones((5, 1)), np.ones((5, 1))]) == [[], []]
