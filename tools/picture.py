"""The pictures of the documentation: functions and their derivatives, as SVG for light and dark pages."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import os
import re
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from softknee.analysis import facts
from softknee.catalogue import Definition
from softknee.lang.differentiate import derivative
from softknee.lang.evaluate import evaluate
from softknee.lang.nodes import substitute

# What is drawn on a light page -> the same on a dark one. The lines are told apart without colour vision.
INK, GRID, PAPER = "#1f2328", "#d9dde3", "#ffffff"
LINES = ("#c2410c", "#1d5fa8", "#3f7d20", "#7a3e9d")
DARK = dict(
    zip(
        (INK, GRID, PAPER, *LINES),
        ("#d6dbe5", "#3a4150", "#1e2129", "#fb923c", "#7db4f0", "#8fce6a", "#c9a0e8"),
        strict=True,
    )
)
SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "softknee",
    "svg.fonttype": "none",
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def curves(d: Definition, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f and f', nan where they jump, so that no line is drawn there."""
    given = {p.name: p.example if p.default is None else p.default for p in d.parameters}
    expression = substitute(d.chosen({}), given)
    with np.errstate(all="ignore"):
        found = [
            np.array(np.broadcast_to(evaluate(e, {"x": x}), x.shape), dtype=float)
            for e in (expression, derivative(expression, "x"))
        ]
    for y in found:
        jumps = np.abs(np.diff(y)) > 40 * (x[1] - x[0]) + 8 * np.nanmedian(np.abs(np.diff(y)))
        y[:-1][jumps] = math.nan
    return found[0], found[1]


def _axes(figure: Figure, place: tuple[int, int, int], title: str) -> Any:
    axes = figure.add_subplot(*place)
    axes.set_facecolor("none")
    axes.tick_params(colors=INK, labelsize=9.5)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.grid(color=GRID, linewidth=0.6)
    axes.axhline(0, color=INK, linewidth=0.7)
    axes.axvline(0, color=INK, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_title(title, color=INK, fontsize=10, loc="left")
    return axes


def svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def dark(picture: str) -> str:
    """The picture for a dark page."""
    for light, instead in DARK.items():
        picture = picture.replace(light, instead)
    return picture


def knees(definitions: list[Definition], *, narrow: bool = False) -> str:
    """Several functions and their derivatives: beside each other, or below each other for the width of a phone."""
    with mpl.rc_context(SETTINGS):
        if narrow:
            figure, columns = Figure(figsize=(4.4, 5.6)), 1
            figure.subplots_adjust(0.09, 0.045, 0.985, 0.955, hspace=0.22)
        else:
            figure, columns = Figure(figsize=(9, 3.4)), 2
            figure.subplots_adjust(0.045, 0.08, 0.985, 0.92, wspace=0.12)
        x = np.linspace(-4, 4, 1601)
        left = _axes(figure, (3 - columns, columns, 1), "f(x)")
        right = _axes(figure, (3 - columns, columns, 2), "f\N{PRIME}(x)")
        for d, colour in zip(definitions, LINES, strict=False):
            for axes, y in zip((left, right), curves(d, x), strict=True):
                axes.plot(x, y, color=colour, linewidth=1.8, label=d.name)
        left.set_ylim(-0.6, 4.1)
        for axes in (left, right):
            axes.set_xlim(-4, 4)
        left.legend(frameon=False, labelcolor=INK, loc="upper left")
        return svg(figure)


def window(d: Definition) -> tuple[float, float]:
    """Where to look: around 0 and every kink."""
    given = {p.name: p.example if p.default is None else p.default for p in d.parameters}
    places = [0.0]
    for kink in d.kinks:
        at = float(evaluate(substitute(kink, given), {}))
        places += [at] if math.isfinite(at) else []
    low, high = min(places), max(places)
    return low - 4, high + 4


def _circles(axes: Any, x: float, sides: tuple[float, float], used: float, colour: str) -> None:
    """Open ones at the one-sided values, a filled one at the value that is used, where these differ."""
    if sides[0] == sides[1] == used:
        return
    style = {"markersize": 5.5, "markeredgecolor": colour, "linestyle": "", "marker": "o", "zorder": 4}
    for y in {side for side in sides if math.isfinite(side)} - {used}:
        axes.plot(x, y, markerfacecolor=PAPER, **style)
    if math.isfinite(used):
        axes.plot(x, used, markerfacecolor=colour, **style)


def one(d: Definition) -> str:
    """A function and its derivative in one picture, with circles at the kinks."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(
            figsize=(5, 3.2)
        )  # as wide as a phone: letters there have about the size they have here
        figure.subplots_adjust(0.09, 0.08, 0.985, 0.97)
        x = np.linspace(*window(d), 2401)
        f, slope = curves(d, x)
        axes = _axes(figure, (1, 1, 1), "")
        axes.plot(x, slope, color=LINES[1], linewidth=1.5, linestyle=(0, (4, 1.5)), label="f\N{PRIME}(x)")
        axes.plot(x, f, color=LINES[0], linewidth=2, label="f(x)")
        for kink in facts(d, None, **{p.name: p.example for p in d.parameters if p.default is None}).kinks:
            _circles(axes, kink.place, (kink.left, kink.right), kink.used, LINES[1])
            if kink.jump:
                _circles(axes, kink.place, (kink.left_value, kink.right_value), kink.value, LINES[0])
        seen = np.concatenate([f, slope])
        seen = seen[np.isfinite(seen)]
        low, high = max(seen.min(), -8), min(seen.max(), 8)
        room = 0.06 * max(high - low, 1)
        axes.set_ylim(low - room, high + room)
        axes.set_xlim(x[0], x[-1])
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], frameon=False, labelcolor=INK)
        return svg(figure)


def kept(draw: Callable[[], str], *depends: object) -> str:
    """What `draw` returns, or what it returned when everything it depends on was the same; in .cache, where
    `git clean` finds it."""
    key = hashlib.sha256(repr((mpl.__version__, *depends)).encode()).hexdigest()
    path = Path(__file__).parents[1] / ".cache" / "pictures" / f"{key}.svg"
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        drawn = draw()
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(drawn, encoding="utf-8")
    new.replace(path)
    return drawn


def of_command(arguments: str) -> str:
    """What `softknee plot` draws with these arguments."""
    from softknee.cli.look import commands

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = Path(folder) / "picture.svg"
        commands(["plot", *shlex.split(arguments), "--out", str(path)], standalone_mode=False)
        return re.sub(r"<metadata>.*?</metadata>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
