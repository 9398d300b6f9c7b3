"""`softknee explore`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from softknee.cli.common import given, plain_errors, progress

__all__ = ["commands"]

commands = typer.Typer()


@commands.command(epilog='Example: softknee explore gelu "swish(beta=2)"')
def explore(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="What to begin with.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("explorer.html"),
    browse: Annotated[bool, typer.Option("--open/--no-open", help="Show it in the browser.")] = True,
) -> None:
    """Write the explorer, one page that needs no network, and open it.

    Overlay functions, turn their parameters, read values off, compare approximations, see what depth makes of a
    signal, try a formula of your own.
    """
    with plain_errors():
        from softknee.explorer import write

        fragment = _fragment(names or [])
        path = write(out, progress("computing facts"))
        address = path.resolve().as_uri() + fragment
        typer.echo(address if fragment else path)
        if browse and _has_window():
            import webbrowser

            webbrowser.open(address)


def _fragment(names: list[str]) -> str:
    """The part of the address that says what is shown: #f=gelu;swish(beta=2.0)"""
    from softknee.analysis import facts

    shown = []
    for activation, settings in map(given, names):
        facts(activation.definition, **settings)  # names what is wrong with the settings
        values = ",".join(f"{name}={value}" for name, value in settings.items())
        shown.append(f"{activation.name}({values})" if values else activation.name)
    return f"#f={';'.join(shown)}" if shown else ""


def _has_window() -> bool:
    """Whether a browser would open in a window, not in this terminal."""
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
