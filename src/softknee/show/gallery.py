"""The whole catalogue in one picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from softknee.analysis.function import function_of
from softknee.analysis.kinks import breaks_of
from softknee.catalogue import FAMILIES, Definition
from softknee.show.language import reader_of_pictures
from softknee.show.plot import STYLES, fonts
from softknee.show.window import samples, y_window

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["gallery"]

_CELL = 1.15  # inches
_X = (-4.0, 4.0)


def gallery(
    definitions: Sequence[Definition],
    *,
    style: str = "light",
    columns: int = 10,
    language: str = "en",
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Figure:
    """A small picture of each function and, thin, its derivative, family by family."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}, got {style!r}")
    look, reader = STYLES[style], reader_of_pictures(language)
    ordered = [*FAMILIES, *sorted({d.family for d in definitions} - set(FAMILIES))]
    groups = [(f, [d for d in definitions if d.family == f]) for f in ordered]
    groups = [(f, members) for f, members in groups if members]
    rows = sum(math.ceil(len(members) / columns) for _, members in groups)
    head = 0.34  # inches above each family
    height = rows * _CELL + head * len(groups) + 0.1
    width = columns * _CELL + 0.2
    total, done = sum(len(members) for _, members in groups), 0
    with rc_context({"font.size": 7.5, "font.family": fonts(reader), "mathtext.fontset": "stixsans"}):
        made = Figure(figsize=(width, height), facecolor=look.paper)
        top = height - 0.05
        for place, (text, colour) in enumerate(
            (("$f\\,^{\\prime}$", look.curves[1]), ("$f$", look.curves[0]))
        ):
            made.text(
                1 - (0.2 + 0.3 * place) / width,
                (top - 0.2) / height,
                text,
                color=colour,
                fontsize=12,
                ha="center",
            )
        for family, members in groups:
            made.text(
                0.15 / width,
                (top - 0.2) / height,
                reader.word("families", family),
                color=look.ink,
                fontsize=9.5,
                weight="bold",
            )
            top -= head
            for i, definition in enumerate(members):
                tell(done, total)
                done += 1
                row, column = divmod(i, columns)
                box = (
                    (0.1 + column * _CELL + 0.06) / width, (top - (row + 1) * _CELL + 0.24) / height,
                    (_CELL - 0.12) / width, (_CELL - 0.3) / height,
                )  # fmt: skip
                panel = made.add_axes(box)
                panel.set_axis_off()
                values = {p.name: p.example or 1.0 for p in definition.parameters if p.default is None}
                function = function_of(definition, **values)
                breaks = breaks_of(function)
                x = samples(_X, breaks.places, 401)
                f, slope = function.numpy(0, 1)(x)
                f = np.where(np.isin(x, [k.place for k in breaks.kinks if k.jump]), np.nan, f)
                slope = np.where(np.isin(x, [k.place for k in breaks.kinks]), np.nan, slope)
                low, high = y_window([f, np.clip(slope, -2, 2)], _X)
                middle, half = (low + high) / 2, max((high - low) / 2, 0.6)
                panel.set_xlim(*_X)
                panel.set_ylim(middle - half, middle + half)
                panel.axhline(0, color=look.faint, linewidth=0.6, zorder=0)
                panel.axvline(0, color=look.faint, linewidth=0.6, zorder=0)
                panel.plot(x, slope, color=look.curves[1], linewidth=0.8, alpha=0.9)
                panel.plot(x, f, color=look.curves[0], linewidth=1.6, solid_capstyle="round")
                name = reader.curve(definition.name)
                size = 7.5 if len(name) < 14 else 7.5 * 14 / len(name)
                panel.text(
                    0.5, -0.06, name, transform=panel.transAxes, ha="center", va="top",
                    color=look.ink, fontsize=size,
                )  # fmt: skip
            top -= math.ceil(len(members) / columns) * _CELL
    return made
