"""How the examples draw: quiet axes, colours that are told apart without colour vision, labels at the lines.

Each picture is an SVG in light and in dark colours, with its panels beside each other and, for a phone, below.
"""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogFormatterSciNotation

PICTURES = Path(__file__).parents[1] / "docs" / "assets" / "examples"
INK, FAINT, EDGE = "#222222", "#dddddd", "#999999"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#7a7a7a")
#: what is drawn on a light page -> on a dark one
DARK = dict(
    zip(
        (INK, FAINT, EDGE, *COLOURS),
        ("#d6dbe5", "#3a4150", "#7d8594", "#4c9fe8", "#ff8a4c", "#2fc296", "#e39cc5", "#dcab3c", "#a8dcff", "#a5abb5"),
        strict=True,
    )
)  # fmt: skip
STYLE = {
    "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.edgecolor": EDGE,
    "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "grid.color": FAINT, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "lines.linewidth": 1.7, "legend.frameon": False, "legend.fontsize": 8.5, "legend.title_fontsize": 8.5,
    "svg.fonttype": "none", "svg.hashsalt": "softknee", "path.simplify_threshold": 0.3,
}  # fmt: skip
PHONE = 4.3  # inches


def panels(count: int, width: float = 4.2, height: float = 3.3, **options: Any) -> tuple[Any, Any]:
    mpl.rcParams.update(STYLE)
    return plt.subplots(1, count, figsize=(width * count, height), layout="constrained", **options)


def stack(figure: Any) -> None:
    """The panels one below the other, as wide as a phone, and the figure's legend above them."""
    axes = figure.axes
    figure.set_size_inches(PHONE, 2.7 * len(axes))
    for ax, place in zip(axes, figure.add_gridspec(len(axes), 1), strict=True):
        ax.set_subplotspec(place)
        ax.tick_params(labelleft=True)
        ax.set_ylabel(
            ax.get_ylabel() or (axes[0].get_ylabel() if ax.get_shared_y_axes().joined(ax, axes[0]) else "")
        )
    for legend in figure.legends[:]:
        lines, names = legend.legend_handles, [text.get_text() for text in legend.get_texts()]
        title = legend.get_title().get_text() or None
        legend.remove()
        figure.legend(lines, names, title=title, loc="outside upper left", ncols=2)


def dark(drawing: str) -> str:
    return re.sub("#[0-9a-f]{6}", lambda found: DARK.get(found[0], found[0]), drawing)


def powers(figure: Any) -> None:
    """Exponents of logarithmic axes as letters of their own: those of mathtext are too small on a phone."""
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) if axis.get_scale() == "log"):
        if isinstance(axis.get_major_formatter(), LogFormatterSciNotation):
            axis.set_major_formatter(lambda value, _: f"10{str(round(math.log10(value))).translate(raised)}")


def save(figure: Any, name: str) -> None:
    """Writes the four pictures where --out says, else among those of the documentation."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=PICTURES, metavar="FOLDER", help="where the pictures go")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    powers(figure)
    for kind in ("", "-phone"):
        if kind:
            stack(figure)
        light = folder / f"{name}{kind}-light.svg"
        figure.savefig(light, transparent=True, metadata={"Date": None, "Creator": None})
        drawing = "\n".join(line.rstrip() for line in light.read_text(encoding="utf-8").splitlines()) + "\n"
        light.write_text(drawing, encoding="utf-8")
        light.with_name(f"{name}{kind}-dark.svg").write_text(dark(drawing), encoding="utf-8")
    plt.close(figure)
    print(f"Written to {folder / name}-light.svg, -dark.svg, -phone-light.svg and -phone-dark.svg")
