"""`softknee.swap`: what is replaced, what is kept, what is seen, and that it can all be undone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as TF
from torch.nn.functional import relu as imported_relu

import softknee as sk
from softknee import functional as F
from softknee import nn


def foreign(name: str, module: str) -> torch.nn.Module:
    """A stand-in for a class of a library that is not installed."""
    made = type(name, (torch.nn.Module,), {"__module__": module, "forward": lambda self, x: x})
    return made()  # type: ignore[no-any-return]


class Block(torch.nn.Module):
    def __init__(self, act: torch.nn.Module) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(4, 4)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.fc(x))


def six() -> torch.nn.Module:
    return torch.nn.Sequential(*(Block(torch.nn.ReLU()) for _ in range(6)))


def kinds(model: torch.nn.Module) -> list[str]:
    return [type(b.act).__name__ for b in model]  # type: ignore[union-attr, arg-type]


# Which


@pytest.mark.parametrize(
    ("where", "want"),
    [
        (None, "111111"), ("3.*", "000100"), ("*.act", "111111"), ("*.fc", "000000"), (slice(4, None), "000011"),
        (slice(0.5, None), "000111"), (slice(None, 0.34), "110000"), (slice(None, None, 2), "101010"),
        (lambda name, module: name.startswith("1") and not module.inplace, "010000"),
    ],
)  # fmt: skip
def test_where(where: Any, want: str) -> None:
    model = six()
    done = sk.swap(model, {"relu": "mish"}, where, quiet=True)
    assert "".join("1" if k == "Mish" else "0" for k in kinds(model)) == want
    assert len(done) == len(list(done)) == want.count("1")
    done.undo()
    assert kinds(model) == ["ReLU"] * 6


def test_what_may_be_given() -> None:
    class Mine(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    makers = {
        "mish": "Mish", "SiLU": "SiLU", "leaky_relu(negative_slope=0.3)": "LeakyReLU", sk.get("gelu"): "GELU",
        nn.ELU(0.5): "ELU", torch.nn.Hardswish: "Hardswish", Mine: "Mine",
    }  # fmt: skip
    for new, want in makers.items():
        model = six()
        sk.swap(model, {torch.nn.ReLU: new}, quiet=True)
        assert kinds(model) == [want] * 6
        assert len({id(b.act) for b in model}) == 6
    model = torch.nn.Sequential(Block(Mine()))
    sk.swap(model, {Mine: "leaky_relu(negative_slope=0.3)"}, quiet=True)
    assert model[0].act.negative_slope == 0.3


@pytest.mark.parametrize(
    ("name", "module", "want"),
    [
        ("GELUActivation", "transformers.activations", "gelu"),
        ("NewGELUActivation", "transformers.activations", "gelu_tanh"),
        ("QuickGELUActivation", "transformers.activations", "quick_gelu"),
        ("ReLUSquaredActivation", "transformers.activations", "relu2"),
        ("MishActivation", "transformers.activations", "mish"),
        ("LinearActivation", "transformers.activations", "identity"),
        ("Swish", "timm.layers.activations", "silu"),
        ("SwishMe", "timm.layers.activations_me", "silu"),
        ("HardSwish", "timm.layers.activations", "hardswish"),
        ("GELUTanh", "timm.models.layers.activations", "gelu_tanh"),
        ("Mish", "mine", None),
        ("StarReLU", "timm.models.metaformer", "star_relu"),
        ("BloomGelu", "transformers.models.bloom.modeling_bloom", "gelu_tanh"),
        ("GELU", "transformers.models.elsewhere", None),
    ],
)
def test_other_libraries_classes(name: str, module: str, want: str | None) -> None:
    model = torch.nn.Sequential(foreign(name, module))
    done = sk.swap(model, {"elu" if want is None else want: "tanh"}, quiet=True)
    assert len(done) == (want is not None)


# What is kept


def test_devices_dtypes_mode_and_hooks() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2, dtype=torch.float64), torch.nn.ReLU(), torch.nn.ReLU())
    model[1].eval()
    seen: list[str] = []
    handle = model[1].register_forward_hook(lambda *_: seen.append("hook"))
    old = model[1]
    done = sk.swap(model, {"relu": "prelu"}, quiet=True)
    assert model[1].weight.dtype == torch.float64
    assert (model[1].training, model[2].training) == (False, True)
    model(torch.randn(3, 2, dtype=torch.float64))
    assert seen == ["hook"]
    handle.remove()
    model(torch.randn(3, 2, dtype=torch.float64))
    assert seen == ["hook"]
    done.undo()
    assert model[1] is old
    meta = torch.nn.Sequential(torch.nn.Linear(2, 2, device="meta"), torch.nn.ReLU())
    sk.swap(meta, {"relu": "prelu"}, quiet=True)
    assert meta[1].weight.is_meta


def test_what_was_shared_is_shared_where_it_is_replaced() -> None:
    act = torch.nn.ReLU()
    block = Block(act)
    model = torch.nn.ModuleDict({"a": Block(act), "b": torch.nn.ModuleList([block, act]), "again": block})
    done = sk.swap(model, {"relu": "prelu"}, quiet=True)
    assert model["a"].act is model["b"][0].act is model["b"][1]
    assert sum(p.numel() for p in model.parameters()) == 2 * 20 + 1
    assert [r.parameters for r in done.replaced] == [1, 0, 0]
    assert "also again.act" in [r.note for r in done.replaced]
    done.undo()
    assert model["a"].act is act
    sk.swap(model, {"relu": "mish"}, "a.*", quiet=True)
    assert type(model["a"].act) is nn.Mish
    assert model["b"][1] is act


def test_in_place_stays_in_place_or_is_told() -> None:
    model = torch.nn.Sequential(torch.nn.ReLU(inplace=True))
    assert sk.swap(model, {"relu": "mish"}, quiet=True).replaced[0].note == ""
    assert model[0].inplace
    assert "in place" in sk.swap(model, {"mish": "gelu"}, quiet=True).replaced[0].note


def test_state_dicts_and_copies_work_afterwards() -> None:
    model = six()
    sk.swap(model, {"relu": "prelu"}, quiet=True)
    again = copy.deepcopy(model)
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(model(x), again(x))


def test_a_transformer_of_torch_leaves_its_fast_path() -> None:
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(8, 2, dropout=0.0, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(2, 3, 8)
    with torch.no_grad():
        before = model(x)
        done = sk.swap(model, {"relu": "prelu"}, quiet=True)
        assert [r.parameters for r in done.replaced] == [1, 1]
        fast, slow = model(x), model.train()(x)
        assert torch.allclose(fast, slow, atol=1e-6)
        assert not torch.allclose(fast, before, atol=1e-2)
        done.undo()
        assert torch.equal(model.eval()(x), before)


# Functional calls


x = torch.empty(0)  # a global with the name of an argument


class Functional(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Block(torch.nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        a = TF.relu(x) + torch.relu(x) + x.relu() + imported_relu(x, inplace=False) + F.relu(x)
        b = x.clone()
        TF.relu_(b)
        c = TF.relu(x.clone(), inplace=True)
        return self.inner(a + b + c) + torch.tanh(x)


def test_functional_calls_are_exchanged_and_given_back() -> None:
    torch.manual_seed(0)
    model, x = Functional(), torch.randn(5, 4, requires_grad=True)
    before = model(x)
    swish = TF.silu
    want = swish(model.inner.fc(7 * swish(x))) + x.tanh()
    with sk.swap(model, {"relu": "silu"}, quiet=True) as done:
        got = model(x)
        assert torch.equal(TF.relu(x), x.clamp(min=0))  # outside the model nothing changes
        assert torch.equal(F.relu(x), x.clamp(min=0))
    assert len(done) == 1
    assert torch.allclose(got, want, atol=1e-5)
    (ours,) = torch.autograd.grad(got.sum(), x)
    (theirs,) = torch.autograd.grad(want.sum(), x)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.equal(model(x), before)
    assert "relu" not in vars(F) or F.relu.definition.name == "relu"
    assert not model._forward_hooks


def test_where_holds_for_calls_and_an_error_leaves_nothing_behind() -> None:
    class Calls(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.isnan().any():
                raise ArithmeticError
            return TF.relu(x)

    model, x = torch.nn.Sequential(Calls(), Calls()), -torch.ones(1)
    with sk.swap(model, {"relu": lambda: nn.Hardtanh()}, "1", quiet=True):
        assert float(model(x)) == 0
        with pytest.raises(ArithmeticError):
            model(torch.tensor([torch.nan]))
        assert float(TF.relu(x)) == 0
    with sk.swap(model, {"relu": "hardtanh"}, quiet=True):
        assert float(model(x)) == -1
    assert float(model(x)) == 0


# Activations inside


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell"])
def test_recurrent_layers_become_ours_and_torchs_again(kind: str) -> None:
    torch.manual_seed(0)
    layer = getattr(torch.nn, kind)(3, 4)
    model, x = torch.nn.ModuleDict({"a": layer, "b": torch.nn.ModuleList([layer])}), torch.randn(2, 3)
    before, mapping = layer(x)[0], {"tanh": "prelu", "sigmoid": "hardsigmoid"}
    done = sk.swap(model, mapping, quiet=True)
    assert next((r.layer, r.parameters) for r in done.replaced) == ("a.activation", 1)
    assert model["a"] is model["b"][0]
    gates = {} if "RNN" in kind else {"gate": "hardsigmoid"}
    want = getattr(nn, kind)(3, 4, activation="prelu", **gates)
    want.load_state_dict(model["a"].state_dict())
    assert torch.equal(model["a"](x)[0], want(x)[0])
    assert model["a"].weight_ih_l0 is layer.weight_ih_l0 if "Cell" not in kind else True
    assert sk.swap(model, {"prelu": "tanh"}, quiet=True).replaced[0].old == "prelu"  # now it is a child
    done = sk.swap(torch.nn.ModuleList([nn.LSTM(3, 4)]), mapping, "0.gate", quiet=True)
    assert [r.layer for r in done.replaced] == ["0.gate"]
    model = torch.nn.ModuleList([layer])
    sk.swap(model, mapping, quiet=True).undo()
    assert model[0] is layer
    assert torch.equal(layer(x)[0], before)


def test_gated_units_get_another_activation() -> None:
    model = torch.nn.Sequential(
        nn.ClampedSwiGLU(interleaved=False), torch.nn.GLU(), nn.GatedMLP(2, 4), nn.GatedUnit("mish")
    )
    before, x = str(model), torch.randn(5, 8)
    done = sk.swap(model, {"swish": "relu", "sigmoid": "prelu", "silu": "elu(alpha=2.0)"}, quiet=True)
    assert [r.layer for r in done.replaced] == ["0.activation", "1.activation", "2.unit.activation"]
    assert torch.equal(model[0](x), F.gated_unit(x, activation="relu", limit=7.0, offset=1.0))
    assert torch.equal(model[1](x), F.gated_unit(x, activation="prelu", weight=0.25, gate_first=False))
    assert [r.parameters for r in done.replaced] == [0, 1, 0]
    assert model[2].unit.alpha == 2.0
    done.undo()
    assert str(model) == before


# What is told


def test_what_it_could_not_see_is_told(capsys: Any) -> None:
    scripted = torch.jit.script(torch.nn.Sequential(torch.nn.ReLU()))
    model = torch.nn.ModuleList(
        [Functional(), Functional(), scripted, type("Mine", (torch.nn.LSTM,), {})(2, 2), nn.GTU()]
    )
    sk.swap(model, {"relu": "prelu", "sigmoid": "hardsigmoid"})
    told = capsys.readouterr().out
    assert told.splitlines()[1].split() == ["0.inner.act", "relu", "prelu", "+1"]
    for text in ("Functional.forward (0 and 1 more) calls F.relu, TF.relu, TF.relu_, imported_relu, torch.relu, x.relu",
                 "2: compiled by TorchScript", "3: Mine computes", "4.activation: sigmoid inside GTU", "make the optimizer anew", "needs a module"):  # fmt: skip
        assert text in told
    model[0].inner.plain = [torch.nn.ReLU(), torch.nn.Tanh()]
    assert "0.inner.plain is a list of modules: use torch.nn.ModuleList" in str(
        sk.swap(model, {"relu": "elu"})
    )
    assert "the model: compiled by TorchScript" in str(sk.swap(scripted, {"relu": "mish"}))
    capsys.readouterr()
    sk.swap(six(), {"gelu": "mish"})
    assert "nothing to replace; its activation modules: relu" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda: sk.swap(3, {"relu": "mish"}), TypeError, "int"),
        (lambda: sk.swap(six(), "relu"), TypeError, "'relu'"),
        (lambda: sk.swap(six(), {}), TypeError, "mapping"),
        (lambda: sk.swap(six(), {"reelu": "mish"}), KeyError, "did you mean"),
        (lambda: sk.swap(six(), {"relu": "mush"}), KeyError, "'mish'"),
        (lambda: sk.swap(six(), {"relu": 3}), TypeError, "3"),
        (lambda: sk.swap(six(), {"relu": lambda: 3}), TypeError, "int"),
        (lambda: sk.swap(six(), {"relu": "elu(0.5)"}), ValueError, "negative_slope=0.3"),
        (lambda: sk.swap(six(), {"relu": "mish"}, 3), TypeError, "int"),
        (lambda: sk.swap(six(), {"relu": "mish"}, slice(1.5, None)), ValueError, "1.5"),
        (lambda: sk.swap(torch.nn.ReLU(), {"relu": "mish"}), ValueError, "itself"),
        (lambda: sk.swap(six(), {"relu": "threshold"}), TypeError, "threshold"),
    ],
)
def test_clear_errors(call: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        call()
