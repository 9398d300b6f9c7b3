"""Measurements of speed, as tables for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from softknee.bench import Measurement

__all__ = ["means", "summary", "table"]


def table(results: Sequence[Measurement], peer: str, passes: str, dtype: str) -> Table:
    """One row an activation, one column a size: the median ratio, and its quartiles."""
    chosen = [r for r in results if (r.peer, r.passes, r.dtype) == (peer, passes, dtype)]
    sizes = sorted({r.size for r in chosen})
    shown = Table(
        title=f"{passes}, {dtype}: time of {peer} over softknee's (quartiles)", title_justify="left"
    )
    shown.add_column("elements")
    for size in sizes:
        shown.add_column(f"{size:,}", justify="right")
    for function in dict.fromkeys(r.function for r in chosen):
        row = {r.size: r for r in chosen if r.function == function}
        shown.add_row(function, *(_cell(row.get(size)) for size in sizes))
    shown.add_section()
    shown.add_row("geometric mean", *(f"[bold]{_mean(chosen, size)}[/]" for size in sizes))
    return shown


def means(results: Sequence[Measurement], peer: str) -> Table:
    """The geometric means of the ratios, by passes and types, and over all types."""
    sizes = sorted({r.size for r in results})
    shown = Table(
        title=f"geometric means: time of {peer} over softknee's; the smallest ratio", title_justify="left"
    )
    shown.add_column("elements")
    for size in sizes:
        shown.add_column(f"{size:,}", justify="right")
    for passes in dict.fromkeys(r.passes for r in results):
        of = [r for r in results if (r.peer, r.passes) == (peer, passes)]
        types = list(dict.fromkeys(r.dtype for r in of))
        for some in [*([t] for t in types), types] if len(types) > 1 else [types]:
            rows = [r for r in of if r.dtype in some]
            cells = (f"{_mean(rows, n)} ({min(r.ratio for r in rows if r.size == n):.2f})" for n in sizes)
            shown.add_row(f"{passes}, {some[0] if len(some) == 1 else 'all types'}", *cells)
        shown.add_section()
    return shown


def _mean(rows: Sequence[Measurement], size: int) -> str:
    ratios = [r.ratio for r in rows if r.size == size]
    return f"{math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}" if ratios else ""


def _cell(r: Measurement | None) -> str:
    if r is None:
        return ""
    colour = "red" if r.ratio_high < 1 else "green" if r.ratio_low > 1 else "dim"
    return f"[{colour}]{r.ratio:.2f}[/] ({r.ratio_low:.2f} to {r.ratio_high:.2f})"


def summary(results: Sequence[Measurement]) -> Table:
    """Share of a copy's speed, and what backward keeps."""
    shown = Table(title="beside a copy of the input; bits an element kept for backward", title_justify="left")
    for heading in ("", "type", "share of a copy's speed", "kept", "kept by torch"):
        shown.add_column(heading, justify="left" if heading in ("", "type") else "right")
    for function, dtype in dict.fromkeys((r.function, r.dtype) for r in results):
        rows = [r for r in results if (r.function, r.dtype) == (function, dtype)]
        largest = max((r for r in rows if r.copy_share is not None), key=lambda r: r.size, default=None)
        kept = next((r for r in rows if r.kept is not None and r.peer == "torch"), None)
        share = "" if largest is None else f"{largest.copy_share:.2f} at {largest.size:,}"
        bits = ("", "") if kept is None else (f"{kept.kept:.3g}", f"{kept.peer_kept:.3g}")
        shown.add_row(function, dtype, share, *bits)
    return shown
