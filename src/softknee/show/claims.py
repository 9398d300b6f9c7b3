"""The claims ledger in the terminal, and the pictures of its records."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from softknee.claims.entry import TOPICS, Entry
from softknee.claims.record import Record, kind
from softknee.show.plot import STYLES
from softknee.show.words import typeset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["dark", "listing", "page", "picture"]

_COLOURS = {"holds": "green", "refuted": "red", "holds only if": "yellow", "not distinguishable": "cyan"}
_MARKERS = "os^Dv<>P"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.3)), (0, (6, 2, 1, 2)))


def listing(claims: Iterable[Entry], recorded: Mapping[str, Record]) -> Group:
    """All claims by topic, each with its verdict."""
    by_topic: dict[str, list[Entry]] = {topic: [] for topic in TOPICS}
    for one in claims:
        by_topic[one.topic].append(one)
    parts: list[Any] = []
    for topic, members in by_topic.items():
        if not members:
            continue
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), expand=True)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(ratio=1)
        table.add_column(justify="right", no_wrap=True)
        for one in members:
            table.add_row(one.name, escape(typeset(one.claim)), verdict(recorded.get(one.name)))
        parts += [Text(f"\n{topic}", style="bold underline"), Padding(table, (0, 0, 0, 1))]
    return Group(*parts)


def verdict(record: Record | None) -> Text:
    """The verdict in its colour, without its condition."""
    if record is None:
        return Text("not measured", style="dim")
    found = kind(record.verdict)
    return Text(found + (" …" if found == "holds only if" else ""), style=_COLOURS[found])


def page(record: Record) -> Group:
    """One claim's result."""
    parts: list[Any] = [
        Text(typeset(record.claim), style="bold"),
        Text(typeset(record.verdict), style=_COLOURS[kind(record.verdict)]),
    ]
    parts += [Text(f"\n{typeset(text)}") for text in record.said]
    for statement, found in record.parts:
        parts.append(Text.assemble("  ", (found, _COLOURS[kind(found)]), f"  {typeset(statement)}"))
    for each in record.tables:
        table = Table(title=escape(each["title"]), title_justify="left", box=None, padding=(0, 2, 0, 0))
        for i, column in enumerate(each["columns"]):
            table.add_column(escape(column), justify="left" if i == 0 else "right")
        for row in each["rows"]:
            table.add_row(*(escape(cell(c)) for c in row))
        parts += [Text(), table]
    return Group(*parts)


def cell(value: Any) -> str:
    """A number to three digits; text as it is."""
    if value is None:
        return "–"
    return typeset(f"{value:.3g}" if isinstance(value, float) else str(value))


# Pictures

_LIGHT, _DARK = STYLES["light"], STYLES["dark"]
_SETTINGS: dict[str, Any] = {
    "svg.hashsalt": "softknee",
    "svg.fonttype": "none",
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": _LIGHT.ink,
    "axes.labelcolor": _LIGHT.ink,
    "axes.edgecolor": _LIGHT.faint,
    "xtick.color": _LIGHT.ink,
    "ytick.color": _LIGHT.ink,
    "grid.color": _LIGHT.faint,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
}


def picture(figure: Mapping[str, Any]) -> str:
    """A figure of a record as SVG for a light page, its ground transparent."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        rows = len(
            figure.get("rows", ())
        )  # as wide as a phone: letters there have about the size they have here
        made = Figure(figsize=(5, 3.3 if not rows else 0.9 + 0.3 * rows), layout="constrained")
        axes = made.add_subplot()
        axes.set_facecolor("none")
        made.suptitle("\n".join(wrap(typeset(figure["title"]), 62)), fontsize=10.5, x=0.01, ha="left")
        {"lines": _lines, "points": _points, "frames": _frames}[figure["kind"]](axes, figure)
        axes.set_xlabel(typeset(figure["x_label"]))
        for name in figure.get("log") or "":
            _logarithmic(getattr(axes, f"{name}axis"))
        out = io.StringIO()
        made.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
    return _moving(text, len(figure["frames"])) if figure["kind"] == "frames" else text


def _logarithmic(axis: Axis) -> None:
    """Numbers without powers in small letters; 2 and 5, too, where there are few decades."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if high < 200 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(
        lambda v, _: f"{v:g}".replace("-", "\N{MINUS SIGN}").replace("e\N{MINUS SIGN}0", "e\N{MINUS SIGN}")
    )
    axis.set_minor_formatter(NullFormatter())


def _legend(axes: Axes) -> None:
    """Below, in as many columns as fit."""
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, min(len(labels), 66 // (max(map(len, labels)) + 9)))
    axes.figure.legend(  # type: ignore[union-attr]
        handles,
        labels,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9.5,
        handlelength=2.6,
    )


def _frames(axes: Axes, figure: Mapping[str, Any]) -> None:
    """All frames, one over the other; each knows its number."""
    last = len(figure["frames"]) - 1
    for number, frame in enumerate(figure["frames"]):
        named = axes.text(0.02, 0.92, frame["label"], transform=axes.transAxes)
        named.set_gid(f"frame-{number}-name")
        for i, one in enumerate(frame["series"]):
            (line,) = axes.plot(
                figure["x"], one["y"], color=_LIGHT.curves[i % len(_LIGHT.curves)], linewidth=1.7,
                label=one["label"] if number == last else None,
            )  # fmt: skip
            line.set_gid(f"frame-{number}-{i}")
    _legend(axes)


def _moving(svg: str, count: int) -> str:
    """Shows frame after frame, the last one longest; without animation, the last one."""
    turns = [*range(count), *[count - 1] * 4]

    def shown(found: re.Match[str]) -> str:
        number = int(found[2])
        values = ";".join("visible" if turn == number else "hidden" for turn in turns)
        state = "visible" if number == count - 1 else "hidden"
        return (
            f'{found[1]} visibility="{state}"><animate attributeName="visibility" calcMode="discrete" '
            f'dur="{0.6 * len(turns):g}s" repeatCount="indefinite" values="{values}"/>'
        )

    return re.sub(r'(<g id="frame-(\d+)-\w+")>', shown, svg)


def _lines(axes: Axes, figure: Mapping[str, Any]) -> None:
    many = len(figure["x"]) > 24
    for i, one in enumerate(figure["series"]):
        colour = _LIGHT.curves[i % len(_LIGHT.curves)]
        y = [float("nan") if v is None else v for v in one["y"]]
        axes.plot(
            figure["x"], y, color=colour, linewidth=1.7, label=one["label"], markersize=4.5,
            marker="" if many else _MARKERS[i % len(_MARKERS)], linestyle=_DASHES[i % len(_DASHES)] if many else "-",
        )  # fmt: skip
        if "low" in one:
            axes.fill_between(figure["x"], one["low"], one["high"], color=colour, alpha=0.15, linewidth=0)
    for axis in figure["log"]:
        getattr(axes, f"set_{axis}scale")("log")
    axes.set_ylabel(typeset(figure["y_label"]))
    if len(figure["series"]) > 1:
        _legend(axes)


def _points(axes: Axes, figure: Mapping[str, Any]) -> None:
    rows = figure["rows"]
    for i, row in enumerate(rows):
        mean, low, high = (float("nan") if row[k] is None else row[k] for k in ("mean", "low", "high"))
        axes.plot([low, high], [i, i], color=_LIGHT.curves[0], linewidth=2, solid_capstyle="butt")
        axes.plot([mean], [i], "o", color=_LIGHT.curves[0], markersize=6)
    axes.set_yticks(range(len(rows)), [typeset(row["label"]) for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    if figure["log"]:
        axes.set_xscale("log")


def dark(svg: str) -> str:
    """The picture for a dark page."""
    pairs = [
        (_LIGHT.ink, _DARK.ink),
        (_LIGHT.faint, _DARK.faint),
        *zip(_LIGHT.curves, _DARK.curves, strict=True),
    ]
    for place, (light, _) in enumerate(pairs):  # in two steps: a dark colour may be another's light one
        svg = svg.replace(light.lower(), f"@{place}@")
    for place, (_, instead) in enumerate(pairs):
        svg = svg.replace(f"@{place}@", instead.lower())
    return svg
