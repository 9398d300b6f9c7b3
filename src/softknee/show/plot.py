"""Pictures of functions and their derivatives, for papers and slides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from softknee.analysis import Facts, Function, facts, function_of
from softknee.catalogue import Definition
from softknee.show.window import samples, x_window, y_window
from softknee.show.words import signature

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SIZES", "STYLES", "Curve", "curve", "figure", "save"]


End = tuple[float, str, str]  # height at the right edge, label, colour


@dataclass(frozen=True)
class Style:
    """Colours. The curves' are Okabe and Ito's, in an order in which neighbours differ most."""

    paper: str
    ink: str
    faint: str
    curves: tuple[str, ...]


STYLES = {
    "light": Style(
        "white",
        "#222222",
        "#dddddd",
        ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"),
    ),
    "dark": Style(
        "#16181d",
        "#e8e8e8",
        "#3a3d44",
        ("#56B4E9", "#E69F00", "#2DC48D", "#CC79A7", "#F0E442", "#FF8A4C", "#FFFFFF"),
    ),
}


@dataclass(frozen=True)
class Size:
    """Inches of one panel, points of text and of lines."""

    width: float
    height: float
    text: float
    line: float


#: one column of a paper; the width of a page; a slide of 16 : 9
SIZES = {"paper": Size(3.4, 2.5, 8, 1.4), "wide": Size(6.6, 4.0, 9, 1.6), "slide": Size(12.0, 6.75, 17, 3.0)}


@dataclass(frozen=True)
class Curve:
    """What is drawn: a function, its facts, its label."""

    function: Function
    facts: Facts
    label: str


def curve(definition: Definition, label: str | None = None, /, **parameters: Any) -> Curve:
    """An activation for these parameters and choices; labelled with its name and what is not default."""
    known = facts(definition, **parameters)
    return Curve(function_of(definition, **parameters), known, label or signature(definition, known))


def figure(
    curves: Sequence[Curve | Definition],
    *,
    derivative: bool = False,
    x: tuple[float, float] | None = None,
    y: tuple[float, float] | None = None,
    size: str = "paper",
    style: str = "light",
    title: str | None = None,
) -> Figure:
    """The curves in one panel, their derivatives in a second beside it (below it, in a column of a paper).

    At a kink the derivative's one-sided values are open circles and the one that is used is filled;
    a jump of the function is drawn so too. size: "paper", "wide" or "slide".
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    drawn = [c if isinstance(c, Curve) else curve(c) for c in curves]
    if not drawn:
        raise ValueError("nothing to draw: name at least one activation")
    look, form = _chosen(STYLES, style, "style"), _chosen(SIZES, size, "size")
    x_range = x or x_window(c.facts for c in drawn)
    if not x_range[0] < x_range[1]:
        raise ValueError(f"the range of x must rise, got {x_range}")
    with rc_context(_settings(look, form)):  # type: ignore[arg-type]
        panels = (0, 1) if derivative else (0,)
        below = size == "paper"
        shape = (form.width, form.height * len(panels)) if below else (form.width, form.height)
        made = Figure(figsize=shape, facecolor=look.paper)
        pad = form.text / 72 * 0.8
        made.set_layout_engine("constrained", w_pad=pad, h_pad=pad)
        rows, columns = (len(panels), 1) if below else (1, len(panels))
        axes: list[Axes] = list(made.subplots(rows, columns, sharex=True, squeeze=False).flat)
        ends = [
            _draw(panel, drawn, order, x_range, None if order else y, look, form)
            for order, panel in zip(panels, axes, strict=True)
        ]
        if below and derivative:
            axes[0].set_xlabel("")
        made.align_ylabels(axes)
        if title:
            made.suptitle(title, color=look.ink, fontsize=form.text * 1.15)
        made.draw_without_rendering()  # the panels get their heights
        for panel, found in zip(axes, ends if len(drawn) > 1 else ends[:1], strict=False):
            _spread(panel, found, form)
        made.draw_without_rendering()  # and give way to the labels
    return made


def _chosen(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise ValueError(f"{what} must be one of {', '.join(table)}, got {name!r}")
    return table[name]


def _settings(look: Style, form: Size) -> dict[str, Any]:
    return {
        "font.family": "sans-serif", "font.sans-serif": ["Helvetica Neue", "Helvetica", "Arial", "DejaVu Sans"],
        "mathtext.fontset": "stixsans", "font.size": form.text, "axes.labelsize": form.text,
        "xtick.labelsize": form.text * 0.9, "ytick.labelsize": form.text * 0.9,
        "text.color": look.ink, "axes.labelcolor": look.ink, "xtick.color": look.ink, "ytick.color": look.ink,
        "axes.facecolor": look.paper, "axes.edgecolor": look.ink, "axes.linewidth": form.line * 0.45,
        "xtick.major.width": form.line * 0.45, "ytick.major.width": form.line * 0.45,
        "xtick.major.size": form.text * 0.35, "ytick.major.size": form.text * 0.35,
        "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42, "svg.fonttype": "path",
        "axes.unicode_minus": True,
    }  # fmt: skip


def _draw(
    panel: Axes, curves: list[Curve], order: int, x_range: tuple[float, float], y: tuple[float, float] | None,
    look: Style, form: Size,
) -> list[End]:  # fmt: skip
    """Draws the curves of one order and returns where they end."""
    lines = [_sampled(c, order, x_range) for c in curves]
    y_range = y or y_window([values for _, values in lines], x_range)
    panel.set_xlim(*x_range)
    panel.set_ylim(*y_range)
    panel.set_xlabel("$x$")
    panel.set_ylabel("$f(x)$" if order == 0 else "$f$′$(x)$")
    panel.axhline(0, color=look.faint, linewidth=form.line * 0.5, zorder=0)
    panel.axvline(0, color=look.faint, linewidth=form.line * 0.5, zorder=0)
    panel.locator_params(nbins=6 if form.width > 4 else 5)
    ends = []
    for i, (one, (x, values)) in enumerate(zip(curves, lines, strict=True)):
        colour = look.curves[i % len(look.curves)]
        dashes = ("-", (0, (4, 1.5)), (0, (1, 1.2)))[i // len(look.curves) % 3]
        panel.plot(
            x, values, color=colour, linewidth=form.line, linestyle=dashes, solid_capstyle="round", zorder=2
        )
        _marks(panel, one, order, colour, look, form)
        ends.append((_last(values, y_range), one.label, colour))
    return ends


def _sampled(one: Curve, order: int, x_range: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The curve, interrupted where it jumps."""
    x = samples(x_range, one.facts.breaks)
    (values,) = one.function.numpy(order)(x)
    jumps = [k.place for k in one.facts.kinks if order == 1 or k.jump]
    return x, np.where(np.isin(x, jumps), np.nan, values)


def _marks(panel: Axes, one: Curve, order: int, colour: str, look: Style, form: Size) -> None:
    """Open circles at one-sided values that are not taken, a filled one at the value that is; a dot at a kink."""
    size = form.line * 2.6
    for kink in one.facts.kinks:
        if order == 0 and not kink.jump:
            panel.plot(kink.place, kink.value, "o", markersize=size * 0.8, color=colour, zorder=3)
            continue
        sides = (kink.left, kink.right) if order else (kink.left_value, kink.right_value)
        there = kink.used if order else kink.value
        if not all(map(math.isfinite, (*sides, there))):
            continue
        panel.plot([kink.place] * 2, sides, color=colour, linewidth=form.line * 0.6, linestyle=":", zorder=1)
        for value in {*sides, there}:
            face = colour if value == there else look.paper
            panel.plot(
                kink.place, value, "o", markersize=size, markerfacecolor=face, markeredgecolor=colour,
                markeredgewidth=form.line * 0.6, zorder=3,
            )  # fmt: skip


def _last(values: np.ndarray, y_range: tuple[float, float]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.clip(finite[-1] if finite.size else 0.0, *y_range))


def _spread(panel: Axes, ends: list[End], form: Size) -> None:
    """The labels at the right ends of the curves, moved apart until none touches another."""
    low, high = panel.get_ylim()
    height = panel.get_window_extent().height / panel.figure.dpi * 72  # points
    gap = form.text * 1.25 / height * (high - low)
    ends = sorted(ends, key=lambda e: e[0])
    places = _apart([e[0] for e in ends], gap, low, high)
    for (y, label, colour), place in zip(ends, places, strict=True):
        panel.annotate(
            label, (1, y), xycoords=("axes fraction", "data"), xytext=(form.text * 1.7, (place - y) / (high - low) * height),
            textcoords="offset points", color=colour, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": form.line * 0.4, "shrinkA": 1, "shrinkB": 1,
                        "relpos": (0, 0.5)},
        )  # fmt: skip


def _apart(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Increasing places at least a gap apart, as near to the wanted ones as can be (least squares)."""
    groups: list[list[float]] = []  # mean of wanted - offset, count
    for i, y in enumerate(wanted):
        groups.append([y - i * gap, 1])
        while len(groups) > 1 and groups[-2][0] > groups[-1][0]:
            mean, count = groups.pop()
            groups[-1] = [
                (groups[-1][0] * groups[-1][1] + mean * count) / (groups[-1][1] + count),
                groups[-1][1] + count,
            ]
    flat = [mean for mean, count in groups for _ in range(int(count))]
    top = high - (len(wanted) - 1) * gap
    return [min(max(y, low), max(top, low)) + i * gap for i, y in enumerate(flat)]


def save(made: Figure, path: Path) -> None:
    """To a file whose extension says what it is."""
    kinds = ("png", "svg", "pdf")
    if path.suffix.lower().lstrip(".") not in kinds:
        raise ValueError(f"a picture is written as {', '.join(kinds)}; got {path.name!r}")
    if path.parent != Path() and not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}")
    made.savefig(path, dpi=300, facecolor=made.get_facecolor())
