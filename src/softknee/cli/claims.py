"""`softknee claims`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from softknee.cli.common import console, plain_errors

__all__ = ["commands"]

commands = typer.Typer()
_ledger = typer.Typer(help="What is commonly taught of activation functions, measured.")
commands.add_typer(_ledger, name="claims")


@_ledger.callback(invoke_without_command=True, epilog="Example: softknee claims run dead-from-negative-bias")
def list_(context: typer.Context) -> None:
    """List the claims with their verdicts; show one, run one, run them all."""
    if context.invoked_subcommand is None:
        with plain_errors():
            from softknee.claims import entries, records
            from softknee.show.claims import listing

            console().print(listing(entries(), records()))


@_ledger.command(epilog="Example: softknee claims show exact-gelu-is-fast")
def show(name: Annotated[str, typer.Argument(help="The claim.")]) -> None:
    """Print the recorded result of one claim."""
    with plain_errors():
        from softknee.claims import records
        from softknee.show.claims import page

        found = records()
        console().print(page(found[_known(name, list(found))]))


@_ledger.command(epilog="Example: softknee claims run --all --jobs 2")
def run(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Which.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    out: Annotated[
        Path, typer.Option(help="Keeps what is finished: called again, it continues there.")
    ] = Path("runs/claims"),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Side by side, each on one core.", show_default="one a core")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what is finished, too.")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="Make the results the recorded ones, contradictions too.")
    ] = False,
) -> None:
    """Measure claims again; exit status 1 where a verdict contradicts the recorded one, or a script fails."""
    with plain_errors():
        from softknee.claims import Record, entries, records, run_all
        from softknee.claims.record import save
        from softknee.show.claims import page, verdict

        known = {e.name: e for e in entries()}
        if not names and not all_:
            raise ValueError("name a claim, or ask for --all; `softknee claims` lists them")
        wanted = list(known.values()) if all_ else [known[_known(n, list(known))] for n in names or ()]
        if again:
            for one in wanted:
                (out / f"{one.name}.json").unlink(missing_ok=True)
        screen, recorded, bad = console(), records(), []

        def tell(one, result, done, total):  # type: ignore[no-untyped-def]
            failed = not isinstance(result, Record)
            text = (
                f"[red]failed:[/] {result}" if failed else f"{verdict(result).markup}, {result.seconds:.0f} s"
            )
            screen.print(f"[{done}/{total}] {one.name}: {text}", soft_wrap=True)
            differs = [] if failed or one.name not in recorded else result.contradictions(recorded[one.name])
            bad.extend([f"{one.name} failed: {result}"] if failed else [f"{one.name}: {d}" for d in differs])

        found = run_all(wanted, out, jobs or os.cpu_count() or 1, tell)
        for result in found.values():
            if isinstance(result, Record):
                if len(found) == 1:
                    screen.print(page(result))
                if record:
                    save(result)
        for text in bad:
            screen.print(f"[red]contradiction[/] {text}" if " failed: " not in text else f"[red]{text}[/]")
        if bad:
            raise typer.Exit(1)


def _known(name: str, names: list[str]) -> str:
    import difflib

    plain = name.lower().replace("_", "-").removesuffix(".py")
    if plain in names:
        return plain
    near = difflib.get_close_matches(plain, names, 3, 0.3)
    raise KeyError(f"no claim is called {name!r}" + (f"; nearest: {', '.join(near)}" if near else ""))
