"""How kernels are launched, on stand-ins: what needs a GPU to show is in test_hardware.py."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.gpu.conftest import INTERPRETED
from torch.utils._python_dispatch import TorchDispatchMode

from softknee import catalogue
from softknee.lang import sigmoid, symbol
from softknee.nn import gpu, saved
from softknee.nn.pointwise import Call, Pointwise
from softknee.nn.runtime import runtime

interpreted = pytest.mark.skipif(not INTERPRETED, reason="a stand-in for a GPU, and there is one")


class Watched(TorchDispatchMode):
    """What torch does meanwhile"""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@interpreted
def test_nothing_but_allocations_and_small_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that waits for a GPU (`item`, a copy between devices), and no copy of an operand; shapes are broadcast by
    views of an empty tensor."""
    monkeypatch.setattr(gpu._Launch, "__call__", lambda *_: True)
    gate = Pointwise.of(symbol("a") * sigmoid(symbol("b")), ("a", "b"), inputs=("a", "b"))
    back = gate.backward((True, True))
    assert back is not None
    a, b, call = torch.randn(40, 70), torch.randn(70), Call()
    form = saved._made(runtime(catalogue.get("relu")).operator({}, {}), "full", 4)
    assert form is not None
    with Watched() as plain:
        gpu.run(gate, (a, a), call, (None,))
        gpu.run(gate, (a.t(), a.t()), call, (None,))
        gpu.run(gate, (a[:, ::2], b[::2]), call, (None,))
        form.elsewhere(a[:, ::2], call, False)
    assert plain.seen <= {
        "empty",
        "empty_like",
        "empty_strided",
        "expand",
        "slice",
        "select",
        "detach",
        "unbind",
        "t",
        "promote_types",
    }
    with Watched() as sums:
        gpu.run(back[0], (a, b, a), Call((), (None, (70,))), (None, None))
    assert sums.seen <= {
        "empty",
        "empty_like",
        "empty_strided",
        "expand",
        "sum",
        "permute",
        "view",
        "_unsafe_view",
        "_to_copy",
        "promote_types",
    }


@interpreted
def test_a_launch_goes_to_the_device_of_the_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    current, entered = [0], []

    @contextlib.contextmanager
    def device(d: torch.device) -> Iterator[None]:
        before, current[0] = current[0], d.index
        entered.append(d.index)
        yield
        current[0] = before

    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[0])
    monkeypatch.setattr(torch.cuda, "device", device)
    launched = []
    kernel = object.__new__(gpu._Compiled)
    kernel.contents, kernel._tables, kernel._made = [], {}, {}
    call = lambda *arguments: launched.append(current[0])  # noqa: E731
    made = type("Made", (), {"__getitem__": lambda self, grid: call})()
    function = lambda *arguments, **_: launched.append(current[0]) or made  # noqa: E731
    kernel.function = type("Function", (), {"__getitem__": lambda self, grid: function})()
    ready = gpu._Launch(kernel, gpu._Geometry(gpu.Layout((None,)), (1024,), 1, ()))
    for index in (0, 1, 0, 2):
        ready([SimpleNamespace(device=torch.device("cuda", index), data_ptr=lambda: 256)], ())  # type: ignore[list-item]
    assert launched == [0, 1, 0, 2]
    assert entered == [1, 2]  # where it is the current one already, nothing is asked
    assert len(kernel._made) == 3


@interpreted
def test_offsets_beyond_32_bits_reach_their_elements(tmp_path: Path) -> None:
    """Rows 2^30 elements apart, in a file with holes."""
    apart = (1 << 30) + 64
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(2 * (2 * apart + 100))
    memory = torch.from_file(str(tmp_path / "sparse"), shared=True, size=2 * apart + 100, dtype=torch.float16)
    geometry = gpu._geometry((3, 100), (100, 1), ((apart, 1), (100, 1)), 1, (None,))
    assert geometry is not None
    assert geometry.layout.wide
    x = memory.as_strided((3, 100), (apart, 1))
    x.copy_(torch.randn(3, 100))
    op = Pointwise.of(symbol("x") * 2, ("x",))
    assert torch.equal(op(x, Call()), x.clone() * 2)


@interpreted
@pytest.mark.filterwarnings("ignore")  # torch's own
@pytest.mark.parametrize("name", ["mish", "swiglu"])
def test_torch_compile_makes_one_kernel_of_a_function_and_its_neighbours(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one graph; forward one kernel, backward one, both gradients of a gate in it. Inductor's loops for the CPU
    are written, not compiled: it joins the same operations for a GPU (test_hardware.py)."""
    from torch._inductor import config, metrics
    from torch._inductor.async_compile import AsyncCompile

    from softknee import functional

    monkeypatch.setattr(AsyncCompile, "cpp_pybinding", lambda *_, **__: lambda *_: None)
    function, count = getattr(functional, name), 2 if name == "swiglu" else 1
    given = [torch.randn(8, 64, requires_grad=True) for _ in range(count)]
    torch._dynamo.reset()
    metrics.reset()
    with config.patch({"cpp.simdlen": 1, "fx_graph_cache": False, "compile_threads": 1}):
        y = torch.compile(lambda *xs: function(*(x * 2 + 1 for x in xs)) * 3, fullgraph=True)(*given)
        assert metrics.generated_kernel_count == 1
        y.sum().backward()
        assert metrics.generated_kernel_count == 2
    torch._dynamo.reset()


def test_without_triton_all_works_and_nothing_is_said() -> None:
    script = """
import sys
sys.modules["triton"] = None
import torch
from softknee import functional as F, nn
from softknee.nn import gpu
x = torch.randn(8, 6, requires_grad=True)
nn.Sequential(nn.GELU(), nn.PReLU(6), nn.ReLU())(F.swiglu(x, x)).sum().backward()
assert x.grad.isfinite().all()
assert "Triton is not installed" in gpu.missing()
assert F.gelu(torch.empty(3, device="meta")).shape == (3,)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
