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
    """Share of a copy's speed, what backward keeps, and the largest error of values."""
    size = max((r.size for r in results if r.copy_share is not None), default=None)
    at = (
        ""
        if size is None
        else f"share of a copy's speed at {size:,} elements, new and into memory that is there; "
    )
    shown = Table(
        title=f"{at}bits an element kept for backward; largest error in ULP over the whole range",
        title_justify="left",
    )
    for heading in ("", "type", "new", "into", "kept", "torch's", "error", "torch's"):
        shown.add_column(heading, justify="left" if heading in ("", "type") else "right")
    for function, dtype in dict.fromkeys((r.function, r.dtype) for r in results):
        rows = [r for r in results if (r.function, r.dtype) == (function, dtype)]
        largest = next((r for r in rows if r.size == size and r.copy_share is not None), None)
        kept = next((r for r in rows if r.kept is not None and r.peer == "torch"), None)
        exact = next((r for r in rows if r.ulp is not None and r.peer == "torch"), None)
        shares = (largest.copy_share, largest.into_share) if largest else (None, None)
        bits = (kept.kept, kept.peer_kept) if kept else (None, None)
        errors = (exact.ulp, exact.peer_ulp) if exact else (None, None)
        cells = [*(_figure(v, ".2f") for v in shares), *(_figure(v, ".3g") for v in (*bits, *errors))]
        shown.add_row(function, dtype, *cells)
    return shown


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
