"""Look at activations: `softknee list | show | source | plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from softknee.cli.common import console, given, pair, plain_errors

__all__ = ["commands"]

commands = typer.Typer()


@commands.command("list", epilog="Example: softknee list --smooth --no-monotone transformers")
def list_(
    words: Annotated[
        list[str] | None, typer.Argument(help="Only those that mention all of these words.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="Only this family, e.g. gated.")] = None,
    monotone: Annotated[
        bool | None, typer.Option("--monotone/--no-monotone", help="Monotone or not.")
    ] = None,
    smooth: Annotated[
        bool | None, typer.Option("--smooth/--no-smooth", help="Infinitely smooth or not.")
    ] = None,
    bounded: Annotated[
        bool | None, typer.Option("--bounded/--no-bounded", help="With bounded range or not.")
    ] = None,
    learnable: Annotated[
        bool | None, typer.Option("--learnable/--no-learnable", help="With learnable parameters or not.")
    ] = None,
    torch: Annotated[bool | None, typer.Option("--torch/--no-torch", help="In torch.nn or not.")] = None,
) -> None:
    """List the catalogue by family, with formula, range and year."""
    with plain_errors():
        from softknee import catalogue
        from softknee.show.listing import Filter, show

        wanted = Filter(tuple(words or ()), family, monotone, smooth, bounded, learnable, torch)
        if not show(console(), catalogue.all_definitions(), wanted):
            typer.echo("softknee: no activation is like that", err=True)
            raise typer.Exit(1)


@commands.command(epilog='Example: softknee show "elu(alpha=0.5)"')
def show(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="One activation or several.")],
) -> None:
    """Show what an activation is: formula, picture, facts, source, when to use it."""
    with plain_errors():
        from softknee.show.facts import render

        for activation, settings in [given(name) for name in names]:
            console().print(render(activation.definition, activation.facts(**settings)))


@commands.command(epilog="Example: softknee source mish --backend cpu --order 1")
def source(
    name: Annotated[str, typer.Argument(help="The activation.")],
    backend: Annotated[
        str, typer.Option(help="cpu: LLVM IR; assembly: the processor's instructions; gpu: Triton.")
    ] = "cpu",
    order: Annotated[
        int, typer.Option(min=0, max=9, help="0: the function; 1: its derivative; and so on.")
    ] = 0,
    dtype: Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")] = "float32",
) -> None:
    """Print the code that runs."""
    with plain_errors():
        activation, settings = given(name)
        typer.echo(activation.source(backend=backend, order=order, dtype=dtype, **settings))


@commands.command(epilog="Example: softknee plot gelu silu mish --derivative --out gated.pdf")
def plot(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="What to draw, overlaid.")],
    derivative: Annotated[bool, typer.Option("--derivative", "-d", help="The derivative too.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="PNG, SVG or PDF, by its extension.", show_default="NAMES.png"),
    ] = None,
    x: Annotated[str | None, typer.Option(help="The range of x, e.g. -6,6.")] = None,
    y: Annotated[str | None, typer.Option(help="The range of f(x).")] = None,
    size: Annotated[str, typer.Option(help="paper, wide or slide.")] = "paper",
    dark: Annotated[bool, typer.Option("--dark", help="For a dark background.")] = False,
    title: Annotated[str | None, typer.Option(help="A title above it.")] = None,
) -> None:
    """Draw activations and their derivatives, for a paper or a slide."""
    with plain_errors():
        from softknee.show.plot import curve, figure, save

        curves = [curve(a.definition, **settings) for a, settings in [given(name) for name in names]]
        path = out or Path("-".join(c.function.name for c in curves) + ".png")
        made = figure(
            curves, derivative=derivative, x=pair(x, "--x"), y=pair(y, "--y"), size=size,
            style="dark" if dark else "light", title=title,
        )  # fmt: skip
        save(made, path)
        typer.echo(path)
