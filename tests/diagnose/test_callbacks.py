"""Callbacks, in the frameworks they are for where those are installed, else in stand-ins of the same names."""

from __future__ import annotations

import subprocess
import sys
import types
from typing import Any

import pytest
import torch
from torch import nn

from softknee.diagnose import callbacks
from softknee.diagnose.errors import CheckError


class Callback:
    """As the frameworks' own: it has nothing that must be called."""


class LightningModule(nn.Module):
    def forward(self, *args: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def frameworks(monkeypatch: pytest.MonkeyPatch) -> None:
    lightning = types.SimpleNamespace(Callback=Callback, LightningModule=LightningModule)
    transformers = types.SimpleNamespace(TrainerCallback=Callback, Trainer=object)
    known = {"lightning.pytorch": lightning, "transformers": transformers}
    monkeypatch.setattr(callbacks, "import_module", known.__getitem__)
    for name in callbacks.__all__:
        monkeypatch.delitem(vars(callbacks), name, raising=False)
    yield
    for name in callbacks.__all__:
        vars(callbacks).pop(name, None)


def network() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    with torch.no_grad():
        model[0].bias.fill_(-100)  # every unit is dead
    return model


def train(model: nn.Module, steps: int = 4) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.randn(256, 8)).square().sum().backward()
        optimizer.step()


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = network()
        self.loss = nn.MSELoss()


@pytest.mark.parametrize("name", [None, "net"])
def test_lightning(name: str | None) -> None:
    """The training step calls a part of the module: the only one with parameters is found."""
    reports = []
    callback = callbacks.LightningWatch(name, every=1, done=reports.append)
    assert isinstance(callback, Callback)
    module = Module()
    callback.on_train_start(None, module)
    train(module.net)
    callback.on_train_end(None, module)
    assert reports == [callback.report]
    assert any(f.rule_name == "dead-units" for f in callback.report.findings)
    assert callback.report.timeline.steps == 4
    assert not module.net._forward_hooks


def test_which_part_of_a_lightning_module() -> None:
    module = Module()
    module.other = nn.Linear(2, 2)
    with pytest.raises(CheckError, match=r"LightningWatch\(module=...\): net, loss, other"):
        callbacks.LightningWatch().on_train_start(None, module)
    with pytest.raises(CheckError, match="no module 'nett'; it has: net, loss, other"):
        callbacks.LightningWatch("nett").on_train_start(None, module)
    failed = callbacks.LightningWatch("net")
    failed.on_train_start(None, module)
    failed.on_exception(None, module, KeyboardInterrupt())
    assert not module.net._forward_hooks


def test_trainer() -> None:
    callback = callbacks.TrainerWatch(every=1, done=None)
    model = network()
    callback.on_train_begin(None, None, None, model=model)
    train(model)
    callback.on_train_end(None, None, None, model=model)
    assert any(f.rule_name == "dead-units" for f in callback.report.findings)


def test_a_framework_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(callbacks, "import_module", missing)
    with pytest.raises(ImportError, match="pip install transformers"):
        _ = callbacks.TrainerWatch
    with pytest.raises(AttributeError, match="LightningWatch, TrainerWatch"):
        _ = callbacks.KerasWatch


def test_nothing_is_imported_before_it_is_used() -> None:
    text = (
        "import sys, softknee.diagnose.callbacks as c\n"
        "print(sorted({'lightning', 'pytorch_lightning', 'transformers', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "[]\n"
