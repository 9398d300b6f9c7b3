"""Kernels on numpy arrays: contiguous, one shape, one thread.

bfloat16 is held as uint16 bits (`from_bfloat16` widens them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from softknee.kernels import native
from softknee.kernels.llvm import Kernel, Operand, form_of, to_llvm

if TYPE_CHECKING:
    from softknee.kernels.program import Program, Value

__all__ = ["from_bfloat16", "narrowed", "run", "run_program"]

NUMPY = {"float32": "f4", "float64": "f8", "float16": "f2", "bfloat16": "u2", "bits": "u1"}


def run(
    call: native.NativeCall, kernel: Kernel, arrays: list[Any], scalars: tuple[float, ...] = ()
) -> list[Any]:
    """The kernel's results for contiguous arrays of one size, in the order of its operands."""
    import numpy as np

    shape = arrays[0].shape
    arrays = [np.ascontiguousarray(a) for a in arrays]
    outputs = [np.empty(shape, NUMPY[o.storage]) for _, o in kernel.results]
    addresses = [a.ctypes.data for a in (*arrays, *outputs)]
    call(arrays[0].size, 1, 1, *addresses, *map(float, scalars))
    return outputs


def run_program(
    program: Program, results: list[Value], arrays: list[Any], storage: Any = "float32", out: Any = None
) -> list[Any]:
    """Compiles a program whose input(k) is arrays[k] and runs it: for tests and experiments."""
    kernel = Kernel(
        program,
        tuple(Operand(storage) for _ in arrays),
        tuple((value, Operand(out or storage)) for value in results),
    )
    ir = to_llvm(kernel, native.features())
    form = form_of(kernel.inputs, [o for _, o in kernel.results])
    return run(native.load(ir, lambda: ir, form).call, kernel, arrays)


def from_bfloat16(bits: Any) -> Any:
    """uint16 bits as float32 values"""
    import numpy as np

    return (bits.astype(np.uint32) << 16).view(np.float32)


def narrowed(values: Any, storage: Any) -> Any:
    """The bits of float32 values rounded to a 16-bit type, to nearest even"""
    import numpy as np

    if storage == "float16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).view(np.uint16)
    bits = values.view(np.uint32)
    up = bits + (0x7FFF + ((bits >> 16) & 1)).astype(np.uint32)
    return np.where(np.isnan(values), np.uint32(0x7FC0), up >> 16).astype(np.uint16)
