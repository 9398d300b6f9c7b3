"""The GPU's kernels: on a GPU where there is one, else in Triton's interpreter, on small inputs.

The interpreter is chosen before Triton is imported, by TRITON_INTERPRET (tests/conftest.py); `make
test-gpu` switches it off.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from softknee.nn import gpu, launch, parts, pointwise, runtime, saved
from softknee.testing import laws

triton = pytest.importorskip("triton")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
#: what does not hold: terms that cancel are computed in more than pairs of float64 on the CPU only (docs/accuracy.md)
LIMITS = {
    f"test_value_and_derivative[float64-{name}]": "the error is small against the terms, not against their difference"
    for name in ("dsilu", "xielu")
}
#: of values and of derivatives; 16-bit results are rounded from float32, not correctly rounded
BOUNDS = {"float32": (2.0, 2.0), "float16": (0.502, 0.502), "bfloat16": (0.502, 0.502)}
#: 16-bit derivatives beyond that, around a root: the least bound that holds at all inputs (docs/gpu.md)
BEYOND = {
    "colu": 0.582, "dsilu": 0.535, "e_swish": 0.506, "gelu": 0.522, "gelu_10": 0.522, "logish": 0.503, "mish": 0.784,
    "stochastic_gelu": 0.522,
}  # fmt: skip


def bounds_of(name: str, dtype: str) -> tuple[float, float]:
    value, derivative = BOUNDS.get(dtype) or laws.BOUNDS[dtype]
    return value, BEYOND.get(name, derivative) if dtype == "float16" else derivative


# `make test-gpu`: what is found is written at once, a line each; tests that no time is left for are skipped.

REPORT, MINUTES = os.environ.get("SOFTKNEE_GPU_REPORT"), float(os.environ.get("SOFTKNEE_GPU_MINUTES", "inf"))
LATE = "not begun: no time was left"
_start, _found = time.monotonic(), []  # type: ignore[var-annotated]


def pytest_runtest_setup() -> None:
    if time.monotonic() - _start > 60 * MINUTES:
        pytest.skip(LATE)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if not REPORT or "PYTEST_XDIST_WORKER" in os.environ or (report.when != "call" and report.passed):
        return
    outcome = "known limit" if hasattr(report, "wasxfail") and report.skipped else report.outcome
    reason = str(report.longrepr)[-1000:] if report.longrepr else ""
    outcome = "not begun" if LATE in reason else outcome
    line = {"test": report.nodeid, "outcome": outcome, "seconds": round(report.duration, 2), "why": reason}
    with Path(REPORT).open("a" if _found else "w", encoding="utf-8") as file:
        if not _found:
            file.write(json.dumps(_where()) + "\n")
        file.write(json.dumps(line) + "\n")
    _found.append(line)


def _where() -> dict[str, Any]:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: Triton's interpreter"
    return {"tests": "gpu", "device": device, "torch": torch.__version__, "triton": triton.__version__}


def pytest_unconfigure() -> None:
    """A short table, last of all"""
    if not _found:
        return
    outcomes = ("passed", "failed", "known limit", "skipped", "not begun")
    rows: dict[str, Counter[str]] = {}
    for line in _found:
        rows.setdefault(line["test"].split("[")[0].rpartition("::")[2], Counter())[line["outcome"]] += 1
    rows["all"] = sum(rows.values(), Counter())
    print(f"\n{_where()['device']}, torch {torch.__version__}, triton {triton.__version__}; {REPORT}")
    print(f"{'':60s}" + "".join(f"{o:>13s}" for o in outcomes))
    for name, counts in rows.items():
        print(
            f"{name.removeprefix('test_').replace('_', ' ')[:59]:60s}"
            + "".join(f"{counts[o]:13d}" for o in outcomes)
        )


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


def _splat(original: Any) -> Any:
    """The interpreter takes the outcome of a comparison of two numbers for a float when it spreads it."""
    import triton.language as tl
    from triton.runtime.interpreter import TensorHandle

    def splat(self: Any, kind: Any, value: Any) -> Any:
        data = np.asarray(value.data)
        if data.dtype != bool:
            return original(self, kind, value)
        return TensorHandle(np.full(kind.shape, data), tl.int1)

    return splat


def _far_form(op: Any, kept: Any, scalars: Any = ()) -> Any:
    """What tensors of a GPU keep, for tensors that are none"""
    if (made := op.forms.get(("far", kept, scalars))) is None:
        form = saved._made(op, *kept)
        form = form.at(scalars) if isinstance(form, saved.Lean) else form
        far = form and form.elsewhere
        shim = far and SimpleNamespace(apply=far, free=form.free, way=lambda *tensors: far)
        made = op.forms["far", kept, scalars] = (shim,)
    return made[0]


@pytest.fixture(autouse=True)
def on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every operator runs by the GPU's kernels: on CUDA tensors, or interpreted."""
    torch.manual_seed(0)
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
    monkeypatch.setattr(InterpreterBuilder, "create_splat", _splat(InterpreterBuilder.create_splat))
    monkeypatch.setattr(
        launch, "run", lambda op, ts, call, out=None: gpu.run(op, ts, call, (out,) * len(op.outputs))
    )
    monkeypatch.setattr(launch, "_strided", gpu.run)
    for user in (pointwise, runtime):
        monkeypatch.setattr(user, "saved_form", _far_form)
    known = [(kept, dict(kept)) for op in pointwise._operators for kept in (op.kernels, op.forms)]
    for kernels, _ in known:
        kernels.clear()  # what was compiled for the CPU would be found first
    monkeypatch.setattr(parts, "saved_form", lambda *_: None)
    with np.errstate(all="ignore"):
        yield
    for kernels, before in known:
        kernels.clear()
        kernels.update(before)
