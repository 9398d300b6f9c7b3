"""The command line: `softknee list | show | source | plot | compare`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import softknee

if TYPE_CHECKING:
    from rich.console import Console

    from softknee.api import Activation

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Activation functions: see them, know them, compare them.",
    epilog='Name an activation with its parameters like this: "elu(alpha=0.5)", "gelu(approximate=tanh)".',
)


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """What the user can mend is one line on standard error and exit status 2."""
    try:
        yield
    except (KeyError, ValueError, TypeError, OSError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        typer.echo(f"softknee: {text}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("softknee: stopped", err=True)
        raise typer.Exit(130) from None


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def _given(text: str) -> tuple[Activation, dict[str, Any]]:
    """`elu(alpha=0.5)` as the activation and its settings."""
    from softknee.api import get
    from softknee.compare.specification import parse

    found = parse(text)
    if len(found) != 1:
        raise ValueError(f"one activation, please: {text!r} names {len(found)}")
    return get(found[0].name), dict(found[0].settings)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"softknee {softknee.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command("list", epilog="Example: softknee list --smooth --no-monotone transformers")
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
    with _plain_errors():
        from softknee import catalogue
        from softknee.show.listing import Filter, show

        wanted = Filter(tuple(words or ()), family, monotone, smooth, bounded, learnable, torch)
        if not show(_console(), catalogue.all_definitions(), wanted):
            typer.echo("softknee: no activation is like that", err=True)
            raise typer.Exit(1)


@app.command(epilog='Example: softknee show "elu(alpha=0.5)"')
def show(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="One activation or several.")],
) -> None:
    """Show what an activation is: formula, picture, facts, source, when to use it."""
    with _plain_errors():
        from softknee.show.facts import render

        for activation, settings in [_given(name) for name in names]:
            _console().print(render(activation.definition, activation.facts(**settings)))


@app.command(epilog="Example: softknee source mish --backend cpu --order 1")
def source(
    name: Annotated[str, typer.Argument(help="The activation.")],
    backend: Annotated[
        str, typer.Option(help="cpu: LLVM IR; assembly: the processor's instructions.")
    ] = "cpu",
    order: Annotated[
        int, typer.Option(min=0, max=9, help="0: the function; 1: its derivative; and so on.")
    ] = 0,
    dtype: Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")] = "float32",
) -> None:
    """Print the code that runs."""
    with _plain_errors():
        activation, settings = _given(name)
        typer.echo(activation.source(backend=backend, order=order, dtype=dtype, **settings))


@app.command(epilog="Example: softknee plot gelu silu mish --derivative --out gated.pdf")
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
    with _plain_errors():
        from softknee.show.plot import curve, figure, save

        curves = [curve(a.definition, **settings) for a, settings in [_given(name) for name in names]]
        path = out or Path("-".join(c.function.name for c in curves) + ".png")
        made = figure(
            curves, derivative=derivative, x=_pair(x, "--x"), y=_pair(y, "--y"), size=size,
            style="dark" if dark else "light", title=title,
        )  # fmt: skip
        save(made, path)
        typer.echo(path)


def _pair(text: str | None, option: str) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"{option} takes two numbers with a comma between them, got {text!r}") from None
    return low, high


@app.command(
    epilog='Example: softknee compare --data digits --activations "relu,gelu,leaky_relu(negative_slope=0.3)" --out DIR'
)
def compare(
    data: Annotated[
        str, typer.Option(help="digits, breast_cancer, wine, iris, or a file ending in .npz or .csv.")
    ] = "digits",
    activations: Annotated[
        str | None,
        typer.Option(help="Which, with commas between them.", show_default="a dozen well-known ones"),
    ] = None,
    seeds: Annotated[str, typer.Option(help="How many, or which: 0,1,2.")] = "10",
    depth: Annotated[str, typer.Option(help="Numbers of hidden layers.")] = "2,12",
    width: Annotated[int, typer.Option(help="Units in each.")] = 64,
    epochs: Annotated[int, typer.Option(help="How often each sample is seen.")] = 15,
    lr: Annotated[
        str, typer.Option(help="Adam's learning rate; of several, validation data choose.")
    ] = "0.003",
    batch_size: Annotated[int, typer.Option(help="Samples in a step.")] = 64,
    init: Annotated[
        str, typer.Option(help="own: the weights' scale that belongs to each; same: He's for all.")
    ] = "own",
    out: Annotated[
        Path | None,
        typer.Option(help="A folder for the report and the runs; called again, it continues there."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Batches trained side by side.", show_default="threads")
    ] = None,
) -> None:
    """Train networks that differ in the activation alone, and say which differences are real."""
    with _plain_errors():
        from softknee.show.comparison import compare as run
        from softknee.show.comparison import render

        chosen: dict[str, Any] = {} if activations is None else {"activations": activations}
        result = run(
            data, **chosen, seeds=_seeds(seeds), depth=_numbers(depth, "--depth", int), width=width, epochs=epochs,
            lr=_numbers(lr, "--lr", float), batch_size=batch_size, init=init, out=out, jobs=jobs,
        )  # fmt: skip
        _console().print(render(result))
        if out is not None:
            typer.echo(result.save_html(out / "report.html"))


def _seeds(text: str) -> int | list[int]:
    found = _numbers(text, "--seeds", int)
    return found[0] if "," not in text else found


def _numbers(text: str, option: str, kind: type[Any]) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",") if part.strip()] or [kind(text)]
    except ValueError:
        raise ValueError(f"{option} takes numbers with commas between them, got {text!r}") from None


if __name__ == "__main__":
    sys.exit(app())
