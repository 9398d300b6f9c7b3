"""The catalogue as a table, by family, with filters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from softknee.analysis.summary import Summary, summaries
from softknee.catalogue import FAMILIES, Definition
from softknee.lang.latex import to_latex
from softknee.show.formula import one_line
from softknee.show.words import number

__all__ = ["Filter", "render", "select"]

_TITLES = ("name", "f(x)", "range", "", "class", "since")
_ARROWS = {"increasing": "↗", "decreasing": "↘", "constant": "→", None: "~"}


@dataclass(frozen=True)
class Filter:
    """What to list; None leaves a property open. words: all must occur in the name, an alias, the use, the note
    or the reference."""

    words: tuple[str, ...] = ()
    family: str | None = None
    monotone: bool | None = None
    smooth: bool | None = None
    bounded: bool | None = None
    learnable: bool | None = None
    torch: bool | None = None

    @property
    def asks_for_facts(self) -> bool:
        return not self.monotone is self.smooth is self.bounded is None


def select(definitions: Iterable[Definition], wanted: Filter, known: dict[str, Summary]) -> list[Definition]:
    """The definitions that pass; an unknown family is a ValueError that names the families."""
    if wanted.family is not None and not _families(wanted.family):
        raise ValueError(f"no family is called {wanted.family!r}; there are: {', '.join(FAMILIES)}")
    return [d for d in definitions if _passes(d, wanted, known.get(d.name))]


def _families(text: str) -> list[str]:
    return [f for f in FAMILIES if text.lower().replace("_", " ").replace("-", " ") in f.replace("-", " ")]


def _passes(definition: Definition, wanted: Filter, known: Summary | None) -> bool:
    about = " ".join(
        map(
            str,
            (
                definition.name,
                *definition.aliases,
                definition.family,
                definition.use,
                definition.note,
                definition.reference,
            ),
        )
    )
    tests: list[tuple[bool | None, bool]] = [
        (wanted.learnable, bool(definition.learnable)),
        (wanted.torch, definition.torch is not None),
    ]
    if known:
        tests += [
            (wanted.monotone, known.direction is not None),
            (wanted.smooth, known.smooth),
            (wanted.bounded, known.bounded),
        ]
    return (
        all(word.lower() in about.lower() for word in wanted.words)
        and (wanted.family is None or definition.family in _families(wanted.family))
        and all(asked is None or asked == has for asked, has in tests)
    )


def render(definitions: list[Definition], known: dict[str, Summary]) -> RenderableType:
    """A table for each family below what the family is; their columns stand below each other."""
    rows = {d.name: _row(d, known[d.name]) for d in definitions}
    widths = [max(map(cell_len, map(str, column))) for column in zip(_TITLES, *rows.values(), strict=True)]

    def table(*shown: tuple[RenderableType, ...], style: str = "") -> Table:
        made = Table(box=None, show_header=False, pad_edge=False, expand=True)
        for title, width in zip(_TITLES, widths, strict=True):
            if title == "f(x)":
                made.add_column(ratio=1)
            else:
                made.add_column(no_wrap=True, min_width=width)
        for row in shown:
            made.add_row(*row, style=style)
        return made

    parts: list[RenderableType] = [table(_TITLES, style="bold")]
    for family in dict.fromkeys((*FAMILIES, *(d.family for d in definitions))):
        members = [rows[d.name] for d in definitions if d.family == family]
        if members:
            about = Text(f"\n{family}", style="bold #56B4E9").append(
                f"  {FAMILIES.get(family, '')}", style="not bold dim"
            )
            parts += [about, table(*members)]
    count = f"{len(definitions)} activation{'s' * (len(definitions) != 1)}"
    legend = (
        f"\n{count}. ↗ increasing, ↘ decreasing, ~ neither; C0 has kinks, C1 a jump in f″, C∞ is smooth; "
        "● has learnable parameters; t is in torch.nn. Ranges are for default parameters. More: softknee show NAME"
    )
    return Group(*parts, Text(legend, style="dim"))


def _row(d: Definition, known: Summary) -> tuple[RenderableType, ...]:
    formula = re.sub(r"(\d\.\d{4})\d{4,}", r"\1…", one_line(to_latex(d.chosen({}))))
    ends = f"{'[' if known.low_closed else '('}{number(known.low, 3)}, {number(known.high, 3)}{']' if known.high_closed else ')'}"
    marks = Text(_ARROWS[known.direction])
    marks.append(" ●" if d.learnable else "  ", style="#E69F00").append(
        " t" if d.torch else "  ", style="dim"
    )
    smooth = {"discontinuous": "jumps"}.get(known.smoothness, known.smoothness)
    return (
        Text(d.name, style="bold"),
        formula,
        ends,
        marks,
        smooth,
        str(d.reference.year) if d.reference else "",
    )


def show(console: Console, definitions: Iterable[Definition], wanted: Filter) -> int:
    """Prints what passes and returns how many that are; says on standard error when facts must be computed first."""
    every = list(definitions)
    with Console(stderr=True).status("") as status:
        known = summaries(
            every,
            lambda done, total: status.update(f"working out the facts of {total} activations, once: {done}"),
        )
    chosen = select(every, wanted, known)
    if chosen:
        console.print(render(chosen, known))
    return len(chosen)
