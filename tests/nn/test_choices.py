"""Functions with choices: what was made before is found at once, and says and does the same."""

from __future__ import annotations

import pytest
import torch

import softknee as sk
import softknee.functional as F
from softknee.nn.functional import function_of, observed
from softknee.nn.runtime import runtime


def test_a_choice_made_before_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    run, x = runtime(sk.get("gelu").definition), torch.randn(100)
    monkeypatch.setattr(run, "chosen", {})
    monkeypatch.setitem(F.gelu.__globals__, "_chosen", run.chosen)
    first = F.gelu(x, approximate="tanh")
    assert list(run.chosen) == [("tanh", "normal")]

    def unused(*args: object, **more: object) -> object:
        raise AssertionError

    monkeypatch.setitem(F.gelu.__globals__, "_run", unused)
    assert torch.equal(F.gelu(x, approximate="tanh"), first)
    y = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(F.gelu(y, approximate="tanh").sum(), y)
    torch.testing.assert_close(slope, torch.autograd.functional.jvp(
        lambda x: torch.nn.functional.gelu(x, approximate="tanh"), x, torch.ones_like(x))[1])  # fmt: skip
    with pytest.raises(AssertionError):
        F.gelu(x, approximate="sigmoid")


def test_observers_see_it_all_the_same() -> None:
    x, seen = torch.randn(100), []
    F.gelu(x, approximate="tanh")

    def observer(definition: object, given: object, values: object, choices: object, run: object) -> object:
        seen.append(choices)
        return run()  # type: ignore[operator]

    with observed(observer):
        function_of(sk.get("gelu").definition)(x, approximate="tanh")
    assert [c["approximate"] for c in seen] == ["tanh"]
    F.gelu(x, approximate="tanh")
    assert len(seen) == 1
