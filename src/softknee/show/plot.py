"""Pictures of functions and their derivatives, for papers and slides."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from softknee.analysis import Facts, Function, facts, function_of
from softknee.catalogue import Definition
from softknee.show.language import ENGLISH, Reader, reader_of_pictures
from softknee.show.window import samples, x_window, y_window
from softknee.show.words import signature

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "SIZES",
    "STYLES",
    "Curve",
    "Errors",
    "curve",
    "error_figure",
    "family",
    "figure",
    "fonts",
    "save",
    "ulp_figure",
]


_NAMES = (r"$f\,(x)$", r"$f\,^{\prime}(x)$")
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
    asymptotes: bool = False,
    saturation: bool = False,
    ordered: bool = False,
    language: str = "en",
) -> Figure:
    """The curves in one panel, their derivatives in a second beside it (below it, in a column of a paper).

    At a kink the derivative's one-sided values are open circles and the one that is used is filled;
    a jump of the function is drawn so too. size: "paper", "wide" or "slide". asymptotes: the lines
    that the curves approach, dashed. saturation: shaded where the slope is below 1/100 of the
    steepest. ordered: colours that form a scale, for the members of a family. language: "ru", "zh" or
    "ko" for names as they are said there.
    """
    drawn = [c if isinstance(c, Curve) else curve(c) for c in curves]
    if not drawn:
        raise ValueError("nothing to draw: name at least one activation")
    look, reader = _chosen(STYLES, style, "style"), reader_of_pictures(language)
    drawn = [replace(c, label=reader.curve(c.label)) for c in drawn]
    if ordered:
        look = replace(look, curves=_scale(len(drawn), look))
    x_range = x_window(c.facts for c in drawn)
    if saturation:  # far enough out to see it
        x_range = min(x_range[0], -8.0), max(x_range[1], 8.0)
    x_range = _rising(x or x_range)

    def draw(panel: Axes, order: int, form: Size) -> list[End]:
        ends = _draw(panel, drawn, order, x_range, None if order else y, look, form)
        if asymptotes:
            _asymptotes(panel, drawn, order, x_range, look, form)
        if saturation:
            _saturation(panel, drawn, x_range, look)
        return ends if len(drawn) > 1 or not order else []

    return _laid_out(draw, 2 if derivative else 1, look, size, title, reader)


def _laid_out(
    draw: Callable[[Axes, int, Size], list[End]], count: int, look: Style, size: str, title: str | None,
    reader: Reader = ENGLISH,
) -> Figure:  # fmt: skip
    """One panel or two, with the labels of their curves beside them. Where long labels would leave the panels less
    than half of the width, these stand one below the other, as in a column of a paper; where that is not enough, or
    where there are more labels than a panel is high, a legend below the panels has them."""
    form = _chosen(SIZES, size, "size")
    for below in dict.fromkeys((size == "paper" or count == 1, True)):
        made = _panels(draw, count, look, form, title, reader, below=below)
        if made is not None and not _squeezed(made):
            return made
    made = _panels(draw, count, look, form, title, reader, below=size == "paper", legend=True)
    assert made is not None
    return made


def _squeezed(made: Figure) -> bool:
    """Whether labels leave less than half of the width to the panels of a row."""
    row = [p for p in made.axes if p.bbox.y0 == made.axes[0].bbox.y0]
    return bool(sum(p.bbox.width for p in row) < made.bbox.width / 2)


def _gap(form: Size) -> float:
    """Points from one label to the next."""
    return form.text * 1.35


def _panels(
    draw: Callable[[Axes, int, Size], list[End]], count: int, look: Style, form: Size, title: str | None,
    reader: Reader, *, below: bool, legend: bool = False,
) -> Figure | None:  # fmt: skip
    """The figure; None where labels are more than a panel is high, or wider than there is room."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_settings(look, form, reader)):  # type: ignore[arg-type]
        column = form is SIZES["paper"]  # which has the length it needs; a page and a slide have one shape
        shape = (form.width, form.height * count) if column else (form.width, form.height)
        made = Figure(figsize=shape, facecolor=look.paper)
        pad = form.text / 72 * 0.8
        made.set_layout_engine("constrained", w_pad=pad, h_pad=pad)
        rows, columns = (count, 1) if below else (1, count)
        axes: list[Axes] = list(made.subplots(rows, columns, sharex=True, squeeze=False).flat)
        ends = [draw(panel, order, form) for order, panel in enumerate(axes)]
        if below and count > 1:
            axes[0].set_xlabel("")
        made.align_ylabels(axes)
        if title:
            made.suptitle(title, color=look.ink, fontsize=form.text * 1.15)
        if legend:
            _legend(made, form)
        made.draw_without_rendering()  # the panels get their heights
        if not legend:
            if max(map(len, ends)) * _gap(form) > min(p.bbox.height for p in axes) / made.dpi * 72:
                return None
            for panel, found in zip(axes, ends, strict=True):
                _spread(panel, found, form)
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("error", message="constrained_layout not applied")
                    made.draw_without_rendering()  # and give way to the labels
            except UserWarning:
                return None
    return made


def _legend(made: Figure, form: Size) -> None:
    """Below the panels, in as many columns as fit."""
    handles, labels = made.axes[0].get_legend_handles_labels()
    for columns in range(min(4, len(labels)), 0, -1):
        box = made.legend(
            handles, labels, loc="outside lower center", ncols=columns, frameon=False, handlelength=1.4,
            columnspacing=1.2, borderpad=0, borderaxespad=0.2, fontsize=form.text, markerscale=2,
        )  # fmt: skip
        made.draw_without_rendering()
        if columns == 1 or box.get_window_extent().width < 0.97 * made.bbox.width:
            break
        box.remove()


def _rising(x: tuple[float, float]) -> tuple[float, float]:
    if not x[0] < x[1]:
        raise ValueError(f"the range of x must rise, got {x}")
    return x


def family(definition: Definition, parameter: str, values: Sequence[float], /, **others: Any) -> list[Curve]:
    """One activation for several values of a parameter, labelled with these."""
    return [curve(definition, f"{parameter}={v:g}", **{**others, parameter: v}) for v in values]


def _scale(count: int, look: Style) -> tuple[str, ...]:
    """Colours in an order that is seen, equally far from each other, with a contrast of 3 to the paper at least."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    ends = (0.0, 0.58) if look is STYLES["light"] else (0.4, 1.0)
    places = np.linspace(*ends, count) if count > 1 else [0.3]
    return tuple(to_hex(colormaps["viridis"](place)) for place in places)


def _asymptotes(
    panel: Axes, curves: list[Curve], order: int, x_range: tuple[float, float], look: Style, form: Size
) -> None:
    """The lines that f approaches on either side, from edge to edge; of f', the values."""
    seen = set()
    for one in curves:
        for side, line in enumerate(one.facts.asymptotes):
            if order:
                slope: float | None = 0.0
                height = one.facts.slope_limits[side]
            else:
                slope, height = line.slope, line.intercept
            if slope is None or height is None or not math.isfinite(height) or (slope, height) in seen:
                continue
            seen.add((slope, height))
            ends = np.array(x_range)
            panel.plot(
                ends, slope * ends + height, color=look.ink, alpha=0.55, linewidth=form.line * 0.7, dashes=(5, 3), zorder=1.5,
                gid="asymptote",
            )  # fmt: skip


def _saturation(panel: Axes, curves: list[Curve], x_range: tuple[float, float], look: Style) -> None:
    """Shades where every curve's slope is below 1/100 of its steepest, on the sides where it saturates."""
    x = np.linspace(*x_range, 2001)
    flat = np.ones(x.size, dtype=bool)
    for one in curves:
        (slope,) = one.function.numpy(1)(x)
        steepest = one.facts.lipschitz if math.isfinite(one.facts.lipschitz) else np.nanmax(np.abs(slope))
        level = np.abs(slope) <= 0.01 * steepest
        outside = np.zeros(x.size, dtype=bool)
        if one.facts.saturation[0] != "none":
            outside |= np.logical_and.accumulate(level)
        if one.facts.saturation[1] != "none":
            outside |= np.logical_and.accumulate(level[::-1])[::-1]
        flat &= outside
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(int), [0]])))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        panel.axvspan(
            x[start], x[stop - 1], color=look.ink, alpha=0.1, linewidth=0, zorder=0, gid="saturation"
        )


def error_figure(
    curves: Sequence[Curve | Definition],
    *,
    derivative: bool = False,
    x: tuple[float, float] | None = None,
    size: str = "paper",
    style: str = "light",
    title: str | None = None,
    language: str = "en",
) -> Figure:
    """How far the curves are from the first: its approximations, say. With the derivatives', in a second panel."""
    first, *others = [c if isinstance(c, Curve) else curve(c) for c in curves] or [None]
    if first is None or not others:
        raise ValueError("an error takes two: name the function first, then what approximates it")
    look, reader = _chosen(STYLES, style, "style"), reader_of_pictures(language)
    first, *others = (replace(c, label=reader.curve(c.label)) for c in (first, *others))
    x_range = _rising(x or x_window(c.facts for c in (first, *others)))
    places = samples(x_range, [b for c in (first, *others) for b in c.facts.breaks])

    def draw(panel: Axes, order: int, form: Size) -> list[End]:
        (base,) = first.function.numpy(order)(places)
        lines = [(places, one.function.numpy(order)(places)[0] - base) for one in others]
        finite = np.concatenate([line[np.isfinite(line)] for _, line in lines])
        most = float(np.abs(finite).max(initial=0.0)) or 1.0
        _axes(panel, x_range, (-1.08 * most, 1.08 * most), look, form)
        panel.set_ylabel(f"{_NAMES[order]} − {first.label}{'′' if order else ''}")
        ends = []
        for i, (one, (at, values)) in enumerate(zip(others, lines, strict=True)):
            panel.plot(
                at,
                values,
                color=_colour(i + 1, look),
                linewidth=form.line,
                linestyle=_dashes(i + 1, look),
                label=one.label,
            )
            ends.append((_last(values, (-most, most)), one.label, _colour(i + 1, look)))
        return ends

    return _laid_out(draw, 2 if derivative else 1, look, size, title, reader)


@dataclass(frozen=True)
class Errors:
    """Errors of one implementation in units in the last place, where they were measured."""

    label: str
    x: Sequence[float]
    ulps: Sequence[float]


def ulp_figure(
    measured: Sequence[Errors],
    *,
    dtype: str,
    size: str = "wide",
    style: str = "light",
    title: str | None = None,
    language: str = "en",
) -> Figure:
    """Errors over x, as points; the axis is linear up to 1 ULP and logarithmic above."""
    look, reader = _chosen(STYLES, style, "style"), reader_of_pictures(language)

    def draw(panel: Axes, order: int, form: Size) -> list[End]:
        every = np.concatenate([np.asarray(one.x, dtype=float) for one in measured])
        _axes(panel, (float(every.min()), float(every.max())), (0.0, 1.0), look, form)
        panel.set_yscale("symlog", linthresh=1.0)
        highest = max(max(one.ulps, default=0.0) for one in measured)
        panel.set_ylim(0, max(2.0, highest * 1.5))
        panel.set_ylabel(f"{reader.label('error in ULP')}, {dtype}")
        panel.axhline(0.5, color=look.ink, alpha=0.5, linewidth=form.line * 0.5, linestyle="--")
        ends = []
        for i, one in enumerate(measured):
            panel.plot(
                one.x,
                one.ulps,
                "os^D"[i % 4],
                color=_colour(i, look),
                markersize=form.line * 0.9,
                zorder=3 - i / len(measured),  # the first is not hidden
                markeredgewidth=0,
                label=f"{one.label} ≤ {max(one.ulps):.3g}",
            )
            ends.append((float(one.ulps[-1]), f"{one.label} ≤ {max(one.ulps):.3g}", _colour(i, look)))
        return ends

    return _laid_out(draw, 1, look, size, title, reader)


def _chosen(table: dict[str, Any], name: str, what: str) -> Any:
    if name not in table:
        raise ValueError(f"{what} must be one of {', '.join(table)}, got {name!r}")
    return table[name]


def _settings(look: Style, form: Size, reader: Reader) -> dict[str, Any]:
    return {
        "font.family": fonts(reader),  # the names: "sans-serif" would be looked up when the picture is saved
        "mathtext.fontset": "stixsans", "font.size": form.text, "axes.labelsize": form.text,
        "xtick.labelsize": form.text * 0.9, "ytick.labelsize": form.text * 0.9,
        "text.color": look.ink, "axes.labelcolor": look.ink, "xtick.color": look.ink, "ytick.color": look.ink,
        "axes.facecolor": look.paper, "axes.edgecolor": look.ink, "axes.linewidth": form.line * 0.45,
        "xtick.major.width": form.line * 0.45, "ytick.major.width": form.line * 0.45,
        "xtick.major.size": form.text * 0.35, "ytick.major.size": form.text * 0.35,
        "axes.spines.top": False, "axes.spines.right": False,
        "axes.unicode_minus": True,
    }  # fmt: skip


def fonts(reader: Reader) -> list[str]:
    """For letters first, then for what these lack. Only installed ones: matplotlib complains of the others."""
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    usual = ("Helvetica Neue", "Helvetica", "Arial", "DejaVu Sans")
    return [*(name for name in usual if name in installed), *reader.fonts]


def _draw(
    panel: Axes, curves: list[Curve], order: int, x_range: tuple[float, float], y: tuple[float, float] | None,
    look: Style, form: Size,
) -> list[End]:  # fmt: skip
    """Draws the curves of one order and returns where they end."""
    lines = [_sampled(c, order, x_range) for c in curves]
    y_range = y or y_window([values for _, values in lines], x_range)
    _axes(panel, x_range, y_range, look, form)
    panel.set_ylabel(_NAMES[order])
    ends = []
    for i, (one, (x, values)) in enumerate(zip(curves, lines, strict=True)):
        colour, dashes = _colour(i, look), _dashes(i, look)
        panel.plot(
            x,
            values,
            color=colour,
            linewidth=form.line,
            linestyle=dashes,
            solid_capstyle="round",
            zorder=2,
            label=one.label,
        )
        _marks(panel, one, order, colour, look, form)
        ends.append((_last(values, y_range), one.label, colour))
    return ends


def _axes(
    panel: Axes, x_range: tuple[float, float], y_range: tuple[float, float], look: Style, form: Size
) -> None:
    panel.set_xlim(*x_range)
    panel.set_ylim(*y_range)
    panel.set_xlabel("$x$")
    panel.axhline(0, color=look.faint, linewidth=form.line * 0.5, zorder=0)
    panel.axvline(0, color=look.faint, linewidth=form.line * 0.5, zorder=0)
    panel.locator_params(nbins=6 if form.width > 4 else 5)


def _colour(i: int, look: Style) -> str:
    return look.curves[i % len(look.curves)]


def _dashes(i: int, look: Style) -> Any:
    return ("-", (0, (4, 1.5)), (0, (1, 1.2)))[i // len(look.curves) % 3]


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
    if not ends:
        return
    to_axes = panel.transData + panel.transAxes.inverted()  # heights as shares of the panel: any scale
    ends = [
        (float(to_axes.transform((panel.get_xlim()[1], y))[1]), label, colour) for y, label, colour in ends
    ]
    height = panel.get_window_extent().height / panel.figure.dpi * 72  # points
    gap = _gap(form) / height
    low, high = gap / 2, 1 - gap / 2  # no label makes the panel lower
    ends = sorted(ends, key=lambda e: e[0])
    places = _apart([e[0] for e in ends], gap, low, high)
    for (y, label, colour), place in zip(ends, places, strict=True):
        panel.annotate(
            label, (1, y), xycoords="axes fraction", xytext=(form.text * 1.7, (place - y) * height),
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
    from matplotlib import rc_context

    # letters in a PDF stay letters, and in an SVG need no font
    with rc_context({"pdf.fonttype": 42, "svg.fonttype": "path"}):
        made.savefig(path, dpi=300, facecolor=made.get_facecolor())
