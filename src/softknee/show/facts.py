"""One activation on the terminal and in a notebook: formula, picture, facts, source."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape as escaped

import numpy as np
from rich.cells import cell_len
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from softknee import catalogue
from softknee.analysis import Facts, function_of
from softknee.catalogue import Definition, Parameter
from softknee.catalogue.definition import Choice
from softknee.lang.differentiate import derivative
from softknee.lang.latex import to_latex
from softknee.lang.nodes import Node, Number, rebuild, substitute
from softknee.lang.simplify import simplify
from softknee.show.braille import Canvas
from softknee.show.formula import set_lines
from softknee.show.language import ENGLISH, Reader
from softknee.show.window import samples, x_window, y_window
from softknee.show.words import Row, normal_rows, precision, shape_rows, signature

__all__ = ["html", "printed", "render"]

FIRST, SECOND = "#56B4E9", "#E69F00"  # f and f', in two of the Okabe-Ito colours
_PICTURE = (44, 17)
_WIDE = 104  # characters from which picture and facts stand side by side


class _Page:
    """Renders for the width it is given."""

    def __init__(self, definition: Definition, facts: Facts, reader: Reader) -> None:
        self.definition, self.facts, self.reader = definition, facts, reader

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        definition, facts, reader = self.definition, self.facts, self.reader
        yield Padding(_title(definition, facts, reader), (1, 0, 0, 2))
        yield Padding(Text(reader.word("use", definition.name, definition.use)), (0, 2, 1, 2))
        yield Padding(_formulas(printed(definition, facts.choices, facts.parameters)), (0, 2, 1, 4))
        picture, known = _picture(definition, facts), _facts(facts, reader)
        if options.max_width >= _WIDE:
            side = Table.grid(padding=(0, 3))
            side.add_row(picture, known)
            yield Padding(side, (0, 1, 0, 2))
        else:
            yield Padding(picture, (0, 0, 1, 2))
            yield Padding(known, (0, 1, 0, 2))
        yield Padding(_about(definition, reader), (1, 2, 1, 2))


def render(definition: Definition, facts: Facts, reader: Reader = ENGLISH) -> RenderableType:
    """What `softknee show` prints."""
    return _Page(definition, facts, reader)


def _title(definition: Definition, facts: Facts, reader: Reader) -> Text:
    title = Text(signature(definition, facts), style="bold")
    if name := reader.word("names", definition.name, ""):
        title.append(f"   {name}")
    title.append(f"   {reader.word('families', definition.family)}", style="dim")
    if definition.aliases:
        title.append(f"   {reader.label('also')} {', '.join(definition.aliases)}", style="dim")
    return title


def printed(definition: Definition, choices: Mapping[str, Choice], parameters: Mapping[str, Number]) -> Node:
    """The expression as it is printed: an infinite threshold, and the branch beyond it, left out."""
    expression = definition.chosen(choices)
    endless = {n: v for n, v in parameters.items() if math.isinf(v)}
    return simplify(rebuild(substitute(expression, endless), _within)) if endless else expression


def _within(node: Node) -> Node | None:
    if node.op == "where" and node.args[0].op in ("gt", "lt", "ge", "le"):
        bound = node.args[0].args[1]
        if bound.op == "number" and math.isinf(bound.payload):
            return node.args[1 if (bound.payload > 0) == (node.args[0].op in ("lt", "le")) else 2]
    return None


def _formulas(expression: Node) -> RenderableType:
    first = set_lines(to_latex(expression), "f(x)")
    second = set_lines(to_latex(derivative(expression, "x")), "f′(x)")
    parts: list[RenderableType] = [Text("\n".join(first), style=FIRST)]
    if len(second) > 1 or len(first) > 1:
        parts.append(Text(""))
    parts.append(Text("\n".join(second), style=SECOND))
    if len(first) > 1 and len(second) > 1:
        return Columns([parts[0], parts[2]], padding=(0, 6))
    return Group(*parts)


def _picture(definition: Definition, facts: Facts) -> Group:
    function = function_of(definition, facts.choices, **facts.parameters)
    x_range = x_window([facts])
    x = samples(x_range, facts.breaks, 6 * _PICTURE[0] + 1)
    f, slope = function.numpy(0, 1)(x)
    slope = np.where(np.isin(x, facts.breaks), np.nan, slope)
    f = np.where(np.isin(x, [k.place for k in facts.kinks if k.jump]), np.nan, f)
    canvas = Canvas(*_PICTURE, x_range, y_window([f, slope], x_range, room=0.03))
    canvas.curve(x, slope, SECOND)
    canvas.curve(x, f, FIRST)
    legend = Text("  ").append("━ f  ", style=FIRST).append("━ f′", style=SECOND)
    return Group(*canvas.lines(), Text(""), legend)


def _table(rows: Iterable[Row], least: int = 0) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True, min_width=least)
    table.add_column(overflow="fold")
    previous = ""
    for label, text in rows:
        table.add_row("" if label == previous else label, text)
        previous = label
    return table


def _facts(facts: Facts, reader: Reader) -> Group:
    shape, normal = (
        [(reader.word("labels", label, reader.phrases(label)), reader.phrases(text)) for label, text in rows]
        for rows in (shape_rows(facts), normal_rows(facts))
    )
    least = max(cell_len(label) for label, _ in (*shape, *normal))
    parts: list[RenderableType] = [_table(shape, least), Text("")]
    parts += [Text(reader.label("For a standard normal input z"), style="bold"), _table(normal, least)]
    parts += [Text(f"! {reader.phrases(remark)}", style="magenta") for remark in facts.remarks]
    parts.append(Text(reader.phrases(precision(facts)), style="dim"))
    return Group(*parts)


def _about(definition: Definition, reader: Reader) -> Table:
    said = reader.label
    rows: list[Row] = [
        (f"{said('parameter')} {p.name}", _parameter(p, reader)) for p in definition.parameters
    ]
    for name, values in definition.choices.items():
        chosen = ", ".join(map(str, values))
        rows.append((f"{said('choice')} {name}", f"{chosen} ({said('default')} {values[0]})"))
    if definition.reference:
        rows.append((said("reference"), str(definition.reference)))
    if definition.note:
        rows.append((said("note"), reader.word("notes", definition.name, definition.note)))
    names = f"softknee.functional.{definition.name}, softknee.nn.{definition.module}"
    rows.append((said("in softknee"), names))
    if definition.torch:
        rows.append((said("in torch"), f"torch.nn.functional.{definition.torch}"))
    return _table(rows)


def _parameter(parameter: Parameter, reader: Reader) -> str:
    default = parameter.default
    parts = [reader.label("must be given") if default is None else f"{float(default):.7g}"]
    if parameter.learnable:
        parts.append(reader.label("learnable"))
    if parameter.doc:
        parts.append(reader.word("parameters", parameter.doc))
    return "; ".join(parts)


# Notebooks


def html(facts: Facts) -> str:
    """Formula, facts and source as an HTML fragment; MathJax or KaTeX sets the formula."""
    try:
        definition: Definition | None = catalogue.get(facts.name)
    except KeyError:
        definition = None
    parts = [f"<h3>{escaped(signature(definition, facts) if definition else facts.name)}</h3>"]
    if definition:
        expression = printed(definition, facts.choices, facts.parameters)
        parts.append(f"<p>{escaped(definition.use)}</p>")
        parts.append(f"$$f(x) = {to_latex(expression)}$$")
        parts.append(f"$$f'(x) = {to_latex(derivative(expression, 'x'))}$$")
    parts.append(_html_table(shape_rows(facts), "Shape"))
    parts.append(_html_table(normal_rows(facts), "For a standard normal input, z ~ N(0, 1)"))
    parts += [f"<p><b>{escaped(remark)}</b></p>" for remark in facts.remarks]
    parts.append(f"<p><small>{escaped(precision(facts))}</small></p>")
    if definition and definition.reference:
        parts.append(f"<p>{escaped(str(definition.reference))}</p>")
    return '<div class="softknee-facts">' + "".join(parts) + "</div>"


def _html_table(rows: Iterable[Row], title: str) -> str:
    body = "".join(
        f'<tr><th style="text-align:left">{escaped(label)}</th><td style="text-align:left">{escaped(text)}</td></tr>'
        for label, text in rows
    )
    return f"<table><caption>{escaped(title)}</caption>{body}</table>"
