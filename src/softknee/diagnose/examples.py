"""The examples of the rules, run."""

from __future__ import annotations

import textwrap
from typing import Any

import torch
from torch import nn

from softknee.diagnose.records import Report
from softknee.diagnose.session import check

__all__ = ["run"]


def run(code: str) -> Report:
    """Runs an example's code and checks the model that it makes."""
    scope: dict[str, Any] = {"torch": torch, "nn": nn, "F": nn.functional, "__name__": "example"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        exec(textwrap.dedent(code), scope)
        batch = scope.get("batch")
        if batch is None:
            batch = (torch.randn(256, 8), torch.randint(3, (256,)))
        return check(
            scope["model"],
            batch,
            scope.get("loss", nn.functional.cross_entropy),
            optimizer=scope.get("optimizer"),
        )
