"""`softknee bench`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from softknee.cli.common import console, given, numbers, plain_errors

__all__ = ["commands"]

commands = typer.Typer()


@commands.command(epilog="Example: softknee bench gelu mish --sizes 65536 --peers torch,torch.compile")
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Which.", show_default="those that torch has"),
    ] = None,
    sizes: Annotated[str, typer.Option(help="Numbers of elements.")] = "4096,65536,1048576,8388608",
    dtypes: Annotated[str, typer.Option(help="float32, bfloat16, float16, float64.")] = "float32,bfloat16",
    passes: Annotated[
        str, typer.Option(help="forward, forward+backward or both.")
    ] = "forward,forward+backward",
    peers: Annotated[
        str,
        typer.Option(help="torch, torch.compile, transformers, timm, torch-activation: those installed."),
    ] = "torch",
    backend: Annotated[str, typer.Option(help="cpu or gpu: which kernels, and tensors where.")] = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Threads.", show_default="torch's")] = None,
    repetitions: Annotated[int, typer.Option(min=2, help="How often each is timed.")] = 15,
    seconds: Annotated[float, typer.Option(min=0.0, help="The least a repetition lasts.")] = 0.01,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A file for the figures, one JSON line each.")
    ] = None,
) -> None:
    """Measure how fast activations are here, beside torch's. Other libraries' are measured, too."""
    with plain_errors():
        import json
        from dataclasses import asdict

        import torch
        from rich.console import Console
        from rich.progress import track

        from softknee import bench as measuring
        from softknee.nn.gpu import missing
        from softknee.show.bench import means, summary, table

        chosen = [given(name) for name in names or measuring.usual()]
        counts = numbers(sizes, "--sizes", int)
        types, kinds = dtypes.split(","), passes.split(",")
        for asked, known, option in (
            (types, measuring.DTYPES, "--dtypes"),
            (kinds, measuring.PASSES, "--passes"),
        ):
            for value in asked:
                if value not in known:
                    raise ValueError(f"{option} takes some of {', '.join(known)}, got {value!r}")
        if backend not in ("cpu", "gpu"):
            raise ValueError(f"--backend is cpu or gpu, got {backend!r}")
        if backend == "gpu" and (reason := missing()):
            raise ValueError(f"--backend gpu cannot run here: {reason}")
        device = "cuda" if backend == "gpu" else "cpu"
        if min(counts) < 1:
            raise ValueError(f"--sizes takes positive numbers, got {sizes!r}")
        present, absent = measuring.available([p.strip() for p in peers.split(",")])
        for peer, why in absent.items():
            typer.echo(f"softknee: {peer} is left out: {why}", err=True)
        if not present:
            raise ValueError(f"there is nobody to compare with: --peers {peers}")
        if threads is not None:
            torch.set_num_threads(threads)
        cases = list(measuring.cases([(a.name, arguments) for a, arguments in chosen], counts, types, kinds))
        found: list[list[measuring.Measurement]] = []
        stopped = False

        def measured(place: int) -> list[measuring.Measurement]:
            return measuring.measure(
                *cases[place], peers=present, repetitions=repetitions, seconds=seconds, device=device
            )

        progress = partial(track, console=Console(stderr=True), transient=True)
        try:
            for place in progress(range(len(cases)), "Measuring"):
                found.append(measured(place))
            scattered = [k for k, each in enumerate(found) if not all(m.steady for m in each)]
            for place in progress(scattered, "Measuring again what scattered"):
                found[place] = measuring.steadier(found[place], measured(place))
        except KeyboardInterrupt:  # what there is, is shown and written
            stopped = True
        results = [m for each in found for m in each]
        missing = [a.name for a, _ in chosen if not any(r.function.split("(")[0] == a.name for r in results)]
        for peer in present:
            for kind in kinds:
                for dtype in types:
                    if any((r.peer, r.passes, r.dtype) == (peer, kind, dtype) for r in results):
                        console().print(table(results, peer, kind, dtype))
            if len(types) * len(kinds) > 1 and any(r.peer == peer for r in results):
                console().print(means(results, peer))
        if results:
            console().print(summary(results))
        if missing and not stopped:
            typer.echo(f"softknee: no peer of {', '.join(present)} has {', '.join(missing)}", err=True)
        if out is not None:
            head = measuring.settings(torch.get_num_threads(), seconds, device, present)
            lines = [head, *map(asdict, results)]
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
            typer.echo(out)
        if stopped:
            raise KeyboardInterrupt
