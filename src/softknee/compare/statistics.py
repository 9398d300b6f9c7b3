"""Which differences between activations are real: paired, exact where possible, corrected for their number.

Scores come as a matrix (seeds, contestants); a row is one seed, the same split, initial numbers and order for all,
so the differences within a row are what is judged. Nothing is assumed normal.

- An interval is BCa bootstrap over seeds (Efron 1987, doi:10.1080/01621459.1987.10478410).
- A test flips signs: were two activations equally good, a seed's difference could as well have had the other sign.
  All 2^n joint flips are tried for up to 14 seeds, 9,999 drawn ones beyond. One flip turns a whole row, so the
  dependence between the pairs is kept, and the family-wise error over all pairs is controlled by the step-down
  max-T procedure (Westfall & Young 1993, Resampling-Based Multiple Testing, algorithm 2.8). Assumed: under the
  hypothesis a row of differences is jointly symmetric about 0.
- A difference is claimed only where the corrected p is at most ALPHA and the interval excludes 0.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]

ALPHA = 0.05
CONFIDENCE = 0.95
EXACT = 14  # seeds up to which all sign flips are enumerated
DRAWN = 9_999  # flips drawn beyond
RESAMPLES = 9_999
_TOGETHER = 4_000_000  # numbers at a time


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with its confidence interval."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Pair:
    """Contestants `a` and `b` (columns): the mean of a - b, the p of its sign-flip test corrected for all pairs
    tested together, the share of seeds on which a beats b (ties count half)."""

    a: int
    b: int
    difference: Interval
    p: float
    wins: float

    @property
    def distinguishable(self) -> bool:
        return self.p <= ALPHA and self.difference.excludes_zero


def intervals(samples: Scores, confidence: float = CONFIDENCE, seed: int = 0) -> list[Interval]:
    """The mean of every column with its BCa interval; nan bounds from a single row, the mean where nothing varies."""
    from scipy.stats import bootstrap

    samples = np.asarray(samples, np.float64)
    means = samples.mean(0)
    low = high = np.where(np.ptp(samples, axis=0) == 0, means, np.nan)
    varies = np.flatnonzero(np.isnan(low))
    if len(samples) == 1:
        low = high = np.full_like(means, np.nan)
    elif len(varies):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # columns that vary only in the last bit: nan bounds say so
            found = bootstrap(
                (samples[:, varies],),
                np.mean,
                axis=0,
                method="BCa",
                confidence_level=confidence,
                n_resamples=RESAMPLES,
                batch=max(1, 4_000_000 // samples[:, varies].size),
                random_state=np.random.default_rng(seed),  # scipy before 1.15 has no rng
            ).confidence_interval
        low, high = low.copy(), high.copy()
        low[varies], high[varies] = found.low, found.high
    return [Interval(*map(float, row)) for row in zip(means, low, high, strict=True)]


def flips(seeds: int, seed: int = 0) -> NDArray[np.float64]:
    """Joint sign flips (flips, seeds) of +-1, the identity first.

    The test's statistic is the same for a flip and its opposite: with all enumerated, one of each is enough.
    """
    if seeds <= EXACT:
        numbers = np.arange(2 ** (seeds - 1))[:, None]
        return 1.0 - 2.0 * (numbers >> np.arange(seeds) & 1)
    drawn = np.random.default_rng(seed).choice([-1.0, 1.0], (DRAWN, seeds))
    return np.vstack([np.ones(seeds), drawn])


def max_t(
    differences: Scores, signs: NDArray[np.float64], offset: NDArray[np.float64] | float = 0.0
) -> NDArray[np.float64]:
    """Step-down max-T p-values of the columns of paired differences (seeds, pairs), two-sided.

    The statistic is |mean d| / (rms d + offset). With offset 0 it is a monotone function of Student's |t|, and
    with few seeds its maximum over many pairs is large by chance, where some pair's spread is small by chance.
    The offset of `typical` takes that away (Tusher, Tibshirani & Chu 2001, doi:10.1073/pnas.091062498): in
    simulations with 12 contestants, 10 seeds and a true difference of 2 standard deviations it raises the power
    from 0.45 to 0.83. Flips leave both terms of the denominator alone, so the test is as exact as without it.
    A column of zeros has p = 1.
    """
    size = np.sqrt((differences**2).mean(0))
    scaled = differences / len(differences) / np.where(size > 0, size + offset, np.inf)
    found = np.abs(differences.mean(0)) / np.where(size > 0, size + offset, np.inf)
    order = np.argsort(-found, kind="stable")
    as_large = np.zeros(len(order))
    for some in np.array_split(signs, max(1, signs.shape[0] * len(order) // _TOGETHER)):
        # the largest statistic among a column and all that look less significant, flip by flip
        statistics = np.abs(some @ scaled[:, order[::-1]])
        largest = np.maximum.accumulate(statistics, axis=1)[:, ::-1]
        as_large += (largest >= found[order] - 1e-12).sum(0)
    corrected = np.empty(len(order))
    corrected[order] = np.maximum.accumulate(as_large / len(signs))
    return corrected


def typical(differences: Scores) -> NDArray[np.float64]:
    """The median root mean square of the columns, for each column: the group's usual difference of a seed."""
    return np.full(differences.shape[1], np.median(np.sqrt((differences**2).mean(0))))


def compare_pairs(groups: list[Scores], seed: int = 0) -> list[list[Pair]]:
    """All pairs within each group of contestants (seeds, contestants), corrected over all groups together.

    The groups (depths, data sets) share their seeds row by row.
    """
    indices = [[(a, b) for a in range(g.shape[1]) for b in range(a + 1, g.shape[1])] for g in groups]
    differences = [
        np.stack([g[:, a] - g[:, b] for a, b in ab], 1) for g, ab in zip(groups, indices, strict=True) if ab
    ]
    if not differences:
        return [[] for _ in groups]
    together = np.hstack(differences)
    p = max_t(together, flips(len(together), seed), np.concatenate([typical(d) for d in differences]))
    rows = zip(intervals(together, seed=seed), p, (np.sign(together) / 2 + 0.5).mean(0), strict=True)
    return [[Pair(a, b, *_plain(next(rows))) for a, b in ab] for ab in indices]


def _plain(row: tuple[Interval, float, float]) -> tuple[Interval, float, float]:
    return row[0], float(row[1]), float(row[2])


def smallest_p(seeds: int) -> float:
    """The smallest p that so many seeds can give: 2/2^n while all flips are tried, else one in those drawn."""
    return 2.0 ** (1 - seeds) if seeds <= EXACT else 1 / (DRAWN + 1)


def seeds_for(effect: float, alpha: float = ALPHA, power: float = 0.8) -> int:
    """About how many seeds show, with this power, a true difference of `effect` standard deviations of the paired
    differences: (z(1 - alpha/2) + z(power))^2 / effect^2 and two more for the estimated spread, without correction
    for several pairs; never fewer than can show anything."""
    from scipy.stats import norm

    wanted = ((norm.ppf(1 - alpha / 2) + norm.ppf(power)) / effect) ** 2 + 2
    return max(seeds_needed(alpha), math.ceil(wanted))


def seeds_needed(alpha: float = ALPHA) -> int:
    """The fewest seeds that can give p <= alpha at all."""
    return 1 + math.ceil(-math.log2(alpha))


def friedman(table: Scores) -> tuple[NDArray[np.float64], float]:
    """Mean ranks (1 the highest) of the contestants over blocks, (blocks, contestants), and Friedman's p in the F
    form of Iman & Davenport (1980)."""
    from scipy.stats import f, rankdata

    n, k = table.shape
    mean = rankdata(-table, axis=1).mean(0)
    square = 12 * n / (k * (k + 1)) * float((mean**2).sum() - k * (k + 1) ** 2 / 4)
    if n * (k - 1) - square < 1e-9:
        return mean, 0.0  # every block has the same order
    return mean, float(f.sf((n - 1) * square / (n * (k - 1) - square), k - 1, (k - 1) * (n - 1)))


def nemenyi(contestants: int, blocks: int, alpha: float = ALPHA) -> float:
    """The difference of mean ranks that is critical in Nemenyi's test of all pairs."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - alpha, contestants, np.inf)) / 2**0.5
    return q * (contestants * (contestants + 1) / (6 * blocks)) ** 0.5
