"""What the commands share."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from softknee.api import Activation

__all__ = ["assignment", "console", "given", "numbers", "pair", "plain_errors", "progress"]


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """What the user can mend is one line on standard error and exit status 2; a warning is one line, too."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: typer.echo(f"softknee: {message}", err=True)
            yield
    except (KeyError, ValueError, TypeError, OSError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        typer.echo(f"softknee: {text}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt as error:
        typer.echo(f"softknee: {str(error) or 'stopped'}", err=True)
        raise typer.Exit(130) from None


def console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def given(text: str) -> tuple[Activation, dict[str, Any]]:
    """`elu(alpha=0.5)` as the activation and its settings."""
    from softknee.api import get
    from softknee.compare.specification import parse

    found = parse(text)
    if len(found) != 1:
        raise ValueError(f"one activation, please: {text!r} names {len(found)}")
    return get(found[0].name), dict(found[0].settings)


def pair(text: str | None, option: str) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        raise ValueError(f"{option} takes two numbers with a comma between them, got {text!r}") from None
    return low, high


def numbers(text: str, option: str, kind: type[Any]) -> list[Any]:
    try:
        return [kind(part) for part in text.split(",") if part.strip()] or [kind(text)]
    except ValueError:
        raise ValueError(f"{option} takes numbers with commas between them, got {text!r}") from None


def assignment(text: str, option: str) -> tuple[str, list[float]]:
    """`beta=0.5,1` as the parameter's name and the numbers."""
    name, sign, values = text.partition("=")
    if not sign or not name.strip():
        raise ValueError(f"{option} takes a parameter and its values, e.g. beta=0.5,1,2; got {text!r}")
    if not values.strip():
        raise ValueError(f"{option} {text} gives no value: name some, e.g. {option} {name.strip()}=0.5,1,2")
    return name.strip(), numbers(values, option, float)


def progress(what: str) -> Callable[[int, int], None]:
    """Says how far it is, on a terminal's standard error."""

    def tell(done: int, total: int) -> None:
        if sys.stderr.isatty():
            text = f"{what}: {done + 1} of {total}"
            typer.echo("\r" + (text if done + 1 < total else " " * len(text) + "\r"), nl=False, err=True)

    return tell
