"""`softknee.watch`: truth over time, and in the company of what users train with."""

from __future__ import annotations

import copy
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.utils.checkpoint import checkpoint

import softknee
from softknee.diagnose.errors import CheckError
from softknee.diagnose.watch import watch


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 2))


def train(
    model: nn.Module, steps: int, lr: float = 0.01, each: Callable[[int], Any] = lambda i: None
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for i in range(steps):
        each(i)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(64, 8)), torch.randint(2, (64,))).backward()
        optimizer.step()


def test_born_dead_died_and_revived() -> None:
    model = net()

    @torch.no_grad()
    def act(i: int) -> None:
        if i == 0:
            model[0].bias[0] = -50  # born dead
        if i == 12:
            model[0].bias[1] = -50  # dies after step 11
            model[0].bias[2] = -50
        if i == 30:
            model[0].bias[2] = 0  # and comes back

    with watch(model, every=1, window=5) as w:
        train(model, 45, each=act)
    report = w.report()
    history = report.timeline.of("1")
    assert history.born_dead == (0,)
    assert history.died == ((1, 11),)
    assert history.revived == 1
    (finding,) = [f for f in report.findings if f.rule_name == "dead-units" and f.layer == "1"]
    assert finding.units == (0, 1)
    assert any("1 died, the first after step 11" in str(e) for e in finding.evidence)


def test_gradients_on_both_sides_are_those_of_autograd() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.act, self.mish, self.leave = (
                nn.Linear(8, 16),
                nn.Tanh(),
                nn.Mish(),
                nn.Linear(16, 2),
            )

        def forward(self, x: Tensor) -> Tensor:
            z = self.enter(x)
            h = z + self.act(z)  # the gradient at z is that of both ways
            f = self.mish(h)
            for t in (z, h, f):
                t.retain_grad()
            self.seen = z, h, f
            return self.leave(f)

    model, norms = Twice(), []
    with watch(model, every=1) as w:
        for _ in range(3):  # the first step finds out what goes where
            model(torch.randn(4096, 8)).square().sum().backward()
            norms.append([float(t.grad.double().norm()) for t in model.seen])
    for layer, name, k in (
        ("act", "gradient_out", 0),
        ("mish", "gradient_out", 1),
        ("mish", "gradient_in", 2),
    ):
        expected = pytest.approx([n[k] for n in norms], rel=1e-6)
        assert list(w.report().timeline.of(layer).series[name]) == expected


def test_what_died_within_the_last_windows_is_dead() -> None:
    model = net()

    @torch.no_grad()
    def act(i: int) -> None:
        if i == 7:
            model[0].bias[:3] = -50

    with watch(model, every=1, window=4) as w:
        train(model, 12, each=act)
    (finding,) = [f for f in w.report().findings if f.rule_name == "dead-units" and f.layer == "1"]
    assert finding.units == (0, 1, 2)
    assert finding.severity == "warning"


def test_it_measures_what_check_measures() -> None:
    model, x = net(), torch.randn(256, 8)
    with watch(model, every=1) as w:
        model(x).sum().backward()
    for ours, theirs in zip(w.report().layers, softknee.check(model, x).layers, strict=True):
        for name in ("layer", "units", "samples", "dead", "activation"):
            assert getattr(ours, name) == getattr(theirs, name)
        for name in ("mean", "second_moment", "output_mean", "output_second_moment", "flat", "zero"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-4, abs=1e-6), name


def test_hooks_are_absent_between_observed_steps() -> None:
    model = net()
    seen = []
    children = [m for m in model.modules() if m is not model]
    children[0].register_forward_hook(
        lambda *_: seen.append(sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in children))
    )
    with watch(model, every=5) as w:
        train(model, 10)
    assert [n > 1 for n in seen] == [i % 5 == 0 for i in range(10)]
    assert w.report().timeline.of("1").steps == (0, 5)
    assert not model._forward_pre_hooks
    assert not model._forward_hooks


def test_gradient_accumulation_is_one_step() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch(model, every=1) as w:
        for _ in range(3):
            for _ in range(4):
                model(torch.randn(16, 8)).sum().backward()
            optimizer.step()
    report = w.report()
    assert report.timeline.of("1").steps == (0, 1, 2)
    assert report.layers[0].samples == 3 * 4 * 16


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputation_is_not_counted(reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.net, x.requires_grad_(), use_reentrant=reentrant)

    model = Checkpointed()
    with watch(model, every=1) as w:
        model(torch.randn(64, 8)).sum().backward()
    report = w.report()
    assert [row.samples for row in report.layers] == [64, 64]
    if not reentrant:
        assert all(row.gradient is not None and row.gradient > 0 for row in report.layers)


def test_autocast_and_in_place() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(inplace=True), nn.Linear(16, 2))
    with watch(model, every=1) as w, torch.autocast("cpu", torch.bfloat16):
        for _ in range(3):
            model(torch.randn(64, 8)).sum().backward()
    row = w.report().layers[0]
    assert row.mean < 0.5 * row.output_mean  # the input was measured, not what overwrote it
    big = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2)).half()
    with watch(big, every=1) as w:
        big(200 * torch.randn(64, 8).half())
    assert w.report().layers[0].second_moment < float("inf")


def test_a_recurrent_cell_is_one_activation_through_time() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.back, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.zeros(x.shape[0], 16)
            for t in range(x.shape[1]):
                h = torch.tanh(self.enter(x[:, t]) + self.back(h))
            return self.head(h)

    model = Recurrent()
    with watch(model, every=1) as w:
        model(torch.randn(32, 5, 8)).sum().backward()
    (row,) = w.report().layers
    assert row.samples == 32 * 5


def test_gates_of_fused_layers_are_left_to_check() -> None:
    class Reads(nn.LSTM):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(x)[0].sum()  # type: ignore[no-any-return]

    model = Reads(8, 8)
    nn.init.constant_(model.bias_ih_l0, -50.0)
    with watch(model, every=1) as seen:
        model(torch.randn(5, 32, 8)).backward()
    assert not seen.report().findings
    assert any("check computes them" in text for text in seen.report().unseen)


def test_cells_that_take_turns_are_measured_as_by_check() -> None:
    class Two(nn.Module):
        """The second activation is found when the first was measured already."""

        def __init__(self) -> None:
            super().__init__()
            self.enter, self.back, self.up, self.head = (nn.Linear(8, 8) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            a = b = torch.zeros(len(x), 8)
            for step in x.unbind(1):
                a = torch.tanh(self.enter(step) + self.back(a))
                b = torch.relu(self.up(a) + b)
            return self.head(b)

    model, x = Two(), torch.randn(256, 5, 8)
    with watch(model, every=1) as w:
        model(x).sum().backward()
    for ours, theirs in zip(w.report().layers, softknee.check(model, x).layers, strict=True):
        assert (ours.samples, ours.units) == (theirs.samples, theirs.units) == (5 * 256, 8)
        assert ours.mean == pytest.approx(theirs.mean, rel=1e-4, abs=1e-6)
        assert ours.output_second_moment == pytest.approx(theirs.output_second_moment, rel=1e-4)


class Functional(nn.Module):
    """No module is an activation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.relu(self.b(nn.functional.relu(self.a(x)))))


def in_place(model: nn.Module) -> nn.Module:
    model.compile(backend="eager")
    return model


def in_part(model: nn.Module) -> nn.Module:
    return nn.Sequential(torch.compile(model, backend="eager"), nn.Identity())


@pytest.mark.parametrize("how", [lambda m: m, lambda m: torch.compile(m, backend="eager"), in_place, in_part])
def test_functional_and_compiled_models_are_seen(how: Callable[[nn.Module], nn.Module]) -> None:
    inner = Functional()
    nn.init.constant_(inner.b.bias[:5], -50.0)
    model = how(inner)
    with watch(model, every=2) as w:
        train(model, 4)
    report = w.report()
    inside = "0._orig_mod." if how is in_part else ""
    assert [(row.layer, row.samples) for row in report.layers] == [(inside + "a", 128), (inside + "b", 128)]
    (found,) = [f for f in report.findings if f.rule_name == "dead-units" and f.layer == inside + "b"]
    assert set(found.units) >= set(range(5))
    assert report.timeline.of(inside + "b").steps == (0, 2)
    report = softknee.check(model, (torch.randn(256, 8), torch.randint(2, (256,))), "cross_entropy")
    assert [row.layer for row in report.layers] == [inside + "a", inside + "b"]


def test_evaluation_passes_do_not_count() -> None:
    model = net()
    with watch(model, every=1) as w:
        train(model, 2)
        model.eval()
        model(torch.randn(8, 8))
        model.train()
        with torch.no_grad():
            model(torch.randn(8, 8))
        train(model, 1)
    assert w.report().timeline.of("1").steps == (0, 1, 2)


def test_exporters(tmp_path: Path) -> None:
    model = net()
    with watch(model, every=1) as w:
        train(model, 3)
    timeline = w.report().timeline
    assert len(timeline.to_csv(tmp_path / "a.csv").read_text().splitlines()) == 1 + 2 * 3
    rows = [json.loads(line) for line in timeline.to_jsonl(tmp_path / "a.jsonl").read_text().splitlines()]
    assert rows[0]["layer"] == "1"
    assert rows[0]["gradient_out"] > 0
    assert rows[0]["update"] > 0

    class Fake:
        def __init__(self) -> None:
            self.got: list[Any] = []

        def add_scalar(self, *args: Any) -> None:
            self.got.append(args)

        def define_metric(self, name: str, step_metric: str | None = None) -> None:
            self.got.append((name, step_metric))

        def log(self, values: Any) -> None:
            self.got.append(values)

    board, run = Fake(), Fake()
    timeline.to_tensorboard(board)
    timeline.to_wandb(run)
    assert ("softknee/1/flat", timeline.of("1").series["flat"][0], 0) in board.got
    assert run.got[:2] == [("softknee/step", None), ("softknee/*", "softknee/step")]
    assert [values["softknee/step"] for values in run.got[2:]] == [0, 1, 2]


def _both(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    x = torch.full((300, 1), 1.0 if rank else -1.0)  # in each process one of the first two units is silent
    said = []
    for wrap in (nn.parallel.DistributedDataParallel, lambda m: _sharded(m, mesh)):
        torch.manual_seed(0)
        inner = nn.Sequential(nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 1))
        with torch.no_grad():
            inner[0].weight.copy_(torch.tensor([[1.0], [-1.0], [0.0], [0.0]]))
            inner[0].bias.copy_(torch.tensor([0.0, 0.0, -30.0, 1.0]))
        model = wrap(inner)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        report = softknee.check(model, (x, torch.zeros(300, 1)), "mse_loss")  # of this process's data
        checked = [f for f in report.findings if f.rule_name == "dead-units"]
        assert report.layers[0].gradient > 0
        assert all(p.grad is None for p in model.parameters())
        with watch(model, every=1) as w:
            for _ in range(2):
                optimizer.zero_grad()
                model(x).sum().backward()
                optimizer.step()
        report = w.report()
        row, (found,) = report.layers[0], [f for f in report.findings if f.rule_name == "dead-units"]
        history = report.timeline.layers[0]
        assert history.series["update"][0] > 0
        values = f"{row.samples} {row.dead} {row.mean:.3f} {row.gradient:.4f} {history.born_dead}"
        said.append(f"{checked[0].units} {values} {found.units} {found.cause}")
    Path(folder, str(rank)).write_text("\n".join(said))
    torch.distributed.barrier()
    os._exit(0)  # torch can hang where a group ends: it waits for a thread that waits for Python's lock


def _sharded(model: nn.Sequential, mesh: Any) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    fully_shard(model[0], mesh=mesh)
    return fully_shard(model, mesh=mesh)


@pytest.mark.exhaustive
def test_sharded_and_replicated_agree(tmp_path: Path) -> None:
    """Under DistributedDataParallel and FSDP"""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    torch.multiprocessing.spawn(_both, (port, str(tmp_path)), nprocs=2)
    said = [(tmp_path / r).read_text().splitlines() for r in "01"]
    for first, second in zip(*said, strict=True):
        assert first.startswith("(0, 2) 1200 1 ")
        assert second.startswith("(1, 2) 1200 1 ")
        assert first[7:] == second[7:]
        assert "(2,) (2,) The bias of" in first


def _process(rank: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        model[0].bias.zero_()
    parallel = nn.parallel.DistributedDataParallel(model)
    x = torch.full((300, 1), 1.0 if rank else -1.0)  # in each process one of the two units is silent
    with watch(parallel, every=1) as w:
        parallel(x).sum().backward()
    report = w.report()
    row = report.layers[0]
    said = f"{row.samples} {row.dead} {row.mean:.3f} {len(report.timeline.layers[0].born_dead)}"
    with torch.no_grad():
        model[0].bias.fill_(-0.5)
    # silent in both from step 4 to 6; then in one of them only
    steps = ("++.....+++++....+", "++++.......++++++")[rank]
    with watch(parallel, every=1, window=3) as w:
        for step in steps:
            parallel(torch.full((300, 1), float(step == "+"))).sum().backward()
    Path(folder, str(rank)).write_text(f"{said} {w.report().timeline.layers[0].revived}")
    torch.distributed.barrier()
    os._exit(0)  # torch can hang where a group ends: it waits for a thread that waits for Python's lock


def test_two_processes_agree(tmp_path: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    torch.multiprocessing.spawn(_process, (port, str(tmp_path)), nprocs=2)
    assert {(tmp_path / r).read_text() for r in "01"} == {"600 0 0.000 0 1"}


def test_bad_input() -> None:
    with pytest.raises(CheckError, match="every must be a positive integer, got 0"):
        watch(net(), every=0)
    with watch(net()) as w:
        pass
    with pytest.raises(CheckError, match="no step in training mode was seen"):
        w.report()


def test_a_model_may_be_copied_and_saved_meanwhile(tmp_path: Path) -> None:
    model, x = net(), torch.randn(32, 8)
    with watch(model, every=1) as seen:
        model(x).sum().backward()
        best = copy.deepcopy(model)
        torch.save(model, tmp_path / "model.pt")
        loaded = torch.load(tmp_path / "model.pt", weights_only=False)
        best(x).sum().backward()
        assert torch.equal(loaded(x), model(x))
    report = seen.report()
    assert report.timeline.of("1").steps == (0, 1)
    assert best(x).shape == loaded(x).shape


@pytest.mark.parametrize("functional", [False, True])
def test_an_activation_that_comes_later_is_said(functional: bool) -> None:
    class Second(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.late = nn.ReLU(), nn.ReLU()
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            x = self.act(x)
            return x if self.calls == 1 else torch.tanh(x) if functional else self.late(x)

    model = nn.Sequential(nn.Linear(8, 8), Second(), nn.Linear(8, 3))
    with watch(model, every=1) as seen:
        for _ in range(2):
            model(torch.randn(32, 8)).sum().backward()
    (said,) = seen.report().unseen
    assert said.startswith("1" if functional else "1.late")
    assert "not watched" in said


def test_weights_that_are_nan_have_no_scale() -> None:
    model = net()
    with torch.no_grad():
        model[0].weight.fill_(torch.nan)
    with watch(model, every=1) as seen:
        model(torch.randn(32, 8)).sum().backward()
    assert {f.rule_name for f in seen.report().errors} == {"non-finite"}
    assert not seen.report().warnings
