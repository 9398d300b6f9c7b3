"""Bad input: a clear error that names the culprit, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import softknee as sk
from softknee import functional as F
from softknee import nn

X = torch.randn(2, 3)


def test_an_unknown_name_is_met_with_the_nearest() -> None:
    with pytest.raises(KeyError, match="mish"):
        sk.get("mihs")
    with pytest.raises(AttributeError, match="mish"):
        F.mihs
    with pytest.raises(AttributeError, match="Mish"):
        nn.Mihs


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("softplus", {"beta": 0.0}, "beta"),
        ("softplus", {"beta": -1.0}, "beta"),
        ("celu", {"alpha": 0.0}, "alpha"),
        ("rrelu", {"lower": 0.5, "upper": 0.1}, "lower"),
        ("rrelu", {"lower": 0.0, "upper": 8.0, "divisor": True}, "lower > 0"),
        ("hardtanh", {"min_val": 1.0, "max_val": -1.0}, "min_val"),
        ("gelu", {"approximate": "nonsense"}, "nonsense"),
    ],
)
def test_parameters_out_of_range(name: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        getattr(F, name)(X, **arguments)
    with pytest.raises((ValueError, AssertionError), match=says):  # torch's own classes assert
        getattr(nn, sk.get(name).definition.module)(**arguments)(X)
    with pytest.raises(ValueError, match=says):
        sk.get(name)(X, **arguments)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_types_that_a_function_is_not_for(dtype: torch.dtype) -> None:
    with pytest.raises(
        (TypeError, RuntimeError), match=str(dtype).removeprefix("torch.").capitalize() + "|" + str(dtype)
    ):
        F.mish(torch.ones(3, dtype=dtype))


def test_integers_where_torch_takes_them() -> None:
    x = torch.tensor([-2, 3])
    assert F.relu(x).dtype is torch.int64
    assert F.relu(x).tolist() == [0, 3]


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(TypeError, match="threshold"):
        F.threshold(X)
    with pytest.raises(TypeError, match="threshold"):
        sk.get("threshold")(X)


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(TypeError, match="slope"):
        sk.get("mish")(X, slope=1.0)
    with pytest.raises(TypeError, match="slope"):
        F.mish(X, slope=1.0)


def test_shapes_that_do_not_fit_are_both_named() -> None:
    with pytest.raises((ValueError, RuntimeError), match=r"(?s)4.*3|3.*4"):
        F.prelu(X, torch.rand(4))
    with pytest.raises((ValueError, RuntimeError), match=r"(?s)5.*3|3.*5"):
        F.swish(X, beta=torch.rand(2, 5))


def test_in_place_on_what_autograd_or_memory_needs() -> None:
    leaf = torch.randn(3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"in place|inplace"):
        F.relu(leaf, inplace=True)
    with pytest.raises(RuntimeError, match=r"memory|expanded|in place|inplace"):
        F.relu(torch.randn(1).expand(3), inplace=True)
    inner = leaf * 1
    y = inner.exp()
    F.relu(inner, inplace=True)  # exp does not need its input
    y.sum().backward()
    other = leaf * 2
    z = other.square()  # square does
    F.relu(other, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


@pytest.mark.parametrize("value", ["text", {}, object()])
def test_what_is_no_tensor(value: object) -> None:
    with pytest.raises((TypeError, AttributeError, ValueError)):
        sk.get("mish")(value)


def test_a_wrong_order_or_variable() -> None:
    with pytest.raises(ValueError, match="order"):
        sk.get("mish").derivative(1.0, order=-1)
    with pytest.raises(ValueError, match="beta"):
        sk.get("mish").derivative(1.0, wrt="beta")


def test_defining_with_what_cannot_be_traced() -> None:
    with pytest.raises(Exception, match="gamma"):
        sk.define("broken_by_gamma", lambda x: torch.lgamma(x))
    assert "broken_by_gamma" not in sk.names()


def test_check_activation_says_what_it_takes() -> None:
    with pytest.raises(TypeError, match="Definition"):
        sk.testing.check_activation(3.0)
    with pytest.raises(ValueError, match="float8"):
        sk.testing.check_activation("relu", dtypes=["float8"])
