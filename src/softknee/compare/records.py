"""What a comparison found: plain values, complete enough that drawing them needs no computing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

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
    """One contestant against another: mean difference in accuracy with its interval, corrected p, share of
    seeds won (ties half), and whether the difference is claimed."""

    difference: Interval
    p: float
    wins: float
    distinguishable: bool


@dataclass(frozen=True)
class Standing:
    """One activation at one depth, over all seeds, each seed with the learning rate its validation data chose."""

    label: str
    accuracy: Interval  # on the test data, a share
    scores: tuple[float, ...]  # the same, seed by seed
    train_accuracy: float
    gap: float  # train minus test accuracy
    behind: Versus | None  # the best against this one; None for the best itself
    rates: tuple[float, ...]  # the learning rate chosen, seed by seed
    by_rate: tuple[tuple[float, float], ...]  # (learning rate, mean validation accuracy)
    train_loss: Curve
    validation_loss: Curve
    validation_accuracy: Curve
    epochs_to_target: float | None  # median over seeds until the level's target; None: not reached by most
    step_seconds: tuple[float, float, float]  # median, least and most over the runs
    together: int  # how many runs were trained as one batch when the time was taken
    dead: tuple[float, ...]  # by hidden layer
    saturated: tuple[float, ...]
    failures: tuple[tuple[int, Failure], ...]  # (seed, what)

    @property
    def tied(self) -> bool:
        """Not distinguishable from the best (which is tied with itself)."""
        return self.behind is None or not self.behind.distinguishable


@dataclass(frozen=True)
class Level:
    """All activations at one depth, the highest mean first."""

    depth: int
    target: float  # 95 % of the best final median validation accuracy
    standings: tuple[Standing, ...]
    versus: tuple[tuple[Versus | None, ...], ...]  # row against column, in the order of the standings

    @property
    def differences(self) -> int:
        """How many of the pairs differ."""
        return sum(v is not None and v.distinguishable for row in self.versus for v in row) // 2

    @property
    def pairs(self) -> int:
        return len(self.standings) * (len(self.standings) - 1) // 2


@dataclass(frozen=True)
class DataSummary:
    """The task in numbers; `split` is (training, validation, test) samples of every seed."""

    name: str
    samples: int
    features: int
    classes: int
    majority: float
    digest: str
    split: tuple[int, int, int]


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
    data: DataSummary
    protocol: protocol.Protocol
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

    @property
    def labels(self) -> tuple[str, ...]:
        """The activations in the order they were named."""
        return tuple(self.gains)

    def table(self) -> str:
        """The rankings as plain text."""
        return self._drawing().text(self)

    def save_html(self, path: str | Path) -> Path:
        """Writes the report, one file that needs no other."""
        path = Path(path)
        path.write_text(self._drawing().html(self), encoding="utf-8")
        return path

    def __str__(self) -> str:
        return f"{self.answer}\n\n{self.table()}" if self.drawing else self.answer

    def _repr_html_(self) -> str:
        return self._drawing().fragment(self)

    def _drawing(self) -> Drawing:
        if self.drawing is None:
            raise RuntimeError("nothing is there to draw with: import softknee.show.comparison first")
        return self.drawing
