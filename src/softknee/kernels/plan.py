"""What a kernel is: which expressions, from which operands, in which arithmetic.

The one rule of precision: compute in twice the precision of the result and round once. float32 and
16-bit results are computed in float64, float64 results in pairs of float64; and so are 16-bit results
where float64 cannot tell on which side of the middle between two of them they lie. Next to a root at which
terms cancel, float64 results are those of a polynomial. For speed a float32
result is computed in float32 where the rounding error of the whole expression stays within
`SINGLE_LIMIT`: bounded operation by operation (`single_error`), or else measured (`measured_error`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Literal

from softknee.kernels import native
from softknee.kernels.arrays import from_bfloat16, narrowed, run, run_program
from softknee.kernels.cancel import beside_roots
from softknee.kernels.entry import SERIAL, SERIAL_LIGHT
from softknee.kernels.error import SINGLE_LIMIT, digits_of, single_error
from softknee.kernels.llvm import SIZE, Finer, Kernel, Operand, Scalar, form_of, to_llvm
from softknee.kernels.lower import lower
from softknee.kernels.measure import measured_error
from softknee.kernels.pieces import REACHES, Pieces, evaluate, fitted, shortcut
from softknee.kernels.primitives import Double, Odd, Pair, Single
from softknee.kernels.program import Program, Value
from softknee.kernels.table import is_choice, is_exact, split, table_of
from softknee.kernels.triton import Layout, to_triton
from softknee.lang.cost import cost
from softknee.lang.nodes import Node, symbols_in
from softknee.lang.stored import to_json

__all__ = ["SINGLE_LIMIT", "Plan", "arithmetic_for", "compile_plan", "kernel_of", "sources"]

Precision = Literal["default", "exact"]
#: largest measured error, in the same unit, of a value and of a derivative computed in float32 on the
#: GPU, by the type that is stored: 1/500 of a unit of float16 is 16 units of float32, of bfloat16 131
GPU_LIMIT = {"float32": (1.9, 1.9), "float16": (15.0, 15.0), "bfloat16": (125.0, 125.0)}


#: the most additions' worth of work an element that two threads do no sooner together where there are few elements
LIGHT = 8


@dataclass(frozen=True)
class Plan:
    """Outputs (an expression each, and where it goes) and inputs (a symbol each, and where from)."""

    outputs: tuple[tuple[Node, Operand], ...]
    inputs: tuple[tuple[str, Operand | Scalar], ...]
    precision: Precision = "default"
    #: symbols that derivatives are multiplied with (incoming gradients); none: these are no derivatives
    factors: frozenset[str] = frozenset()

    def key(self) -> str:
        """Determines the code: the expressions' structure, the operands, and our own sources."""
        expressions, ends = to_json(*(e for e, _ in self.outputs)), [o for _, o in self.outputs]
        return repr((expressions, ends, self.inputs, self.precision, sorted(self.factors), sources()))


@cache
def sources() -> str:
    """A hash of the code that finds expressions and writes kernels, so that what is cached is never older than it."""
    digest = hashlib.sha256("".join(d.version for d in distributions(name="mpmath")).encode())
    here = Path(__file__).parent
    for folder in (here, here.parent / "lang"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def arithmetic_for(plan: Plan) -> type:
    """Pair for float64, Single where its error is small enough, else Double."""
    if "float64" in _stored(plan):
        return Pair
    plain = {o.storage for o in _operands(plan)} - {"bits"} == {"float32"}
    if plan.precision == "default" and plain:
        expressions = [e for e, o in plan.outputs if o.storage != "bits"]
        if all(_good_in_single(e, plan, SINGLE_LIMIT) for e in expressions):
            return Single
    return Double


def _stored(plan: Plan) -> set[str]:
    """The types of what is read, and of what is written but for sums: those are of float64 in any case."""
    return {o.storage for o in _operands(plan) if not o.access.startswith("sum")}


def _operands(plan: Plan) -> list[Operand]:
    return [o for _, o in plan.outputs] + [i for _, i in plan.inputs if isinstance(i, Operand)]


def gpu_arithmetic_for(plan: Plan) -> type:
    """As `arithmetic_for`, where float64 costs much more: float32 also wherever its error, if it cannot be
    bounded, is measured to be small enough. Sums are taken of the float32 results."""
    if "float64" in _stored(plan):
        return Pair
    if plan.precision == "exact":
        return Double
    for expression, o in plan.outputs:
        if o.storage == "bits":  # beside a border either choice is as good
            continue
        largest = 65504.0 if o.storage == "float16" else math.inf
        if not _good_in_single(expression, plan, GPU_LIMIT.get(o.storage, GPU_LIMIT["float32"]), largest):
            return Double
    return Single


def _good_in_single(
    expression: Node, plan: Plan, limit: tuple[float, float], largest: float = math.inf
) -> bool:
    """Whether the error of float32 arithmetic stays within the limit for values or for derivatives."""
    scalars = {name for name, i in plan.inputs if isinstance(i, Scalar)}
    if single_error(expression, scalars) <= SINGLE_LIMIT[0]:
        return True
    if not scalars.isdisjoint(symbols_in(expression)):
        return False
    return measured_error(expression, plan.factors, Single, largest) <= limit[bool(plan.factors)]


def _lanes(arithmetic: type) -> int:
    """Elements computed side by side: several registers' worth, to hide the latency of each step.

    Measured with AVX-512: 64 takes 0.6 to 0.8 of the time of 16 (silu, gelu, softplus, tanh).
    """
    wide = "avx512f" in native.features()
    return (16 if wide else 8) if arithmetic is Pair else 64 if wide else 16


def kernel_of(plan: Plan, backend: Literal["cpu", "gpu"] = "cpu") -> Kernel:
    """The kernel a backend spells: the plan's expressions, lowered."""
    arithmetic = arithmetic_for(plan) if backend == "cpu" else gpu_arithmetic_for(plan)
    program = Program()
    roots = [e for e, _ in plan.outputs]
    parts: dict[str, tuple[str, Node]] = {}
    storages = {n: (k, i.storage) for k, (n, i) in enumerate(plan.inputs) if isinstance(i, Operand)}
    narrow = {n for n, (_, storage) in storages.items() if SIZE[storage] == 2}
    if narrow and backend == "cpu":  # a table would not fit beside the data in a GPU's caches
        roots, parts = split(roots, narrow)
        if arithmetic is Double and _float32_will_do(roots, plan):
            arithmetic = Single
    kind = "f32" if arithmetic is Single else "f64"
    values = {name: program.input(k, kind) for k, (name, _) in enumerate(plan.inputs)}
    digits = {name: _DIGITS.get(i.storage, 53) if isinstance(i, Operand) else 53 for name, i in plan.inputs}
    for name, (source_name, part) in parts.items():
        place, storage = storages[source_name]
        entries = table_of(
            part, source_name, storage, partial(_values, part, source_name, factors=plan.factors)
        )
        found = None
        uses = [
            (r, o.storage) for r, (_, o) in zip(roots, plan.outputs, strict=True) if name in symbols_in(r)
        ]
        scaled = any(root.op != "symbol" for root, _ in uses)
        alike = {s for _, s in uses} == {storage}
        if arithmetic is Single and alike:
            for way in _ways(part, source_name, place, bool(plan.factors)):
                strays = _strays_in_float32(way, storage, entries, scaled)
                if strays is not None:
                    found = way(program)
                    if strays[1]:
                        found = program.mend(found, program.input(place, "i32"), payload=(*strays, entries))
                    break
        if found is None:
            if storage == "bfloat16" and alike and not scaled:  # the results themselves
                entries, digits[name] = _rounded_entries(entries), _DIGITS[storage]
            found = program.lookup(program.input(place, "i32"), payload=entries)
        values[name] = found if arithmetic is Single else program.widen(found)
    computed = arithmetic(program)
    results = lower(roots, program, computed, values)
    finer = None
    if backend == "cpu" and arithmetic is Double:
        finer = _nearer(roots, plan)
    if backend == "cpu" and not (finer or plan.factors):
        finer = beside_roots(plan.outputs, plan.inputs, computed, values)
    short = None
    if backend == "cpu" and _pieces_pay(plan):
        places = {n: k for k, (n, i) in enumerate(plan.inputs) if isinstance(i, Operand)}
        ends = [(e, o.storage == "bits") for e, o in plan.outputs]
        short = shortcut(ends, places, bool(plan.factors), arithmetic)
    header = (
        "\n".join(f"{o.storage} {o.access}: {e!r}"[:400] for e, o in plan.outputs)
        + f"\ncomputed in {arithmetic.__name__} arithmetic"
        + ("; in pieces where the inputs are small" if short else "")
    )
    return Kernel(
        program,
        tuple(i for _, i in plan.inputs),
        tuple((value, o) for value, (_, o) in zip(results, plan.outputs, strict=True)),
        lanes=_lanes(arithmetic),
        header=header,
        shortcut=short,
        finer=finer,
        exact=frozenset(
            k
            for k, (root, (_, o)) in enumerate(zip(roots, plan.outputs, strict=True))
            if o.storage == "bfloat16" and digits_of(root, digits) <= _DIGITS["bfloat16"]
        ),
    )


def _rounded_entries(entries: bytes) -> bytes:
    """A table's entries, rounded to bfloat16"""
    import numpy as np

    return from_bfloat16(narrowed(np.frombuffer(entries, "<f4"), "bfloat16")).astype("<f4").tobytes()


def _nearer(roots: list[Node], plan: Plan) -> Finer | None:
    """The 16-bit results that float64 rounds before they are rounded, in pairs of float64; with precision="exact" also
    products with what a table has, which is a float32 number.

    roots: the outputs, in which a function of one variable may be the symbol of a table."""
    digits = {name: _DIGITS.get(i.storage, 53) if isinstance(i, Operand) else 53 for name, i in plan.inputs}
    tables = {name for root in roots for name in symbols_in(root)} - set(digits)
    if plan.precision == "default":
        digits |= dict.fromkeys(tables, 24)
    rounded = {
        k: expression
        for k, (expression, o) in enumerate(plan.outputs)
        if o.access == "row"
        and o.storage in _DIGITS
        and roots[k].op != "symbol"
        and digits_of(roots[k], digits) > 53
    }
    if not rounded:
        return None
    program = Program()
    values = {name: program.input(k, "f64") for k, (name, _) in enumerate(plan.inputs)}
    results = lower(list(rounded.values()), program, Odd(program), values)
    by_table = any(not tables.isdisjoint(symbols_in(roots[k])) for k in rounded)
    return Finer(program, dict(zip(rounded, results, strict=True)), error=2.0**-22 if by_table else 2.0**-32)


#: the binary digits of a number
_DIGITS = {"bfloat16": 8, "float16": 11}


def _pieces_pay(plan: Plan) -> bool:
    """Whether all is float32 or choices, not summed and not "exact", and the machine has registers to pick from"""
    given = all(i.storage == "float32" for _, i in plan.inputs if isinstance(i, Operand))
    plain = given and all(
        o.storage in ("float32", "bits") and not o.access.startswith("sum") for _, o in plan.outputs
    )
    return plain and plan.precision == "default" and "avx512f" in native.features()


def _float32_will_do(roots: list[Node], plan: Plan) -> bool:
    """Whether 16-bit results need no float64 before they are rounded: choices, tables, products of two inputs, which are
    exact, and (but for precision="exact") one of them times an incoming gradient, rounded twice: within 0.5 + 2^-12 ULP
    for bfloat16, 0.5 + 2^-9 for float16."""
    operands = [o for _, o in plan.outputs] + [i for _, i in plan.inputs]
    narrow = all(isinstance(o, Operand) and o.storage in _NARROW and o.access in _PLAIN for o in operands)
    factors = plan.factors if plan.precision == "default" else frozenset()
    inputs = {name for name, _ in plan.inputs}
    return narrow and all(
        is_choice(root) or is_exact(root, inputs) or _scaled_choice(root, factors) for root in roots
    )


def _scaled_choice(root: Node, factors: frozenset[str]) -> bool:
    if root.op != "mul":
        return False
    return any(a.payload in factors and is_choice(b, nearest=True) for a, b in (root.args, root.args[::-1]))


#: instructions that take as long as a look-up in a table; as pieces, the search for numbers beyond them included
_LOOKUP, _SHORT = 45, 30
#: the probability, for N(0, 1), of numbers that may send a whole vector to the table
_SELDOM = 2.0**-11


Way = Callable[[Program], Value]


def _ways(part: Node, name: str, place: int, derivative: bool) -> Iterator[Way]:
    """How float32 arithmetic may compute a function of one input: as it is defined, or in pieces; the shorter
    first, and nothing that takes longer than a table: which, where gathers are quick, is nothing"""
    if "quick-gather" in native.features():
        return

    def plainly(program: Program) -> Value:
        return lower([part], program, Single(program), {name: program.input(place, "f32")})[0]

    length = _length(plainly)
    if length <= _SHORT:
        yield plainly
    if "avx512f" in native.features():  # the widest alone: each attempt is compiled
        tried = (fitted(part, name, reach, derivative) for reach in REACHES)
        if (found := next(filter(None, tried), None)) is not None:
            yield partial(_piecewise, found, place)
    if _SHORT < length <= _LOOKUP:
        yield plainly


def _length(way: Way) -> float:
    program = Program()
    try:
        way(program)
    except (AttributeError, KeyError):  # a primitive that this arithmetic does not have
        return math.inf
    return len(program)


def _piecewise(pieces: Pieces, place: int, program: Program) -> Value:
    arithmetic = Single(program)
    return arithmetic.to_value(evaluate(pieces, program.input(place, "f32"), arithmetic))


def _strays_in_float32(
    way: Way, storage: Any, entries: bytes, scaled: bool = False
) -> tuple[int, int] | None:
    """Where float32 arithmetic, rounded to 16 bits, does not give what a table does (but for the sign of
    zeros): the first such number's bits without the sign, and how many from it to the last. None where
    networks meet such numbers often.

    scaled: the results are multiplied before they are rounded, so they must also be the table's to 21 bits.
    """
    import numpy as np

    computed = Program()
    value = way(computed)
    given, table = np.arange(65536, dtype=np.uint16), np.frombuffer(entries, "<f4")
    (found,) = run_program(computed, [value], [given], storage, "float32")
    a, b = narrowed(found, storage), narrowed(table, storage)
    size, infinite = np.uint16(0x7FFF), np.uint16(0x7C00 if storage == "float16" else 0x7F80)
    nan = ((a & size) > infinite) & ((b & size) > infinite)
    right = (a == b) | nan | (((a | b) & size) == 0)
    if scaled:
        with np.errstate(invalid="ignore"):
            right &= (np.abs(found - table) <= 2.0**-21 * np.abs(table)) | (found == table) | nan
    wrong = given[~right] & size
    if not wrong.size:
        return 0, 0
    ends = np.array([wrong.min(), wrong.max()])
    near, far = ends.view(np.float16) if storage == "float16" else from_bfloat16(ends)
    if math.erf(far / math.sqrt(2)) - math.erf(near / math.sqrt(2)) > _SELDOM:
        return None
    return int(ends[0]), int(ends[1]) - int(ends[0]) + 1


_NARROW = {"bfloat16", "float16", "bits"}
_PLAIN = {"row", "splat", "each"}


def _values(part: Node, name: str, x: Any, factors: frozenset[str] = frozenset()) -> Any:
    """A function of one variable at an array of float64, by our float64 kernel."""
    wide = Plan(((part, Operand("float64")),), ((name, Operand("float64")),), factors=factors)
    return run(compile_plan(wide).call, kernel_of(wide), [x])[0]


def source(plan: Plan, backend: Literal["cpu", "assembly", "gpu"] = "cpu") -> str:
    """The text of what runs: LLVM IR ("cpu"), this processor's instructions ("assembly"), Triton ("gpu")."""
    if backend == "gpu":
        kernel = kernel_of(plan, "gpu")
        return to_triton(kernel, Layout((None,) * len(kernel.operands)))
    ir = to_llvm(kernel_of(plan), native.features())
    return ir if backend == "cpu" else native.assembly(ir)


def compile_plan(plan: Plan) -> native.Loaded:
    form = form_of([i for _, i in plan.inputs], [o for _, o in plan.outputs])
    few = cost(*(e for e, _ in plan.outputs)).weight <= LIGHT
    form = form._replace(serial=SERIAL_LIGHT if few else SERIAL, backwards=bool(plan.factors))
    return native.load(plan.key(), lambda: to_llvm(kernel_of(plan), native.features()), form)
