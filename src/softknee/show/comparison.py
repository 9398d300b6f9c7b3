"""Comparisons on the terminal, as plain text and as HTML; and the public `softknee.compare`, with a progress bar."""

from __future__ import annotations

import contextlib
import io
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.markup import escape
from rich.measure import Measurement
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from softknee.compare import advice, experiment
from softknee.compare.advice import Recommendation
from softknee.compare.data import FASHION, SOURCES
from softknee.compare.errors import CompareError
from softknee.compare.records import Comparison, DataSummary, Level, Standing
from softknee.compare.schedule import Progress
from softknee.show.comparison_html import fragment, html
from softknee.show.scale import Scale, scale_of

__all__ = ["bar", "compare", "fragment", "html", "render", "text"]

WIDTH = 100  # characters of a line of plain text


def compare(*args: Any, progress: bool | Callable[[Progress], None] = True, **settings: Any) -> Comparison:
    """`softknee.compare.experiment.compare` with a bar on the terminal (`progress=True`), none (False), or a
    function that gets the events."""
    if progress is True:
        with bar() as listener:
            return experiment.compare(*args, progress=listener, **settings)
    return experiment.compare(*args, **settings, **({"progress": progress} if progress else {}))


def recommend(
    *args: Any,
    progress: bool | Callable[[Progress], None] = True,
    epochs: Any = 15,
    seeds: Any = 10,
    **settings: Any,
) -> Recommendation:
    """`softknee.compare.recommend` with a bar on the terminal; epochs and seeds may be texts."""
    try:
        numbers = {"epochs": int(epochs), "seeds": int(seeds)}
    except (TypeError, ValueError):
        raise CompareError(
            f"recommend takes one number of epochs and of seeds, not {epochs} and {seeds}"
        ) from None
    if progress is True:
        with bar() as listener:
            return advice.recommend(*args, progress=listener, **numbers, **settings)
    return advice.recommend(*args, **numbers, **settings, **({"progress": progress} if progress else {}))


@contextlib.contextmanager
def bar(console: Console | None = None) -> Iterator[Callable[[Progress], None]]:
    """A progress bar with the time left, on standard error; notes are lines above it."""
    console = console or Console(stderr=True)
    if console.is_jupyter and find_spec("ipywidgets") is None:  # which rich's bar would need there
        with _line() as listen:
            yield listen
        return
    columns = (
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, expand=True, transient=True) as shown:
        task = shown.add_task("starting", total=None)

        def listen(event: Progress) -> None:
            if event.note:
                console.print(event.note, style="dim", highlight=False)
            shown.update(
                task, total=event.total, completed=event.done, description=escape(event.text) or "starting"
            )

        yield listen


@contextlib.contextmanager
def _line() -> Iterator[Callable[[Progress], None]]:
    """The same in one line of a notebook's output, which is empty in the end"""
    from IPython.display import display

    began = shown = time.monotonic()
    line = display({"text/plain": "starting"}, raw=True, display_id=True)

    def listen(event: Progress) -> None:
        nonlocal shown
        if event.note:
            display({"text/plain": event.note}, raw=True)
        now = time.monotonic()
        if event.note or now - shown > 0.2:
            shown, share = now, min(1.0, event.done / (event.total or 1))
            left = f", {(now - began) * (1 / share - 1):.0f} s left" if share else ""
            written = f"{event.text or 'starting'}: {share:.0%} after {now - began:.0f} s{left}"
            line.update({"text/plain": written}, raw=True)

    try:
        yield listen
    finally:
        line.update({"text/plain": ""}, raw=True)


def text(comparison: Comparison) -> str:
    """The rankings as plain text, 100 columns wide."""
    console = Console(file=io.StringIO(), width=WIDTH, no_color=True)
    for level in comparison.levels:
        console.print(_ranking(level))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()).strip("\n")  # type: ignore[attr-defined]


def render(comparison: Comparison | Recommendation) -> RenderableType:
    """What the terminal shows: what was done, the rankings, and the answer last, where the eye is."""
    if isinstance(comparison, Recommendation):
        return _answer(comparison.answer) if comparison.evidence is None else render(comparison.evidence)
    protocol = comparison.protocol
    rates = ", ".join(f"{rate:g}" for rate in comparison.learning_rates)
    did = " · ".join(
        [
            *(f"{data.name}: {described(data)}" for data in comparison.data),
            f"{len(comparison.seeds)} paired seeds",
            protocol.network_name + f", width {protocol.width}" * (not protocol.own),
            f"{protocol.epochs} epochs, {protocol.optimiser}, learning rate {rates}",
            f"{comparison.trained:,} runs trained, {comparison.found:,} found finished",
            f"{comparison.seconds:.0f} s",
        ]
    )
    parts: list[RenderableType] = [
        Padding(Text(line, style="dim"), (1, 1, 0, 1)) for line in (*comparison.before, did)
    ]
    parts += [Padding(_ranking(level), (1, 0, 0, 1)) for level in comparison.levels]
    parts.append(Padding(Text(_LEGEND, style="dim"), 1))
    parts += [Padding(_learning(level), (0, 0, 1, 1)) for level in comparison.levels]
    parts += [Padding(_wins(level), (0, 0, 1, 1)) for level in comparison.levels if len(level.standings) > 2]
    if more := "\n".join(_besides(comparison)):
        parts.append(Padding(Text(more, style="dim"), (0, 1, 1, 1)))
    parts += [Text(f" ! {note}", style="yellow") for note in comparison.notes]
    return Group(*parts, _answer(comparison.answer))


def _answer(text: str) -> RenderableType:
    return Panel(Text(text, style="bold"), title="Answer", title_align="left", padding=(0, 1))


def _besides(comparison: Comparison) -> Iterator[str]:
    """What the report draws and a terminal can say: ranks over data sets, learned parameters."""
    if ranks := comparison.ranks:
        means = ", ".join(f"{label} {rank:.2f}" for label, rank in ranks.mean)
        yield (
            f"mean ranks over {', '.join(ranks.sets)}: {means}; Friedman's p = {probability(ranks.p)}, ranks that "
            f"differ by less than {ranks.critical:.2f} are not distinguishable"
        )
    for level in comparison.levels:
        if len(level.standings[0].by_rate) > 1 and not level.common_rates:
            chosen = (f"{s.label} {max(sorted(set(s.rates)), key=s.rates.count):g}" for s in level.standings)
            yield f"learning rate that most seeds chose, {level.title}: {', '.join(chosen)}"
        for s in level.standings:
            for name, curves in s.learned.items():
                last = ", ".join(f"{curve.middle[-1]:.2f}" for curve in curves)
                yield f"learned {name} of {s.label}, {level.title}, layer by layer: {last}"


_COLUMN = {"R²": "R² %", "F1": "F1 %"}
_LEGEND = (
    "● mean over seeds, ━ its 95 % BCa interval, ◀ off the scale. behind: points of the test score behind the best; "
    "p: sign-flip test corrected for all pairs; gap: training minus test score; dead: share of units without "
    "slope; sat.: share of values with little slope; µs and MB: processor time and peak memory of one training step of "
    "one run."
)


def _ranking(level: Level) -> Table:
    scale = scale_of(level, seeds=False)
    verdict = f"{level.differences} of {level.pairs} pairs differ" if level.differences else "no pair differs"
    table = Table(
        title=f"{level.title}: {verdict}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
    )
    table.pad_edge, table.padding = False, (0, 0, 0, 0)
    table.add_column("activation", no_wrap=True)
    table.add_column(_COLUMN.get(level.metric, "test %"), justify="right", no_wrap=True)
    table.add_column(_Track(scale, None))
    failing = any(s.failures for s in level.standings)
    for name in ("behind", "p", "gap", "dead", "sat.", "µs", "MB", *["fail"] * failing):
        table.add_column(name, justify="right", no_wrap=True)
    for standing in level.standings:
        style = "" if standing.tied else "red"
        behind = standing.behind
        row: list[RenderableType] = [
            Text(_folded(standing.label), style="bold" if behind is None else style),
            f"{100 * standing.score.mean:.1f}",
            _Track(scale, standing),
            Text("best" if behind is None else f"{100 * behind.difference.mean:.1f}", style=style),
            Text("" if behind is None else probability(behind.p), style=style or "dim"),
            f"{100 * standing.gap:.1f}",
            f"{100 * _mean(standing.dead):.0f}%",
            f"{100 * _mean(standing.saturated):.0f}%",
            f"{1e6 * standing.step_seconds[0]:.0f}",
            f"{standing.peak / 1e6:.2f}" if standing.peak else "–",
        ]
        if failing:
            row.append(f"{len(standing.failures)}/{len(standing.scores)}" if standing.failures else "")
        table.add_row(*row)
    return table


def _wins(level: Level) -> RenderableType:
    """Who beats whom: a row against the columns, which are numbered like the rows."""
    title = f"{level.title}: the percent of seeds on which the row beats the column; bold: a real difference"
    table = Table(box=None, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    for number in range(1, len(level.standings) + 1):
        table.add_column(str(number), justify="right", header_style="dim", no_wrap=True)
    for number, (standing, row) in enumerate(zip(level.standings, level.versus, strict=True), 1):
        cells = [
            "" if v is None else Text(f"{100 * v.wins:.0f}", style="bold" if v.distinguishable else "dim")
            for v in row
        ]
        table.add_row(f"{number:>2} {_folded(standing.label)}", *cells)
    return Group(Text(title, style="dim"), table)


def _learning(level: Level) -> RenderableType:
    """The curves of learning, and what each learning rate led to."""
    curves = [s.validation_score.middle for s in level.standings]
    heights = [_height(v) for curve in curves for v in curve]
    rates = level.common_rates
    table = Table(box=None, show_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "", "first", "last", "to target", *(f"lr {rate:g}" for rate in rates)):
        table.add_column(name, justify="right" if name else "left", header_style="dim", no_wrap=not name)
    for s, curve in zip(level.standings, curves, strict=True):
        best = max(v for _, v in s.by_rate)
        table.add_row(
            _folded(s.label),
            Text(_bars(curve, min(heights), max(heights)), style="blue" if s.tied else "red"),
            f"{100 * curve[0]:.1f}",
            f"{100 * curve[-1]:.1f}",
            "–" if s.epochs_to_target is None else f"{s.epochs_to_target:g}",
            *(Text(f"{100 * v:.1f}", style="bold" if v == best else "dim") for _, v in s.by_rate if rates),
        )
    return Group(
        Text(
            f"{level.title}: validation {level.metric} by epoch, in percent, median over seeds", style="dim"
        ),
        table,
        Text(
            f"bars: on a logarithmic scale of what is missing to 100; to target: epochs until {100 * level.target:.1f}"
            + "; lr: the mean at each learning rate" * bool(rates),
            style="dim",
        ),
    )


_BARS = "▁▂▃▄▅▆▇█"


def _height(score: float) -> float:
    return -math.log10(max(1e-3, 1 - score))


def _bars(curve: Sequence[float], low: float, high: float, most: int = 24) -> str:
    """One for each value; of more than there is room for the last of each few."""
    count = min(most, len(curve))
    shown = [curve[(i + 1) * len(curve) // count - 1] for i in range(count)]
    steps = [(_height(v) - low) / max(1e-9, high - low) for v in shown]
    return "".join(_BARS[round((len(_BARS) - 1) * step)] for step in steps)


class _Track:
    """`  ━━━━●━━  `: interval and mean on the scale, as wide as there is room; without a standing, its two ends."""

    def __init__(self, scale: Scale, standing: Standing | None) -> None:
        self.scale, self.standing = scale, standing

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(10, 40).clamp(max_width=options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        width = min(40, options.max_width)
        if self.standing is None:
            low, high = f"{100 * self.scale.low:.4g}", f"{100 * self.scale.high:.4g}"
            yield Text(low + high.rjust(width - len(low)), style="dim", no_wrap=True)
            return
        score, style = self.standing.score, "blue" if self.standing.tied else "red"
        if score.mean < self.scale.low:
            yield Text(f"◀ {100 * score.mean:.1f}", style=style)
            return
        mean = self._cell(score.mean, width)
        low_cell, high_cell = (
            self._cell(v, width) if math.isfinite(v) else mean for v in (score.low, score.high)
        )
        line = [" "] * width
        line[low_cell : high_cell + 1] = "━" * (high_cell + 1 - low_cell)
        line[mean] = "●"
        yield Text("".join(line), style=style, no_wrap=True)

    def _cell(self, value: float, width: int) -> int:
        return round(self.scale.place(value) * (width - 1))


def sources() -> RenderableType:
    """The data sets that have a name."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for name in ("data", "what", "comes with", "licence"):
        table.add_column(
            name, no_wrap=name in ("data", "licence"), ratio=None if name in ("data", "licence") else 1
        )
    for name, source in SOURCES.items():
        comes_with = source.comes_with.partition(": ")[0]
        place = (
            Text(source.missing, style="yellow")
            if source.missing
            else Text(_PACKAGES.get(comes_with, comes_with))
        )
        table.add_row(Text(name, style="bold"), source.about, place, source.licence)
    more = (
        "Your own: a .csv or .parquet table (labels: the column y, target, label or class, else the last), an .npz "
        "file of x and y, a .txt file (the next character), idx files or a folder of them, or module:function, which "
        "returns inputs and targets, a Dataset or a DataLoader."
    )
    return Group(Padding(table, (1, 0, 0, 1)), Padding(Text(more, style="dim"), 1))


_PACKAGES = {"sklearn": "scikit-learn", FASHION: "Debian"}


def described(data: DataSummary) -> str:
    """A data set in numbers."""
    each = {
        "classification": "classes",
        "multilabel": "labels",
        "next_token": "tokens",
        "regression": "targets",
    }
    asked = f"{data.classes} {each[data.kind]}" if data.classes > 1 else "1 target"
    return f"{data.samples:,} samples, {data.features} features, {asked}"


def _folded(label: str, width: int = 16) -> str:
    """A long label in several lines, the first of them up to a bracket where that is soon enough."""
    if len(label) <= width:
        return label
    end = label.find("(") + 1
    end = end if 0 < end <= width else width
    return "\n".join([label[:end], *(label[i : i + width] for i in range(end, len(label), width))])


def probability(p: float) -> str:
    """Two digits: 0.002, 0.43, 1."""
    return f"{p:.2g}" if p < 0.1 else f"{p:.2f}".rstrip("0").rstrip(".")


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)


# What is drawn knows nothing of its drawing: here it is told.
Comparison.drawing = sys.modules[__name__]  # type: ignore[assignment]
sys.modules["softknee.compare"].front = compare  # type: ignore[attr-defined]
