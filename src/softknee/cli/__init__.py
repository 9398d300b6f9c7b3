"""The command line: one file for each group of commands, joined here."""

from __future__ import annotations

from typing import Annotated

import typer

import softknee
from softknee.cli import bench, check, claims, compare, explore, look

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Activation functions: see them, know them, compare them; and what is wrong with a network.",
    epilog='Name an activation with its parameters like this: "elu(alpha=0.5)", "gelu(approximate=tanh)".',
)


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


for _group in (look, check, compare, claims, bench, explore):
    app.add_typer(_group.commands)
