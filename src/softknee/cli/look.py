"""Look at activations: `softknee list | show | source | plot | animate | gallery`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softknee.cli.common import assignment, console, given, pair, plain_errors, progress

if TYPE_CHECKING:
    from softknee.api import Activation

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
    language: Annotated[str, typer.Option(help="en, ru, zh or ko: names, uses, labels.")] = "en",
) -> None:
    """Show an activation: formula, picture, facts, source, its use."""
    with plain_errors():
        from softknee.show.facts import render
        from softknee.show.language import reader

        for activation, settings in [given(name) for name in names]:
            console().print(render(activation.definition, activation.facts(**settings), reader(language)))


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
    vary: Annotated[
        str | None, typer.Option(help="One activation for several values of a parameter: beta=0.5,1,2.")
    ] = None,
    asymptotes: Annotated[bool, typer.Option("--asymptotes", help="The lines that are approached.")] = False,
    saturation: Annotated[
        bool, typer.Option("--saturation", help="Shade where the slope is below 1/100 of the steepest.")
    ] = False,
    error: Annotated[bool, typer.Option("--error", help="The distance to the first instead.")] = False,
    ulp: Annotated[
        str | None, typer.Option(help="The measured error in this type instead, e.g. float32.")
    ] = None,
    language: Annotated[str, typer.Option(help="en, ru, zh or ko.")] = "en",
) -> None:
    """Draw activations and their derivatives, for a paper or a slide."""
    with plain_errors():
        from softknee.show import plot as drawing
        from softknee.show.language import reader

        chosen = [given(name) for name in names]
        path = out or Path("-".join(a.name for a, _ in chosen) + ".png")
        x_range, look = pair(x, "--x"), {"size": size, "style": "dark" if dark else "light"}
        look |= {"title": title, "language": language}
        if sum((vary is not None, error, ulp is not None)) > 1:
            raise ValueError("--vary, --error and --ulp are three different pictures: give one of them")
        if (error or ulp is not None) and (asymptotes or saturation or y is not None):
            raise ValueError(
                "--asymptotes, --saturation and --y are for pictures of functions, not of errors"
            )
        if ulp is not None:
            made = drawing.ulp_figure(_measured(chosen, ulp, x_range or (-10.0, 10.0)), dtype=ulp, **look)
        elif error:
            curves = [drawing.curve(a.definition, **settings) for a, settings in chosen]
            made = drawing.error_figure(curves, derivative=derivative, x=x_range, **look)
        else:
            if vary is None:
                curves = [drawing.curve(a.definition, **settings) for a, settings in chosen]
            else:
                (activation, settings), *more = chosen
                if more:
                    raise ValueError("--vary draws one activation for several values: name one")
                parameter, values = assignment(vary, "--vary")
                curves = drawing.family(activation.definition, parameter, values, **settings)
                look["title"] = title or reader(language).curve(activation.name)
            made = drawing.figure(
                curves, derivative=derivative, x=x_range, y=pair(y, "--y"), asymptotes=asymptotes,
                saturation=saturation, ordered=vary is not None, **look,
            )  # fmt: skip
        drawing.save(made, path)
        typer.echo(path)


def _measured(
    chosen: list[tuple[Activation, dict[str, Any]]], dtype: str, x: tuple[float, float]
) -> list[Any]:
    """softknee's errors for each, and torch's where it has the function and nothing is set."""
    from softknee.show.plot import Errors
    from softknee.testing.measure import ulp_errors

    found = []
    for activation, settings in chosen:
        peers = ["softknee", *(["torch"] if activation.definition.torch and not settings else [])]
        for peer in peers:
            at, ulps = ulp_errors(activation.definition, dtype, x, peer=peer, **settings)
            found.append(Errors(peer if len(chosen) == 1 else f"{peer}, {activation.name}", at, ulps))
    return found


@commands.command(epilog="Example: softknee animate swish --vary beta=0,10 --out swish.gif")
def animate(
    name: Annotated[str, typer.Argument(help="The activation.")],
    vary: Annotated[str, typer.Option(help="The parameter and its two ends: beta=0,10.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A .gif, or an .mp4 with ffmpeg.", show_default="NAME.gif"),
    ] = None,
    frames: Annotated[int, typer.Option(min=2, max=500, help="Pictures from one end to the other.")] = 50,
    logarithmic: Annotated[bool, typer.Option("--log", help="Equal factors instead of equal steps.")] = False,
    x: Annotated[str, typer.Option(help="The range of x.")] = "-4,4",
    size: Annotated[str, typer.Option(help="wide or slide.")] = "wide",
    dark: Annotated[bool, typer.Option("--dark", help="For a dark background.")] = False,
    language: Annotated[str, typer.Option(help="en, ru, zh or ko.")] = "en",
) -> None:
    """Animate an activation while a parameter runs there and back. Its derivative stands beside it."""
    with plain_errors():
        from softknee.show.animate import animate as write
        from softknee.show.animate import sweep

        activation, settings = given(name)
        parameter, ends = assignment(vary, "--vary")
        if len(ends) != 2:
            raise ValueError(f"--vary takes the two ends of one parameter, e.g. beta=0,10; got {vary!r}")
        path = out or Path(f"{activation.name}.gif")
        x_range = pair(x, "--x")
        assert x_range is not None
        write(
            activation.definition, parameter, sweep(*ends, frames, logarithmic=logarithmic), path, x=x_range,
            size=size, style="dark" if dark else "light", language=language, tell=progress("drawing frames"),
            **settings,
        )  # fmt: skip
        typer.echo(path)


@commands.command(epilog="Example: softknee gallery --dark --out gallery.pdf")
def gallery(
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG, SVG or PDF, by its extension.")] = Path(
        "gallery.png"
    ),
    columns: Annotated[int, typer.Option(min=1, max=40, help="Pictures in a row.")] = 10,
    dark: Annotated[bool, typer.Option("--dark", help="For a dark background.")] = False,
    language: Annotated[str, typer.Option(help="en, ru, zh or ko.")] = "en",
) -> None:
    """Draw the whole catalogue in one picture."""
    with plain_errors():
        from softknee import catalogue
        from softknee.show.gallery import gallery as draw
        from softknee.show.plot import save

        made = draw(
            catalogue.all_definitions(), style="dark" if dark else "light", columns=columns, language=language,
            tell=progress("drawing functions"),
        )  # fmt: skip
        save(made, out)
        typer.echo(out)
