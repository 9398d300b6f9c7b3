"""`softknee compare` and `softknee data`."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from softknee.cli.common import console, numbers, plain_errors

__all__ = ["commands"]

commands = typer.Typer()


@commands.command(
    epilog='Example: softknee compare --data digits --activations "relu,gelu,elu(alpha=0.1..2)" --noise 0,0.5 --out DIR. '
    "Where an option takes several values or a range (0..1: five values; 0..1:9: nine), all combinations are run."
)
def compare(
    data: Annotated[
        str,
        typer.Option(
            help="Names (see `softknee data`), files, or module:function, with commas between them."
        ),
    ] = "digits",
    activations: Annotated[
        str | None,
        typer.Option(
            help="Which, with commas between them; swiglu, geglu and other gated units with --network gated_transformer.",
            show_default="a dozen well-known ones",
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="How many, or which: 0,1,2.")] = "10",
    lr: Annotated[
        str, typer.Option(help="Learning rates; of several, validation data choose.")
    ] = "0.001,0.003,0.01",
    network: Annotated[
        str | None,
        typer.Option(
            help="mlp, autoencoder, cnn, resnet, transformer (plain blocks), gated_transformer (f(gate) * up), gru, lstm, "
            "rnn, or module:function.",
            show_default="what fits the data",
        ),
    ] = None,
    depth: Annotated[
        str | None, typer.Option(help="Hidden layers or blocks.", show_default="2,12 for mlp, else 1 to 3")
    ] = None,
    width: Annotated[
        str | None, typer.Option(help="Units or channels in each.", show_default="64 for mlp, else 16 or 32")
    ] = None,
    epochs: Annotated[str, typer.Option(help="How often each sample is seen.")] = "15",
    batch_size: Annotated[str, typer.Option(help="Samples in a step.")] = "64",
    optimiser: Annotated[str, typer.Option(help="adam or sgd.")] = "adam",
    init: Annotated[
        str | None,
        typer.Option(
            help="own: the weights' scale that belongs to each; same: He's for all.", show_default="own"
        ),
    ] = None,
    noise: Annotated[str, typer.Option(help="Standard deviation of noise on the inputs.")] = "0",
    scale: Annotated[str, typer.Option(help="A factor on the inputs.")] = "1",
    bias: Annotated[str, typer.Option(help="Initial bias of the hidden layers.")] = "0",
    samples: Annotated[str, typer.Option(help="Training samples used; 0: all.")] = "0",
    weight_penalty: Annotated[str, typer.Option(help="Times the sum of squared weights.")] = "0",
    activation_penalty: Annotated[str, typer.Option(help="Times the mean square of the outputs.")] = "0",
    batch_norm: Annotated[str, typer.Option(help="off, on, or off,on.")] = "off",
    dropout: Annotated[str, typer.Option(help="Share of outputs dropped in training.")] = "0",
    layers: Annotated[
        str,
        typer.Option(
            help="Which have the activation: all, first, last, odd, even, 3, 2-5; the others: relu."
        ),
    ] = "all",
    patience: Annotated[
        str, typer.Option(help="Stop after so many epochs without a lower validation loss; 0: never.")
    ] = "0",
    kind: Annotated[
        str | None,
        typer.Option(help="classification, regression or multilabel.", show_default="what the data show"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A folder for the report and the runs; called again, it continues there."),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="postgresql://user@host/database keeps the runs there, for several machines."),
    ] = None,
    search: Annotated[
        str, typer.Option(help="grid: the rates of --lr; optuna: --trials rates between its ends.")
    ] = "grid",
    trials: Annotated[
        int | None,
        typer.Option(help="Learning rates that optuna tries for each activation.", show_default="6"),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Batches trained side by side.", show_default="threads")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="threads, joblib (processes of this machine) or ray (a cluster).",
            show_default="threads; joblib for a network of your own",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Of a Ray cluster: auto, or host:port.", show_default="one is started here"),
    ] = None,
    recommend: Annotated[
        bool, typer.Option("--recommend", help="Narrow the catalogue down to one, within --minutes.")
    ] = False,
    minutes: Annotated[
        float, typer.Option(help="The budget of --recommend: then it answers from what is finished.")
    ] = 10.0,
) -> None:
    """Compare activations in networks that differ in nothing else. Says which differences are real."""
    with plain_errors():
        began = time.monotonic()
        from softknee.show import comparison

        chosen: dict[str, Any] = {} if activations is None else {"activations": activations}
        run = partial(comparison.recommend, minutes=minutes, began=began) if recommend else comparison.compare
        result = run(
            data, **chosen, network=network, seeds=_seeds(seeds), depth=depth, width=width, epochs=epochs, lr=lr,
            batch_size=batch_size, optimiser=optimiser, init=init, noise=noise, scale=scale, bias=bias,
            samples=samples, weight_penalty=weight_penalty, activation_penalty=activation_penalty,
            batch_norm=batch_norm, dropout=dropout, layers=layers, patience=patience, kind=kind, out=out, store=store, search=search,
            trials=trials, jobs=jobs, backend=backend, address=address,
        )  # fmt: skip
        console().print(comparison.render(result))
        if recommend:
            result = result.evidence
        if out is not None and result is not None:
            try:
                typer.echo(result.save(out))
            except OSError as error:
                raise OSError(
                    f"the report cannot be written to {out} ({error.strerror}); make room there, and the same call "
                    "writes it"
                ) from None


@commands.command()
def data() -> None:
    """List the data sets that have a name, and how to get them."""
    with plain_errors():
        from softknee.show.comparison import sources

        console().print(sources())


def _seeds(text: str) -> int | list[int]:
    found = numbers(text, "--seeds", int)
    return found[0] if "," not in text else found
