"""What is read and written: views, broadcasting, tensors without memory; and names that stay torch's."""

from __future__ import annotations

import pytest
import torch

import softknee as sk
from softknee import functional as F
from softknee import nn


@pytest.mark.parametrize("recording", [False, True])
@pytest.mark.parametrize(
    "view", [lambda b: b[:, :3], lambda b: b[:, ::2], lambda b: b.t()[1:], lambda b: b[1:]]
)
def test_in_place_on_a_view_writes_the_view_alone(view, recording: bool) -> None:
    base = torch.linspace(-3, 2, 24).reshape(4, 6).requires_grad_(recording)
    whole = base * 1
    expected = whole.detach().clone()
    view(expected).clamp_(min=0)
    F.relu(view(whole), inplace=True)
    assert torch.equal(whole, expected)
    if recording:
        whole.sum().backward()
        touched = torch.zeros(4, 6)
        view(touched).fill_(1)
        assert torch.equal(base.grad, torch.where((touched == 1) & (base.detach() <= 0), 0.0, 1.0))


def test_in_place_refuses_a_result_that_does_not_fit() -> None:
    x = torch.full((1, 5), -1.0)
    with pytest.raises(RuntimeError, match=r"shape \(4, 5\).*shape \(1, 5\)"):
        F.elu(x, alpha=torch.full((4, 5), 0.5), inplace=True)


def test_in_place_with_a_parameter_that_is_part_of_the_input() -> None:
    x = -torch.ones(8, 10)
    expected = F.elu(x, alpha=x[:1].clone())
    assert torch.equal(F.elu(x, alpha=x[:1], inplace=True), expected)


@pytest.mark.parametrize(
    "x", [torch.randn(1, 5).expand(3, 5), torch.randn(8, 10)[:, :6].t(), torch.randn(10, 0, 2)[::2, :, ::2]]
)
def test_the_gradient_of_a_parameter_alone_for_any_layout_of_the_input(x: torch.Tensor) -> None:
    weight = torch.tensor([0.2], requires_grad=True)
    F.prelu(x, weight).sum().backward()
    torch.testing.assert_close(weight.grad, torch.where(x < 0, x, 0.0).sum().reshape(1))


def test_the_default_device_is_not_where_cpu_results_go() -> None:
    x, alpha = torch.randn(3, 1), torch.rand(1, 4)
    expected = F.elu(x, alpha=alpha)
    with torch.device("meta"):
        assert torch.equal(F.elu(x, alpha=alpha), expected)


def test_a_tensor_of_zeros_without_memory() -> None:
    assert F.silu(torch._efficientzerotensor((4,))).tolist() == [0.0] * 4


def test_a_redefined_function_replaces_the_old_one_everywhere() -> None:
    sk.define("twice_defined", lambda x: x * 2)
    assert float(F.twice_defined(torch.ones(1))) == float(nn.TwiceDefined()(torch.ones(1))) == 2
    sk.define("twice_defined", lambda x: x * 3)
    assert float(F.twice_defined(torch.ones(1))) == float(nn.TwiceDefined()(torch.ones(1))) == 3


def test_names_of_torch_stay_torchs() -> None:
    with pytest.raises(ValueError, match=r"torch\.nn\.functional has 'linear' already"):
        sk.define("linear", lambda x: x * 2)
    assert nn.modules is torch.nn.modules
    assert nn.init is torch.nn.init
    assert F.linear is torch.nn.functional.linear


def test_a_power_with_a_variable_exponent_is_torchs() -> None:
    sk.define("powered_for_tests", lambda x, n: x**n, n=3)
    assert float(F.powered_for_tests(torch.tensor([-2.0]), n=2.0)) == 4
    exponent = torch.tensor([2.0], requires_grad=True)
    F.powered_for_tests(torch.tensor([0.0, 1.0, 2.0]), exponent).sum().backward()
    torch.testing.assert_close(exponent.grad, torch.tensor([4 * 0.6931472]))
