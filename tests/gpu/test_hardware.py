"""What only a GPU can show: no waiting, streams, graphs, several devices, more elements than 32 bits count."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from softknee import functional, nn, options

pytestmark = pytest.mark.gpu

#: kept: the input; a bit; a code of four bits; the output
WAYS = {
    "gelu": (functional.gelu, {}),
    "relu": (functional.relu, {}),
    "lean": (functional.silu, {"saved": "lean"}),
    "output": (functional.tanh, {"saved": "output"}),
    "swiglu": (lambda x: functional.swiglu(x, x.flip(0)), {}),
    "prelu": (lambda x: functional.prelu(x, torch.full((x.shape[-1],), 0.2, requires_grad=True)), {}),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def _both(way: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    function, kept = way
    with options(**kept):
        y = function(x)
    return y.detach(), torch.autograd.grad(y, x, torch.ones_like(y))[0]


@ways
def test_no_call_waits_for_the_gpu(way: Any) -> None:
    x = torch.randn(64, 1000, requires_grad=True)
    first = _both(way, x)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        second = _both(way, x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@ways
def test_calls_run_on_the_current_stream(way: Any) -> None:
    """On another they would read what was there before."""
    x, new = torch.zeros(64, 1000, requires_grad=True), torch.randn(64, 1000, requires_grad=True)
    expected = _both(way, new)
    _both(way, x)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        x.data.copy_(new.data)
        found = _both(way, x)
    stream.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@ways
def test_calls_are_captured_in_a_graph(way: Any) -> None:
    x, new = torch.randn(64, 1000, requires_grad=True), torch.randn(64, 1000, requires_grad=True)
    expected = _both(way, new)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # once outside: what is compiled then is not captured
        _both(way, x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = _both(way, x)
    x.data.copy_(new.data)
    graph.replay()
    torch.cuda.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@ways
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_tensors_of_a_gpu_that_is_not_the_current_one(way: Any) -> None:
    with torch.device("cuda:0"):
        x = torch.randn(64, 1000, requires_grad=True)
        expected = _both(way, x)
    with torch.device("cuda:1"):
        found = _both(way, x.detach().to("cuda:1").requires_grad_())
    assert torch.cuda.current_device() == 0
    assert all(f.device.index == 1 for f in found)
    assert all(torch.equal(f.to("cuda:0"), e) for f, e in zip(found, expected, strict=True))


@pytest.mark.parametrize("way", [WAYS["gelu"], WAYS["relu"], WAYS["lean"]], ids=["gelu", "relu", "lean"])
@pytest.mark.parametrize("strided", [False, True], ids=["dense", "strided"])
def test_more_elements_than_32_bits_count(way: Any, strided: bool) -> None:
    """The last ones are right, and the first, which a wrapped offset would have written over."""
    size = (1 << 31) + 4096 + 3
    if torch.cuda.mem_get_info()[0] < 12 * size:
        pytest.skip(f"needs {12 * size >> 30} GiB of GPU memory")
    if strided:
        x = torch.empty(size // 2 + 1, 3, dtype=torch.bfloat16).normal_()[:, :2].requires_grad_()
    else:
        x = torch.empty(size, dtype=torch.bfloat16).normal_().requires_grad_()
    y, slope = _both(way, x)
    for part in (x[:5000], x[-5000:]):
        ours = part.detach().clone().requires_grad_()
        expected = _both(way, ours)
        place = slice(0, 5000) if part.data_ptr() == x.data_ptr() else slice(-5000, None)
        assert torch.equal(y[place], expected[0])
        assert torch.equal(slope[place], expected[1])


def test_parameter_gradients_are_the_same_every_time() -> None:
    layer = nn.PReLU(96)
    x, g = torch.randn(32, 96, 40, 41), torch.randn(32, 96, 40, 41)
    found = [torch.autograd.grad(layer(x), layer.weight, g)[0] for _ in range(5)]
    assert all(torch.equal(f, found[0]) for f in found)
    expected = (g.double() * x.double().clamp(max=0)).sum((0, 2, 3))
    torch.testing.assert_close(found[0].double(), expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize("name", ["gelu", "mish", "prelu"])
def test_torch_compile_fuses_without_a_break(name: str) -> None:
    from torch._inductor import metrics

    torch._dynamo.reset()
    function = getattr(functional, name)
    weight = (torch.full((64,), 0.2),) if name == "prelu" else ()
    block = torch.compile(lambda x: function(x * 2 + 1, *weight) * 3, fullgraph=True)
    x = torch.randn(256, 64)
    metrics.reset()
    torch.testing.assert_close(block(x), function(x * 2 + 1, *weight) * 3, rtol=1e-5, atol=1e-6)
    assert metrics.generated_kernel_count == 1


def test_a_block_trains() -> None:
    """Forward, backward and a step with each way of keeping; gates of the halves of one tensor."""
    model = torch.nn.Sequential(
        torch.nn.Linear(32, 128), nn.SwiGLU(), torch.nn.Linear(64, 32), nn.ReLU(), nn.Tanh()
    )
    x, target = torch.randn(256, 32), torch.randn(256, 32).tanh()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for saved in ("full", "lean", "output"):
        losses = []
        for _ in range(20):
            with options(saved=saved):
                loss = torch.nn.functional.mse_loss(model(x), target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        assert losses[-1] < losses[0], saved
