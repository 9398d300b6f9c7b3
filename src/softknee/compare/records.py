"""What a comparison found: plain values, complete enough that drawing them needs no computing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from softknee.compare import protocol
from softknee.compare.engine import Failure
from softknee.compare.statistics import Interval


@dataclass(frozen=True)
class Curve:
    """One value an epoch: the median over seeds and the quartiles around it."""

    middle: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Versus:
    """One contestant against another: mean difference in score with its interval, corrected p, share of seeds won
    (ties half), and whether the difference is claimed."""

    difference: Interval
    p: float
    wins: float
    distinguishable: bool


@dataclass(frozen=True)
class Standing:
    """One activation in one condition, over all seeds, each seed with the learning rate its validation data chose."""

    label: str
    score: Interval  # on the test data, a share
    scores: tuple[float, ...]  # the same, seed by seed
    train_score: float
    train_scores: tuple[float, ...]
    gap: float  # train minus test score
    test_loss: float
    behind: Versus | None  # the best against this one; None for the best itself
    rates: tuple[float, ...]  # the learning rate chosen, seed by seed
    by_rate: tuple[tuple[float, float], ...]  # (learning rate, mean validation score)
    train_loss: Curve
    validation_loss: Curve
    validation_score: Curve
    epochs_to_target: float | None  # median over seeds until the level's target; None: not reached by most
    best_epochs: tuple[int, ...]  # whose weights were tested, seed by seed
    step_seconds: tuple[float, float, float]  # median, least and most over the runs
    saved: int  # bytes a step of one run keeps for its backward pass
    peak: int  # bytes it holds at its peak, its share of the batch
    together: int  # how many runs were trained as one batch when the time was taken
    dead: tuple[float, ...]  # by hidden layer
    saturated: tuple[float, ...]
    learned: Mapping[str, tuple[Curve, ...]]  # of each learned parameter: layer by layer, from the start on
    failures: tuple[tuple[int, Failure], ...]  # (seed, what)

    @property
    def tied(self) -> bool:
        """Not distinguishable from the best (which is tied with itself)."""
        return self.behind is None or not self.behind.distinguishable


@dataclass(frozen=True)
class Level:
    """All activations in one condition, the highest mean first."""

    data: str
    title: str  # what tells it from the other levels: "12 hidden layers, noise 0.5"
    metric: str  # what the score is: accuracy, R², F1
    protocol: protocol.Protocol
    varies: Mapping[str, Any]  # the settings that differ between levels
    guess: float  # the score of guessing
    target: float  # 95 % of the way from guessing to the best final median validation score
    standings: tuple[Standing, ...]
    versus: tuple[tuple[Versus | None, ...], ...]  # row against column, in the order of the standings

    @property
    def depth(self) -> int:
        return self.protocol.depth

    @property
    def differences(self) -> int:
        """How many of the pairs differ."""
        return sum(v is not None and v.distinguishable for row in self.versus for v in row) // 2

    @property
    def pairs(self) -> int:
        return len(self.standings) * (len(self.standings) - 1) // 2

    @property
    def common_rates(self) -> tuple[float, ...]:
        """The learning rates, where there are several and every activation was given the same ones."""
        every = {tuple(rate for rate, _ in s.by_rate) for s in self.standings}
        rates = every.pop()
        return rates if not every and len(rates) > 1 else ()

    def of(self, label: str) -> Standing:
        return next(s for s in self.standings if s.label == label)


@dataclass(frozen=True)
class DataSummary:
    """A task in numbers; `split` is (training, validation, test) samples of every seed."""

    name: str
    kind: str
    samples: int
    features: int
    classes: int
    majority: float
    digest: str
    split: tuple[int, int, int]


@dataclass(frozen=True)
class Ranks:
    """The activations over several data sets (Demšar 2006, Journal of Machine Learning Research 7): mean ranks,
    Friedman's p, and the difference that is critical for Nemenyi's test at 5 %."""

    sets: tuple[str, ...]
    mean: tuple[tuple[str, float], ...]  # (label, mean rank), the best first
    p: float
    critical: float


class Drawing(Protocol):
    """What `softknee.show.comparison` offers; it registers itself, so that records import nothing of it."""

    def text(self, comparison: Comparison, /) -> str: ...
    def html(self, comparison: Comparison, /) -> str: ...
    def fragment(self, comparison: Comparison, /) -> str: ...


@dataclass(frozen=True)
class Comparison:
    """The result of `softknee.compare(...)`; it shows itself in a notebook, in text and as one HTML file."""

    drawing: ClassVar[Drawing | None] = None

    answer: str
    levels: tuple[Level, ...]
    data: tuple[DataSummary, ...]
    ranks: Ranks | None  # with several data sets
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    smallest_p: float
    seeds_needed: int
    command: str
    call: str
    environment: dict[str, str]
    gains: dict[str, float]
    trained: int
    found: int
    seconds: float
    folder: str | None
    notes: tuple[str, ...] = ()
    before: tuple[str, ...] = ()  # how its activations were chosen, round by round

    @property
    def labels(self) -> tuple[str, ...]:
        """The activations in the order they were named."""
        return tuple(self.gains)

    @property
    def protocol(self) -> protocol.Protocol:
        """The first condition's; `levels[i].varies` says where the others differ."""
        return self.levels[0].protocol

    def table(self) -> str:
        """The rankings as plain text."""
        return self._drawing().text(self)

    def save_html(self, path: str | Path) -> Path:
        """Writes the report, one file that needs no other."""
        path = Path(path)
        path.write_text(self._drawing().html(self), encoding="utf-8")
        return path

    def save(self, folder: str | Path) -> Path:
        """Writes report.html, and beside it runs.csv (one row a seed), summary.json and table.tex."""
        from softknee.compare import export

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, write in (
            ("runs.csv", export.rows),
            ("summary.json", export.summary),
            ("table.tex", export.latex),
        ):
            (folder / name).write_text(write(self), encoding="utf-8")
        return self.save_html(folder / "report.html")

    def __str__(self) -> str:
        return f"{self.answer}\n\n{self.table()}" if self.drawing else self.answer

    def _repr_html_(self) -> str:
        return self._drawing().fragment(self)

    def _drawing(self) -> Drawing:
        if self.drawing is None:
            raise RuntimeError("nothing is there to draw with: import softknee.show.comparison first")
        return self.drawing
