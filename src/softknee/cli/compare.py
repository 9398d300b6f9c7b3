"""`softknee compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from softknee.cli.common import console, numbers, plain_errors

__all__ = ["commands"]

commands = typer.Typer()


@commands.command(
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
    with plain_errors():
        from softknee.show.comparison import compare as run
        from softknee.show.comparison import render

        chosen: dict[str, Any] = {} if activations is None else {"activations": activations}
        result = run(
            data, **chosen, seeds=_seeds(seeds), depth=numbers(depth, "--depth", int), width=width, epochs=epochs,
            lr=numbers(lr, "--lr", float), batch_size=batch_size, init=init, out=out, jobs=jobs,
        )  # fmt: skip
        console().print(render(result))
        if out is not None:
            typer.echo(result.save_html(out / "report.html"))


def _seeds(text: str) -> int | list[int]:
    found = numbers(text, "--seeds", int)
    return found[0] if "," not in text else found
