"""What `softknee bench` measures and says; not how fast anything is."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from softknee import bench
from softknee.cli import app


def test_a_measurement_names_its_peer_and_what_is_kept() -> None:
    (forward,) = bench.measure("relu", {}, "float32", 256, "forward", repetitions=3, seconds=0)
    assert (forward.peer, forward.kept) == ("torch", None)
    assert forward.ratio_low <= forward.ratio <= forward.ratio_high
    assert math.isclose(forward.ratio, forward.peer_us / forward.softknee_us, rel_tol=5)
    assert forward.copy_share is not None
    assert forward.ulp == forward.peer_ulp == 0.5
    (both,) = bench.measure("relu", {}, "float32", 256, "forward+backward", repetitions=3, seconds=0)
    assert (both.kept, both.peer_kept, both.copy_share) == (1, 32, None)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_largest_error_is_that_of_the_metric(dtype: str) -> None:
    from softknee.testing import ulp_error

    kind = getattr(torch, dtype)
    exact = torch.cat(
        [bench.everywhere(dtype)[::997].double() * (1 + 2.0**-30), torch.tensor([3e38, 1e39, -1e39]).double()]
    )
    exact = torch.cat([exact, torch.tensor([torch.inf, -torch.inf, 0.0, 2.0**-150, torch.nan]).double()])
    for got in (
        exact.to(kind),
        (exact * 1.01).to(kind),
        exact.to(kind).nextafter(torch.zeros((), dtype=kind)),
    ):
        each = [ulp_error(float(g), float(e), dtype) for g, e in zip(got, exact, strict=True)]
        found = [bench.largest_error(got[k : k + 1], exact[k : k + 1]) for k in range(len(exact))]
        assert found == pytest.approx([max(true, 0.5) for true in each], rel=1e-12)
    assert bench.largest_error(torch.tensor([1.0, torch.nan]).to(kind), torch.ones(2).double()) == math.inf
    every = bench.everywhere(dtype)
    assert len(every.unique()) == len(every) - (dtype != "float32")  # both zeros
    if dtype != "float32":
        assert len(every) == 2**16 - 2 ** (16 - (8 if dtype == "bfloat16" else 5))


def test_means_over_all_types() -> None:
    from rich.console import Console

    from softknee.show.bench import means

    figures = [("float32", 2), ("float32", 8), ("bfloat16", 1)]
    rows = [bench.Measurement(f"f{k}", dtype, 64, "forward", "torch", 1, 1, ratio, ratio, ratio, 1, None, None, 7, 1)
            for k, (dtype, ratio) in enumerate(figures)]  # fmt: skip
    with (console := Console(width=100)).capture() as shown:
        console.print(means(rows, "torch"))
    for line in (
        ("forward, float32", "4.00 (2.00)"),
        ("forward, bfloat16", "1.00 (1.00)"),
        ("all types", "2.52 (1.00)"),
    ):
        assert any(all(part in row for part in line) for row in shown.get().splitlines())


def test_a_slow_peer_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    def slow(x):
        time.sleep(0.002)
        return x

    monkeypatch.setitem(bench.PEERS, "slow", ("torch", lambda definition, arguments: slow))
    (found,) = bench.measure("silu", {}, "float32", 64, "forward", peers=("slow",), repetitions=3, seconds=0)
    assert found.ratio > 3


def test_what_scattered_is_measured_again_at_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured, out = [], tmp_path / "figures.jsonl"

    def measure(name, arguments, dtype, size, passes, **options):
        measured.append(name)
        # elu scatters at first, selu every time, and then more
        spread = {1: {"elu": 3, "selu": 2}, 2: {"elu": 1.1, "selu": 4}}[measured.count(name)].get(name, 1)
        return [
            bench.Measurement(name, dtype, size, passes, "torch", 1, 1, 1, 1, spread, 1, None, None, 7, 1)
        ]

    monkeypatch.setattr(bench, "measure", measure)
    result = CliRunner().invoke(app, ["bench", "elu", "relu", "selu", "--sizes", "8", "--dtypes", "float32",
                                      "--passes", "forward", "--out", str(out)])  # fmt: skip
    assert result.exit_code == 0, result.output
    assert measured == ["elu", "relu", "selu", "elu", "selu"]
    lines = [json.loads(line) for line in out.read_text().splitlines()][1:]
    assert [(r["function"], r["ratio_high"]) for r in lines] == [("elu", 1.1), ("relu", 1), ("selu", 2)]


def test_the_command_writes_lines(tmp_path: Path) -> None:
    out = tmp_path / "new" / "figures.jsonl"
    command = ["bench", "elu(alpha=0.5)", "snake", "--sizes", "128", "--dtypes", "float32", "--passes", "forward",
               "--repetitions", "2", "--seconds", "0", "--out", str(out)]  # fmt: skip
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    head, line = map(json.loads, out.read_text().splitlines())
    assert head["threads"] >= 1
    assert (line["function"], line["size"], line["peer"]) == ("elu(alpha=0.5)", 128, "torch")
    assert "no peer of torch has snake" in result.output


def test_the_steadiest_attempt_counts() -> None:
    """not the one that flatters; and no more are made than are needed"""
    made = []

    def attempts() -> Iterator[dict[str, list[float]]]:
        for peer in ([9.0, 30.0, 90.0], [2.0, 3.0, 4.0], [2.0, 2.1, 2.2], [1.0, 1.0, 1.0]):
            made.append(peer)
            yield {"softknee": [1.0, 1.0, 1.0], "torch": peer, "copy": [5.0, 1.0, 9.0]}

    assert bench._steadiest(attempts(), ["torch"])["torch"] == [2.0, 2.1, 2.2]
    assert len(made) == 3
    assert bench._steadiest(itertools.islice(attempts(), 2), ["torch"])["torch"] == [2.0, 3.0, 4.0]


def test_peers_that_cannot_be_imported_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_peer.py").write_text("raise OSError('no library')")
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("broken_peer", "absent_peer.functions"):
        monkeypatch.setitem(bench.PEERS, module.partition("_")[0], (module, lambda *_: None))
    arguments = [
        "bench",
        "elu",
        "--sizes",
        "64",
        "--dtypes",
        "float32",
        "--passes",
        "forward",
        "--seconds",
        "0",
    ]
    run = CliRunner().invoke(app, [*arguments, "--repetitions", "2", "--peers", "broken, absent,torch"])
    assert run.exit_code == 0
    assert "broken is left out: broken_peer cannot be imported: no library" in run.output
    assert "absent is left out: not installed: pip install absent-peer" in run.output
    (tmp_path / "loose_peer.py").write_text("")  # a module without a version
    monkeypatch.setitem(bench.PEERS, "loose", ("loose_peer", lambda *_: torch.nn.functional.elu))
    out = tmp_path / "loose.jsonl"
    run = CliRunner().invoke(app, [*arguments, "--repetitions", "2", "--peers", "loose", "--out", str(out)])
    assert run.exit_code == 0
    assert json.loads(out.read_text().splitlines()[0])["peer"] == "loose"
    run = CliRunner().invoke(app, [*arguments, "--peers", "absent"])
    assert run.exit_code == 2
    assert "nobody to compare with" in run.output


without_a_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--peers", "fast"], "'fast' is not a peer"),
        (["--sizes", "0"], "--sizes takes positive"),
        (["--dtypes", "int8"], "--dtypes takes some of"),
        (["--passes", "back"], "--passes takes some of"),
        (["gleu"], "gelu"),
        (["--backend", "cuda"], "--backend is cpu or gpu, got 'cuda'"),
        pytest.param(
            ["--backend", "gpu"], "--backend gpu cannot run here: torch finds no GPU", marks=without_a_gpu
        ),
    ],
)
def test_bad_input(words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["bench", *words])
    assert result.exit_code == 2
    assert said in result.output
