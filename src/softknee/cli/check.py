"""`softknee check | rule`."""

from __future__ import annotations

import pickle
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from softknee.cli.common import console, plain_errors

__all__ = ["commands"]

commands = typer.Typer()
FORMATS = ("terminal", "json", "sarif", "html")
SAMPLES = 8192  # what a file or a built-in set is cut to


@commands.command(epilog="Example: softknee check mymodel.py:build --data digits --loss cross_entropy")
def check(
    target: Annotated[str, typer.Argument(help="module:callable or file.py:callable that returns a model.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, breast_cancer, wine, iris; a file ending in .npz, .csv or .pt; or module:callable.",
            show_default="standard normal input",
        ),
    ] = None,
    loss: Annotated[
        str | None, typer.Option(help="Its name in torch.nn.functional, or module:callable.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="module:callable that takes the model and returns the optimiser.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...", show_default="the model's")] = None,
    select: Annotated[str, typer.Option(help="Only these rules, with commas between them.")] = "",
    ignore: Annotated[str, typer.Option(help="Without these rules.")] = "",
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair a copy where that is safe; before and after.")
    ] = False,
    format: Annotated[
        str, typer.Option("--format", "-f", help="terminal, json, sarif or html.")
    ] = "terminal",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file instead of standard output.")
    ] = None,
    evaluate: Annotated[bool, typer.Option("--eval", help="Run the model in evaluation mode.")] = False,
) -> None:
    """Say why a model does not learn. Exit status: 0 healthy, 1 errors or warnings, 2 not run."""
    with plain_errors():
        if format not in FORMATS:
            raise ValueError(f"--format is one of {', '.join(FORMATS)}, got {format!r}")
        with redirect_stdout(sys.stderr):  # what the model prints is no part of the report
            report = _report(target, data, loss, optimizer, device, select, ignore, fix, evaluate)
        text = _text(report, format, target)
        if out is not None:
            typer.echo(report.save(out, text))
        elif format == "terminal":
            from softknee.show.diagnosis import render

            console().print(render(report))
        else:
            typer.echo(text)
        status = report.exit_status
    raise typer.Exit(status)


def _report(
    target: str, data: str | None, loss: str | None, optimizer: str | None, device: str | None, select: str,
    ignore: str, fix: bool, evaluate: bool,
) -> Any:  # fmt: skip
    from softknee.diagnose.data import called, imported, model_of
    from softknee.diagnose.session import check as run

    model = model_of(target)
    if device is not None:
        called(model.to, f"moving the model to {device}", device)
    if evaluate:
        model.eval()
    made = None
    if optimizer is not None:
        made = called(imported(optimizer, "the optimiser"), optimizer, model)
        if made is None:
            raise ValueError(f"{optimizer} returned None, not an optimiser")
    return run(
        model, None if data is None else _data(data, model), loss, optimizer=made, select=_words(select),
        ignore=_words(ignore), fix=fix,
    )  # fmt: skip


def _text(report: Any, format: str, target: str) -> str:
    if format == "json":
        return report.to_json()  # type: ignore[no-any-return]
    if format == "sarif":
        from softknee.show.diagnosis import sarif

        file = target.rpartition(":")[0]
        return sarif(report, file if file.endswith(".py") else "")
    if format == "html":
        from softknee.show.diagnosis_html import html

        return html(report)
    return f"{report}\n"


def _words(text: str) -> tuple[str, ...]:
    return tuple(w.strip() for w in text.split(",") if w.strip())


def _data(text: str, model: Any) -> Any:
    """A built-in set or a file as one batch: inputs as they are, labels as class numbers, shuffled."""
    import torch

    from softknee.diagnose.data import called, imported
    from softknee.diagnose.errors import CheckError

    path = Path(text)
    if path.suffix in (".pt", ".pth"):
        try:
            return torch.load(path, weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise CheckError(f"{text} cannot be read as a batch: {error}") from None
    if ":" in text and path.suffix not in (".npz", ".csv"):
        found = imported(text, "the data")
        made = called(found, text) if callable(found) and not isinstance(found, torch.Tensor) else found
        if made is None:
            raise CheckError(f"{text} returned None, not data")
        return made
    import numpy as np

    from softknee.compare.data import load

    task = load(text)
    order = np.random.default_rng(0).permutation(len(task.targets))[:SAMPLES]
    inputs, targets = torch.from_numpy(task.inputs[order]), torch.from_numpy(task.targets[order])
    if task.shape and _convolves(model):
        inputs = inputs.reshape(len(inputs), *task.shape)
    return tuple(t.float() if t.is_floating_point() else t for t in (inputs, targets))


def _convolves(model: Any) -> bool:
    """Its first layer with weights is a convolution, which takes images, not rows."""
    first = next((p for p in model.parameters() if p.dim() > 1), None)
    return first is not None and first.dim() > 2


@commands.command(epilog="Example: softknee rule dead-units")
def rule(
    name: Annotated[
        str | None, typer.Argument(help="Its name or code.", show_default="all, as a list")
    ] = None,
) -> None:
    """Explain a rule of `softknee check`. With an example that fails and its repair."""
    with plain_errors():
        from softknee.diagnose.rules import find
        from softknee.show.diagnosis import render_rule, render_rules

        console().print(render_rules() if name is None else render_rule(find(name)))
