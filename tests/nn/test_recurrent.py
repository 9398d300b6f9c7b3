"""RNN, GRU and LSTM, layers and cells: torch's with torch's functions, and the same loop with any others."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from softknee import functional as F
from softknee import nn

KINDS = ("RNN", "GRU", "LSTM")
SETTINGS: list[dict[str, Any]] = [
    {}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True, "bias": False},
    {"bidirectional": True, "batch_first": True},
]  # fmt: skip


def flat(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    return [t for part in result if part is not None for t in flat(part)]


def close(a: Any, b: Any) -> bool:
    one, other = flat(a), flat(b)
    return len(one) == len(other) and all(
        x.shape == y.shape and torch.allclose(x, y, atol=1e-12) for x, y in zip(one, other, strict=True)
    )


@pytest.mark.parametrize(("kind", "setting"), list(product(KINDS, SETTINGS)))
def test_torchs_by_default_and_our_loop_agrees(kind: str, setting: dict[str, Any]) -> None:
    torch.manual_seed(0)
    theirs = getattr(torch.nn, kind)(3, 4, dtype=torch.float64, **setting)
    ours = getattr(nn, kind)(3, 4, dtype=torch.float64, **setting)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert isinstance(ours, getattr(torch.nn, kind))
    x = torch.randn(5, 6, 3, dtype=torch.float64, requires_grad=True)
    short = [torch.randn(n, 3, dtype=torch.float64) for n in (2, 5, 4, 1)]
    rows = setting.get("num_layers", 1) * (2 if setting.get("bidirectional") else 1)
    for loop in (False, True):
        ours._ours = loop
        inputs: list[Any] = [x, pack_sequence(short, enforce_sorted=False), x[0]]
        for given, batch in zip(inputs, ((5 if setting.get("batch_first") else 6,), (4,), ()), strict=True):
            assert close(ours(given), theirs(given))
            states = tuple(torch.randn(rows, *batch, 4, dtype=torch.float64) for _ in range(2))
            hx = states if kind == "LSTM" else states[0]
            assert close(ours(given, hx), theirs(given, hx))
        for module in (ours, theirs):
            module.zero_grad()
            module(x)[0].square().sum().backward()
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.allclose(p.grad, q.grad, atol=1e-12)


def test_a_projection() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.LSTM(3, 5, num_layers=2, proj_size=2, bidirectional=True, dtype=torch.float64)
    ours = nn.LSTM(3, 5, num_layers=2, proj_size=2, bidirectional=True, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    ours._ours = True
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    assert close(ours(x), theirs(x))


def test_other_functions_by_the_formula() -> None:
    torch.manual_seed(0)
    x, h, c = torch.randn(1, 2, 3), torch.randn(1, 2, 4), torch.randn(1, 2, 4)

    def parts(m: Any) -> list[list[Tensor]]:
        gi, gh = x[0] @ m.weight_ih_l0.T + m.bias_ih_l0, h[0] @ m.weight_hh_l0.T + m.bias_hh_l0
        return [list(gi.split(4, -1)), list(gh.split(4, -1))]

    for name in ("softsign", "mish"):
        f, s = getattr(F, name), F.hardsigmoid
        rnn = nn.RNN(3, 4, nonlinearity=name)
        ((gi,), (gh,)) = parts(rnn)
        assert torch.allclose(rnn(x, h)[1][0], f(gi + gh), atol=1e-6)
        gru = nn.GRU(3, 4, activation=name, gate="hardsigmoid")
        (ir, iz, i_n), (hr, hz, hn) = parts(gru)
        r, z = s(ir + hr), s(iz + hz)
        assert torch.allclose(gru(x, h)[1][0], (1 - z) * f(i_n + r * hn) + z * h[0], atol=1e-6)
        lstm = nn.LSTM(3, 4, activation=name, gate="hardsigmoid")
        i, forget, g, o = (a + b for a, b in zip(*parts(lstm), strict=True))
        cell = s(forget) * c[0] + s(i) * f(g)
        got_h, got_c = lstm(x, (h, c))[1]
        assert torch.allclose(got_c[0], cell, atol=1e-6)
        assert torch.allclose(got_h[0], s(o) * f(cell), atol=1e-6)
    assert "activation=mish, gate=hardsigmoid" in repr(lstm)
    assert nn.RNN(3, 4, 1, "mish", False).bias is False
    assert not nn.RNN(3, 4, activation="relu")._ours


def test_a_learnable_activation_learns_and_is_saved() -> None:
    layer = nn.LSTM(3, 4, activation=nn.Swish(), dropout=0.5, num_layers=2)
    assert "activation.beta" in layer.state_dict()
    layer(torch.randn(5, 2, 3))[0].sum().backward()
    assert layer.activation.beta.grad is not None
    again = nn.LSTM(3, 4, activation="swish", num_layers=2).eval()
    again.load_state_dict(layer.state_dict())
    x = torch.randn(5, 2, 3)
    assert close(again(x), layer.eval()(x))


def test_new_weights_leave_the_activation_its_own() -> None:
    layer = nn.GRU(3, 4, activation="swish")
    before = layer.weight_hh_l0.clone()
    with torch.no_grad():
        layer.activation.beta.fill_(5)
    layer.reset_parameters()
    assert layer.activation.beta.item() == 1
    assert not torch.equal(before, layer.weight_hh_l0)


@pytest.mark.parametrize(("kind", "bias"), list(product(KINDS, (True, False))))
def test_cells(kind: str, bias: bool) -> None:
    torch.manual_seed(0)
    theirs = getattr(torch.nn, f"{kind}Cell")(3, 4, bias, dtype=torch.float64)
    ours = getattr(nn, f"{kind}Cell")(3, 4, bias, dtype=torch.float64)
    assert repr(ours) == repr(theirs)
    assert isinstance(ours, type(theirs))
    ours.load_state_dict(theirs.state_dict())
    x, h = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    for loop in (False, True):
        ours._ours = loop
        for given, state in ((x, h), (x[0], h[0])):
            state = (state, state.cos()) if kind == "LSTM" else state
            assert close(ours(given), theirs(given))
            assert close(ours(given, state), theirs(given, state))
    # with any functions, a cell is one step of the layer
    more: dict[str, Any] = {"bias": bias, "activation": "swish", "dtype": torch.float64}
    more |= {} if kind == "RNN" else {"gate": "hardsigmoid"}
    cell, layer = getattr(nn, f"{kind}Cell")(3, 4, **more), getattr(nn, kind)(3, 4, **more)
    layer.load_state_dict({k if "." in k else f"{k}_l0": v for k, v in cell.state_dict().items()})
    state = (h, h.cos()) if kind == "LSTM" else h
    before = tuple(s[None] for s in state) if kind == "LSTM" else h[None]
    assert close(cell(x, state), [s[0] for s in flat(layer(x[None], before)[1])])
    cell(x, state)[0].sum().backward()
    assert cell.activation.beta.grad is not None
    assert "swish" in repr(cell)
    assert "None" not in repr(cell)
    with pytest.raises(RuntimeError, match="3 values, got 7"):
        cell(torch.randn(2, 7, dtype=torch.float64))
    with pytest.raises(RuntimeError, match=r"state of the shape \(2, 4\), got \(9, 4\)"):
        cell(x, torch.randn(9, 4).double() if kind != "LSTM" else (torch.randn(9, 4).double(),) * 2)
    with pytest.raises(ValueError, match="1 or 2 dimensions"):
        cell(x[None])


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_returns_torchs_types(kind: str) -> None:
    theirs, ours = getattr(torch.nn, kind)(3, 4), getattr(nn, kind)(3, 4, activation="mish")
    for x in (torch.randn(5, 2, 3), pack_sequence([torch.randn(5, 3), torch.randn(2, 3)])):
        with torch.autocast("cpu", torch.bfloat16):
            got, want = flat(ours(x)), flat(theirs(x))
        assert [t.dtype for t in got] == [t.dtype for t in want]


@pytest.mark.parametrize("kind", KINDS)
def test_clear_errors(kind: str) -> None:
    made = getattr(nn, kind)
    with pytest.raises(TypeError, match="does not make a module when it is called"):
        made(2, 3, activation=torch.sin)
    with pytest.raises(KeyError, match="'mish'"):
        made(3, 4, activation="mush")
    layer = made(3, 4, activation="mish")
    with pytest.raises(ValueError, match="2 or 3 dimensions"):
        layer(torch.randn(3))
    with pytest.raises(RuntimeError, match=r"input.size"):
        layer(torch.randn(5, 2, 7))
    with pytest.raises(RuntimeError, match="state of the shape"):
        bad = torch.randn(1, 9, 4)
        layer(torch.randn(5, 2, 3), (bad, bad) if kind == "LSTM" else bad)
