"""Compiles kernels for a GPU that need not be there; run by test_compiles.py, outside the interpreter.

Prints one JSON line for each kernel: what it is, and what stands in its PTX.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
import triton
from torch.utils._python_dispatch import TorchDispatchMode
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from softknee import catalogue
from softknee.kernels.llvm import Kernel, Operand, Scalar
from softknee.kernels.plan import Plan, kernel_of
from softknee.kernels.program import Program
from softknee.kernels.triton import OPTIONS, Layout, names, tables, to_triton
from softknee.lang import maximum, sigmoid, symbol, where
from softknee.nn import gpu, launch, saved
from softknee.nn.pointwise import Call, Pointwise
from softknee.nn.runtime import runtime

POINTER = {"bits": "*u8", "float32": "*fp32", "float64": "*fp64", "float16": "*fp16", "bfloat16": "*bf16"}
TABLE = {"f64": "*fp64", "f32": "*fp32"}


def compiled(kernel: Kernel, layout: Layout, numbers: tuple[int, ...] = (1 << 20,)) -> Any:
    """A kernel compiled as Triton's launcher does for aligned tensors and these sizes and strides."""
    types: dict[str, str] = {}
    constants, hints = {}, {}
    left = list(numbers)
    for place, name in enumerate(names(kernel, layout)):
        plain, _, annotation = name.partition(":")
        if annotation:
            types[plain] = annotation.strip(' "')
            continue
        if plain[0] == "p":
            types[plain] = POINTER[kernel.operands[int(plain[1:])].storage]
        elif plain[0] == "t":
            types[plain] = TABLE[tables(kernel)[int(plain[1:])][0]]
        else:
            value = left.pop(0)
            types[plain] = "i32" if value != 1 else "constexpr"
            if value == 1:
                constants[plain] = 1
            if value == 1 or value % 16:
                continue
        hints[place,] = [["tt.divisibility", 16]]
    source = ASTSource(gpu._function(to_triton(kernel, layout)), types, constants, hints)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=OPTIONS)


def function(name: str, dtype: Any, order: int = 0, **given: float) -> Kernel:
    definition = next(d for d in catalogue.all_definitions() if d.name == name)
    op = runtime(definition).operator({}, given, order=order)
    inputs = (*((n, Operand(dtype)) for n in op.tensors), *((n, Scalar()) for n in op.scalars))
    return kernel_of(Plan(((op.expressions[0], Operand(dtype)),), inputs), "gpu")


def flat(kernel: Kernel) -> tuple[Kernel, Layout, tuple[int, ...]]:
    return kernel, Layout((None,) * len(kernel.operands)), (1 << 20,)


def summed() -> tuple[Kernel, Layout, tuple[int, ...]]:
    """Both gradients of a sigmoid(b), b a row: as nn/gpu.py asks for them."""
    gate = Pointwise.of(symbol("a") * sigmoid(symbol("b")), ("a", "b"), inputs=("a", "b"))
    derived = gate.backward((True, True))
    assert derived is not None
    back, _ = derived
    inputs = tuple((n, Operand("bfloat16")) for n in back.tensors if n in back.used)
    results = (Operand("bfloat16"), Operand("float64", "sum"))
    shape, row = (4096, 1), (0, 1)
    strides = tuple(row if n == "b" else shape for n, _ in inputs)
    geometry = gpu._geometry((512, 4096), shape, (*strides, shape, row), len(inputs), (None, (4096,)))
    assert geometry is not None
    plan = Plan(
        tuple(zip(back.expressions, results, strict=True)), inputs, factors=frozenset(back.tensors[2:])
    )
    return kernel_of(plan, "gpu"), geometry.layout, geometry.numbers


def coded() -> dict[str, tuple[Kernel, Layout, tuple[int, ...]]]:
    """relu with the sign of its input kept as a bit, and the gradient from that bit"""
    x, g, bit = symbol("x"), symbol("g"), symbol("bit")
    write = Plan(
        ((maximum(x, 0), Operand("bfloat16")), (where(x > 0, 1, 0), Operand("bits"))),
        (("x", Operand("bfloat16")),),
    )
    read = Plan(
        ((g * where(bit > 0, 1, 0), Operand("bfloat16")),),
        (("bit", Operand("bits")), ("g", Operand("bfloat16"))),
        factors=frozenset({"g"}),
    )
    return {"a bit written": flat(kernel_of(write, "gpu")), "a bit read": flat(kernel_of(read, "gpu"))}


def product_and_sum() -> Kernel:
    """x x + x, in two roundings"""
    p = Program()
    x = p.input(0, "f32")
    return Kernel(p, (Operand("float32"),), ((p.add(p.mul(x, x), x), Operand("float32")),))


class Driver:
    """Stands for Triton's: compiles for a GPU that is not there, and writes down what it is asked to launch.

    Once `warm` it does nothing but tell the device and the stream, and launch."""

    def __init__(self) -> None:
        self.stream, self.warm, self.launched = 0, False, []  # type: ignore[var-annotated]
        self.utils = SimpleNamespace(
            load_binary=lambda *_: self.slow((object(), object(), 0, 0, 1024)),
            get_device_properties=lambda _: self.slow({"max_shared_mem": 1 << 17}),
        )

    def slow(self, answer: Any) -> Any:
        assert not self.warm, "something is loaded or asked that was before"
        return answer

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        def record(*a: Any) -> None:
            self.launched.append({"programs": a[0], "stream": a[3], "arguments": len(a[9:])})

        return self.slow(record)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return self.stream

    def get_current_target(self) -> GPUTarget:
        return self.slow(GPUTarget("cuda", 90, 32))  # type: ignore[no-any-return]


class Recorder(TorchDispatchMode):
    """What torch does meanwhile: what is not among the operations that only allocate or sum is refused, as
    are reading a number from a tensor and copying between memories, which wait for a GPU."""

    MAY = frozenset({"empty", "empty_like", "empty_strided", "sum", "permute", "view", "_unsafe_view", "_to_copy",
                     "unbind", "select", "detach", "slice", "t"})  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.allocated = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        assert name in self.MAY, name
        assert name != "_to_copy" or "device" not in (kwargs or {}), "a copy to another memory"
        self.allocated += name.startswith("empty")
        return func(*args, **(kwargs or {}))


def launched(driver: Driver) -> list[dict[str, int]]:
    """Three launches of one operator, on three streams: by Triton's launcher, then by what it compiled, then for
    a size of another kind."""
    op = Pointwise.of(maximum(symbol("x"), 0), ("x",))
    for driver.stream, size in ((11, 4096), (12, 8192), (13, 4097)):
        gpu.run(op, (torch.zeros(size),), Call(), (None,))
    return list(driver.launched)


def repeated(driver: Driver) -> dict[str, list[int]]:
    """Calls of each kind made again, as a CUDA graph captures them: the launches and allocations of one"""
    gate = Pointwise.of(symbol("a") * sigmoid(symbol("b")), ("a", "b"), inputs=("a", "b"))
    derived, scaled = (
        gate.backward((True, True)),
        Pointwise.of(symbol("c") * sigmoid(symbol("x")), ("x",), ("c",)),
    )
    looked_up = runtime(catalogue.get("cosine")).operator({}, {})
    form = saved._made(runtime(catalogue.get("relu")).operator({}, {}), "full", 4)
    assert derived is not None
    assert isinstance(form, saved.Coded)
    x, row, column = torch.randn(48, 64), torch.randn(64), torch.randn(48, 1)
    y = form.elsewhere(x.clone().requires_grad_(), Call(), False)
    both = Call((), ((48, 1), (64,)))
    calls = {
        "value": lambda: gpu.run(looked_up, (x,), Call(), (None,)),
        "in place": lambda: gpu.run(looked_up, (x,), Call(), (x,)),
        "a number given at the call": lambda: gpu.run(scaled, (x.t(),), Call((0.3,)), (None,)),
        "strided": lambda: gpu.run(gate, (x[:, ::2], row[::2]), Call(), (None,)),
        "sums": lambda: gpu.run(derived[0], (x, row, x), Call((), (None, (64,))), (None, None)),
        "sums both ways": lambda: gpu.run(derived[0], (column, row, x), both, (None, None)),
        "codes written": lambda: form.elsewhere(x, Call(), False),
        "codes read": lambda: y.grad_fn.apply(x),
    }
    launch._modes = lambda: 0  # the recorder is nobody who must see every operation
    found = {}
    for name, call in calls.items():
        driver.warm = False
        with torch.no_grad():
            call()
            driver.warm, before = True, len(driver.launched)
            with Recorder() as seen, forbidden():
                call()
        found[name] = [len(driver.launched) - before, seen.allocated]
    return found


@contextmanager
def forbidden() -> Iterator[None]:
    """What waits for a GPU, or asks it"""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("waits for the GPU")

    places = [
        (torch.cuda, n) for n in ("synchronize", "current_stream", "get_device_properties", "mem_get_info")
    ]
    places += [
        (torch.Tensor, n) for n in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__")
    ]
    before = [getattr(*place) for place in places]
    for place in places:
        setattr(*place, refuse)
    try:
        yield
    finally:
        for place, original in zip(places, before, strict=True):
            setattr(*place, original)


def main() -> None:
    kernels = {
        "a product and a sum": flat(product_and_sum()),
        "one function in float32": flat(function("silu", "float32")),
        "its derivative in float64": flat(function("silu", "float64", 1)),
        "a table": flat(function("cosine", "float32")),
        "a number given at the call": flat(function("celu", "bfloat16", alpha=0.3)),
        "sums": summed(),
        **coded(),
    }
    for name, (kernel, *reached) in kernels.items():
        made = compiled(kernel, *reached).asm
        ptx = made["ptx"]
        count = lambda pattern, ptx=ptx: len(re.findall(pattern, ptx))  # noqa: E731
        print(
            json.dumps(
                {
                    "kernel": name,
                    "fma": count(r"\bfma\.rn\.f(32|64)"),
                    "contracted": "FFMA" in made["sass"] if name == "a product and a sum" else False,
                    "fma in the program": sum(i.op == "fma" for _, i in kernel.program),
                    "looked up": sum(i.op in ("pick", "gather") for _, i in kernel.program),
                    "products and sums": count(r"\b(mul|add|sub)(\.rn)?\.f(32|64)"),
                    "approximations": sorted(set(re.findall(r"\b\w+\.(?:approx|ftz)\S*", ptx))),
                    "shared": count(r"\b(?:ld|st)\.shared|\bbar\.sync|\bshfl"),
                    "bytes": count(r"\b(?:ld|st)\.global\S*\.[bus]8\b"),
                    "wide loads": count(r"ld\.global\S*\.v[24]\."),
                    "narrow loads": count(r"ld\.global\S*\.(b|f|u|s)(8|16|32|64)\b")
                    - count(r"ld\.global\S*\.v"),
                }
            )
        )
    driver = Driver()
    triton.runtime.driver.set_active(driver)
    print(json.dumps({"kernel": "launches", "launched": launched(driver), "repeated": repeated(driver)}))


if __name__ == "__main__":
    main()
