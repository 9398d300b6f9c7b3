"""The GPU's kernels: on a GPU where there is one, else in Triton's interpreter, on small inputs.

The interpreter is chosen before Triton is imported, by TRITON_INTERPRET (tests/conftest.py); `make
test-gpu` switches it off.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from softknee.nn import gpu, launch, pointwise, runtime, saved
from softknee.testing import laws

triton = pytest.importorskip("triton")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
#: 16-bit results are rounded from float32, not correctly rounded
BOUNDS = {"float16": (0.502, 0.502), "bfloat16": (0.502, 0.502)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if INTERPRETED or not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a GPU: none found, or TRITON_INTERPRET=1 (see `make test-gpu`)")
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(skip)


def _cast(original: Any) -> Any:
    """The interpreter cuts float32 to bfloat16, where GPUs round it, and misreads subnormal bfloat16."""
    import triton.language as tl
    from triton.runtime.interpreter import TensorHandle

    def cast(self: Any, source: Any, kind: Any) -> Any:
        types = (source.dtype.scalar, kind.scalar)
        data = np.atleast_1d(source.data)
        if types == (tl.float32, tl.bfloat16):
            rounded = torch.from_numpy(data).to(torch.bfloat16)
            return TensorHandle(rounded.view(torch.int16).numpy().view(np.uint16), tl.bfloat16)
        if types == (tl.bfloat16, tl.float32):
            return TensorHandle((data.astype(np.uint32) << 16).view(np.float32), tl.float32)
        return original(self, source, kind)

    return cast


def _far_form(op: Any, kept: Any) -> Any:
    """What a tensor of a GPU keeps, for tensors that are none"""
    if (made := op.forms.get(("far", kept))) is None:
        form = saved._made(op, *kept)
        far = form and form.elsewhere
        shim = far and SimpleNamespace(apply=far, free=form.free, way=lambda x: far)
        made = op.forms["far", kept] = (shim,)
    return made[0]


@pytest.fixture(autouse=True)
def on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every operator runs by the GPU's kernels: on CUDA tensors, or interpreted."""
    for dtype, bounds in BOUNDS.items():
        monkeypatch.setitem(laws.BOUNDS, dtype, bounds)
    if not INTERPRETED:
        if not torch.cuda.is_available():
            pytest.skip("needs a GPU, or TRITON_INTERPRET=1")
        with torch.device("cuda"):
            yield
        return
    from triton.runtime.interpreter import InterpreterBuilder

    monkeypatch.setattr(InterpreterBuilder, "cast_impl", _cast(InterpreterBuilder.cast_impl))
    monkeypatch.setattr(
        launch, "run", lambda op, ts, call, out=None: gpu.run(op, ts, call, (out,) * len(op.outputs))
    )
    monkeypatch.setattr(launch, "_strided", gpu.run)
    for user in (pointwise, runtime):
        monkeypatch.setattr(user, "saved_form", _far_form)
    known = [(kept, dict(kept)) for op in pointwise._operators for kept in (op.kernels, op.forms)]
    for kernels, _ in known:
        kernels.clear()  # what was compiled for the CPU would be found first
    for op in pointwise._operators:
        op.forms["joint"] = None
    with np.errstate(all="ignore"):
        yield
    for kernels, before in known:
        kernels.clear()
        kernels.update(before)
