"""What a claim's script measures into: sentences, tables, figures, tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from softknee.claims.record import kind
from softknee.compare.statistics import Interval, Pair, flips, intervals, max_t, smallest_p, typical

__all__ = ["Evidence", "Tests", "overall"]

Numbers = Sequence[float] | np.ndarray


class Evidence:
    """A result in the making. Everything given is kept as plain numbers, so that it can be drawn again later."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.parts: list[list[str]] = []
        self.tables: list[dict[str, Any]] = []
        self.figures: list[dict[str, Any]] = []

    def say(self, text: str) -> None:
        """A sentence of the result, with its numbers and their units."""
        self.said.append(" ".join(text.split()))

    def part(self, statement: str, verdict: str) -> str:
        """The verdict on one of several statements."""
        kind(verdict)
        self.parts.append([statement, verdict])
        return verdict

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Numbers are shown to three digits; text as it is."""
        cells = [[c if isinstance(c, (str, int)) else float(c) for c in row] for row in rows]
        if any(len(row) != len(columns) for row in cells):
            raise ValueError(f"table {title!r}: every row needs {len(columns)} cells")
        self.tables.append({"title": title, "columns": list(columns), "rows": cells})

    def lines(
        self,
        title: str,
        x: Numbers,
        curves: Mapping[str, Any],
        x_label: str = "x",
        y_label: str = "",
        log: str = "",
    ) -> None:
        """Curves over x. A curve is its values, or a matrix (seeds, points): mean, and band from 10th to 90th
        percentile. `log`: the logarithmic axes, of "xy"."""
        series = []
        for label, values in curves.items():
            y = np.asarray(values, float)
            band = {}
            if y.ndim == 2:
                low, high = np.quantile(y, [0.1, 0.9], axis=0)
                y, band = y.mean(0), {"low": low.tolist(), "high": high.tolist()}
            series.append({"label": label, "y": y.tolist(), **band})
        self.figures.append(
            {"kind": "lines", "title": title, "x": np.asarray(x, float).tolist(), "series": series, "x_label": x_label,
             "y_label": y_label, "log": log}
        )  # fmt: skip

    def frames(
        self, title: str, x: Numbers, frames: Mapping[str, Mapping[str, Numbers]], x_label: str = "x"
    ) -> None:
        """A figure that moves: in each frame, which has a name, the same curves over x."""
        rows = [
            {"label": name, "series": [{"label": k, "y": np.asarray(y, float).tolist()} for k, y in curves.items()]}
            for name, curves in frames.items()
        ]  # fmt: skip
        self.figures.append(
            {"kind": "frames", "title": title, "x": np.asarray(x, float).tolist(), "frames": rows, "x_label": x_label}
        )  # fmt: skip

    def histogram(self, title: str, samples: Mapping[str, Numbers], x_label: str, bins: int = 60) -> None:
        """Densities of samples, on common bins that leave out the outermost 0.1 % on either side."""
        pooled = np.concatenate([np.asarray(v, float).ravel() for v in samples.values()])
        edges = np.linspace(*np.quantile(pooled, [0.001, 0.999]), bins + 1)
        curves = {k: np.histogram(np.asarray(v).ravel(), edges, density=True)[0] for k, v in samples.items()}
        self.lines(title, (edges[1:] + edges[:-1]) / 2, curves, x_label, "density")

    def bars(self, title: str, values: Mapping[str, float], x_label: str, log: str = "") -> None:
        """One number a label."""
        self._points(title, {k: Interval(v, v, v) for k, v in values.items()}, x_label, log)

    def tests(
        self,
        title: str | None,
        scores: Mapping[str, Numbers],
        against: str | None = None,
        unit: str = "%",
        scale: float = 100.0,
    ) -> Tests:
        """Paired scores, one a seed: means with 95 % BCa intervals, and every other one tested against `against` (the
        first) by sign flips, p corrected for their number by max-T. A table and a figure, unless the title is None."""
        labels = list(scores)
        against = against or labels[0]
        matrix = scale * np.array([np.asarray(scores[label], float) for label in labels]).T
        means = dict(zip(labels, intervals(matrix), strict=True))
        base = labels.index(against)
        others = [i for i in range(len(labels)) if i != base]
        differences = matrix[:, others] - matrix[:, [base]]
        p = max_t(differences, flips(len(matrix)), typical(differences))
        found = {}
        for i, interval, value, column in zip(others, intervals(differences), p, differences.T, strict=True):
            wins = float((np.sign(column) / 2 + 0.5).mean())
            found[labels[i]] = Pair(i, base, interval, float(value), wins)
        if title is None:
            return Tests(against, means, found)
        rows = [[label, _interval(means[label]), *_versus(found.get(label))] for label in labels]
        mean = f"mean, {unit} [95 %]" if unit else "mean [95 %]"
        columns = ["", mean, f"minus {against} [95 %]", "p", "better on"]
        self.table(
            f"{title}; {len(matrix)} paired seeds, smallest p attainable {smallest_p(len(matrix)):.2g}",
            columns,
            rows,
        )
        self._points(title, means, unit)
        return Tests(against, means, found)

    def beside(
        self, title: str, published: Mapping[str, float], tests: Tests, unit: str = "%", digits: int = 2
    ) -> None:
        """Published numbers beside the tests' own, each with its difference from what it was tested against."""
        base, rows = published[tests.against], []
        for label, value in published.items():
            pair = tests.pairs.get(label)
            theirs = [f"{value:.{digits}f}", f"{value - base:+.{digits}f}" if pair else ""]
            rows.append([label, *theirs, tests.mean(label), _interval(pair.difference, "+") if pair else ""])
        minus = f"minus {tests.against}"
        columns = ["", f"published, {unit}", minus, f"here, {unit} [95 %]", f"{minus} [95 %]"]
        self.table(title, columns, rows)

    def _points(self, title: str, points: Mapping[str, Interval], x_label: str, log: str = "") -> None:
        rows = [{"label": k, "mean": i.mean, "low": i.low, "high": i.high} for k, i in points.items()]
        self.figures.append({"kind": "points", "title": title, "rows": rows, "x_label": x_label, "log": log})


class Tests:
    """What the tests of one comparison say."""

    __test__ = False  # not for pytest

    def __init__(self, against: str, means: dict[str, Interval], pairs: dict[str, Pair]) -> None:
        self.against, self.means, self.pairs = against, means, pairs

    def __getitem__(self, label: str) -> str:
        """Is it "higher", "lower" or the "same"? Where interval and corrected p agree."""
        pair = self.pairs[label]
        return "same" if not pair.distinguishable else "higher" if pair.difference.mean > 0 else "lower"

    def verdict(self, label: str, claimed: str) -> str:
        """On the claim that it is "higher" or "lower"."""
        found = self[label]
        return "not distinguishable" if found == "same" else "holds" if found == claimed else "refuted"

    def mean(self, label: str) -> str:
        return _interval(self.means[label])

    def difference(self, label: str) -> str:
        """The difference with its interval and p, to be quoted."""
        pair = self.pairs[label]
        return f"{_interval(pair.difference, sign='+')}, p = {pair.p:.2g}"


def overall(verdicts: Iterable[str], condition: str) -> str:
    """One verdict out of several: theirs where they agree; where some hold, only if the condition is met; and else
    refuted if any is."""
    kinds = {kind(verdict) for verdict in verdicts}
    if len(kinds) == 1 and kinds != {"holds only if"}:
        return kinds.pop()
    if kinds & {"holds", "holds only if"}:
        return f"holds only if {condition}"
    return "refuted" if "refuted" in kinds else "not distinguishable"


def _versus(pair: Pair | None) -> list[str]:
    if pair is None:
        return ["", "", ""]
    return [_interval(pair.difference, "+"), f"{pair.p:.2g}", f"{pair.wins:.0%}".replace("%", " %")]


def _interval(i: Interval, sign: str = "") -> str:
    size = max(abs(i.mean), abs(i.high - i.low))
    digits = max(0, 2 - int(np.floor(np.log10(size)))) if 1e-12 < size < 1000 else 0
    if 1e-12 < i.high - i.low < 0.1:  # narrow, far from 0
        digits = max(digits, 1 + int(np.ceil(-np.log10(i.high - i.low))))
    return f"{i.mean:{sign}.{digits}f} [{i.low:{sign}.{digits}f}, {i.high:{sign}.{digits}f}]"
