"""Functions of one variable in pieces, for float32: where networks live, whatever a function costs.

What tables (`table.py`) are for 16 bits. |x| < reach is cut into `PICKED` intervals with a polynomial each,
whose coefficients a machine with wide registers picks by the interval's number (`pick`). At 0, where most
activations have a root, digits must not be lost: f(x) = x^m q(x), and it is q that is fitted: here, to the
definition in float64, when a kernel is first compiled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from typing import TYPE_CHECKING, Any

from softknee.kernels.error import SINGLE_LIMIT, single_error
from softknee.kernels.llvm import Shortcut
from softknee.kernels.lower import lower
from softknee.kernels.measure import AROUND_ROOT, around_roots
from softknee.kernels.primitives import Single
from softknee.kernels.primitives.single import Scaled
from softknee.kernels.program import PICKED, Program, Value
from softknee.kernels.table import factors, quotient
from softknee.lang.nodes import Node, make, number, rebuild, symbol, symbols_in, walk
from softknee.lang.simplify import simplify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

__all__ = ["REACHES", "Pieces", "evaluate", "fitted", "shortcut"]

#: |x| below which there are pieces, the best first. Of N(0, 1), 64 at once hold one beyond 4 in 250 cases
REACHES = (8.0, 6.0, 5.0, 4.0, 3.5, 3.0)
#: highest degree of a piece, and highest order of the root at 0
DEGREE, ORDER = 9, 3
#: error of a fit, relative to the smallest value in its piece
FIT = 2.0**-28
#: how far a piece may go from its middle, in proportion to where it goes: what the rounding errors of the
#: terms after the first count for
SWING = 0.6
#: size of a factor whose products with a function's value are far from the ends of float32's range
SMALL = 2.0**-60
#: instructions of a function that needs no pieces; share of its usual instructions that pieces may take
LIGHT, WORTH = 24, 0.75
_CHOICES = {"where", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not"}


@dataclass(frozen=True)
class Pieces:
    """x^order (first + c1 d + c2 d^2 + ...), d = x - middle: rows by the number of the interval."""

    reach: float
    order: int
    middle: tuple[float, ...]
    first: tuple[float, ...]
    higher: tuple[tuple[float, ...], ...]


@lru_cache(maxsize=4096)
def fitted(part: Node, name: str, reach: float, derivative: bool) -> Pieces | None:
    """The function in pieces; None where they would not be good enough: kinks inside, steep, other roots."""
    from softknee.lang.evaluate import compiled

    function = compiled((part,), (name,), "float")

    def f(x: float) -> float:
        return float(function(x)[0])

    numbers = {float(n.payload) for n in walk(part) if n.op == "number"}
    order = _order(f)
    return None if order is None else _fit(f, order, reach, derivative, numbers | {-n for n in numbers})


def _order(f: Callable[[float], float]) -> int | None:
    """Of the root at 0, if f is 0 there"""
    if f(0.0) != 0:
        return 0
    pairs = [(f(side * 2.0**-40), f(side * 2.0**-41)) for side in (-1, 1)]
    orders = {round(math.log2(abs(a / b))) for a, b in pairs if a and b}
    return orders.pop() if len(orders) == 1 and max(orders) <= ORDER else None


def _fit(
    f: Callable[[float], float], order: int, reach: float, derivative: bool, literals: set[float]
) -> Pieces | None:
    import numpy as np

    half = reach / PICKED
    nodes, to_powers = _interpolation()
    middles = half * np.arange(1 - PICKED, PICKED, 2)
    x = middles[:, None] + half * nodes
    values = np.empty(x.shape)
    for k in (0, PICKED - 1, *range(1, PICKED - 1)):  # the outermost first: there most of them fail
        values[k] = [f(v) / v**order for v in x[k].tolist()]
        if k in (0, PICKED - 1) and not derivative and _degree(values[[k]], np.abs(values[[k]])) is None:
            return None
    unit = np.abs(values)
    if derivative:
        near = around_roots((values * x**order).ravel()).reshape(x.shape)
        unit = np.where(near, np.maximum(unit, AROUND_ROOT), unit)
    degree = _degree(values, unit)
    if degree is None:
        return None
    powers = np.arange(degree + 1)
    c = values @ to_powers[degree] / half**powers
    # expanded where the two leading coefficients are nearly float32 numbers (Gal 1986, "Computing elementary
    # functions: a new approach for achieving high accuracy and good performance")
    shifts = half * 2.0**-13 * np.arange(-1024, 1024)
    value, slope = c @ shifts ** powers[:, None], (c * powers)[:, 1:] @ shifts ** powers[:-1, None]
    lost = np.abs(value - value.astype("f4")) + half * np.abs(slope - slope.astype("f4"))
    shift = shifts[lost.argmin(axis=1)]
    moved = [
        sum(math.comb(n, j) * c[:, n] * shift ** (n - j) for n in range(j, degree + 1))
        for j in powers.tolist()
    ]
    # borders and what the function compares with belong to where the definition says
    for at in {*(middles - half).tolist(), *(n for n in literals if abs(n) < reach)}:
        k = math.floor(at / (2 * half)) + PICKED // 2
        if at or not order:
            d, right = at - middles[k] - shift[k], f(at) / at**order
            away = abs(sum(row[k] * d**n for n, row in enumerate(moved)) - right)
            if not away <= 2.0**-20 * max(abs(right), unit[k].min()):
                return None
    middle, first, *higher = (  # by the interval's number modulo PICKED
        tuple(np.roll(row, PICKED // 2).astype("f4").tolist()) for row in (middles + shift, *moved)
    )
    if order % 2 and len(set(np.sign(first))) > 1:
        return None
    return Pieces(reach, order, middle, first, tuple(higher))


@cache
def _interpolation() -> tuple[Any, list[Any]]:
    """Chebyshev nodes on [-1, 1], ascending; and for each degree what takes values there, as a row, to the
    coefficients of the Chebyshev series cut after that degree, of powers of the variable"""
    import numpy as np

    count = DEGREE + 3
    angles = (np.arange(count)[::-1] + 0.5) * np.pi / count
    to_series = 2 / count * np.cos(np.outer(angles, np.arange(count)))
    to_series[:, 0] /= 2
    powers = np.zeros((count, count))  # of the Chebyshev polynomials: T_(n+1) = 2 x T_n - T_(n-1)
    powers[0, 0] = powers[1, 1] = 1
    for n in range(2, count):
        powers[n, 1:] = 2 * powers[n - 1, :-1]
        powers[n] -= powers[n - 2]
    return np.cos(angles), [to_series[:, : n + 1] @ powers[: n + 1, : n + 1] for n in range(count)]


def _degree(values: Any, unit: Any) -> int | None:
    """Of polynomials that fit; None where none do, or their rounding errors would be too large"""
    import numpy as np

    nodes, to_powers = _interpolation()
    least = unit.min(axis=1, keepdims=True)
    for degree in range(1, DEGREE + 1):
        c = values @ to_powers[degree]
        away = np.abs(c @ nodes ** np.arange(degree + 1)[:, None] - values)
        if np.all(away <= FIT * least):
            steep = np.abs(values - c[:, :1]) > SWING * unit
            return None if steep.any() else degree
    return None


def evaluate(pieces: Pieces, x: Value, arithmetic: Single) -> Scaled:
    """The instructions, for |x| < reach"""
    p = arithmetic.program
    # a little less than it is, lest x just below reach be rounded beyond the last interval
    place = p.floor(p.mul(x, p.const(PICKED / (2 * pieces.reach) * (1 - 2.0**-23), "f32")))
    d = p.sub(x, p.pick(place, payload=pieces.middle))
    *rest, last = pieces.higher
    total = p.pick(place, payload=last)
    for row in reversed(rest):
        total = p.fma(total, d, p.pick(place, payload=row))
    first = p.pick(place, payload=pieces.first)
    if pieces.order == 0:
        return Scaled(p.fma(total, d, first), bounded=True)
    value, low = first, p.mul(total, d)
    for _ in range(pieces.order - 1):  # nothing is small enough to lose digits before the last product
        cross = p.mul(low, x)
        product = p.fma(value, x, cross)
        value, low = product, p.add(p.fma(value, x, p.neg(product)), cross)
    result = p.fma(x, value, p.mul(low, x))
    if pieces.order % 2:  # the sum of a zero and of its correction need not have the sign of the zero
        result = p.copysign(result, x if pieces.first[0] > 0 else p.neg(x))
    return Scaled(result)


def shortcut(
    outputs: Sequence[tuple[Node, bool]], inputs: Mapping[str, int], derivative: bool, usual: type
) -> Shortcut | None:
    """What does for most numbers, if it is much shorter than the usual arithmetic: products of inputs and of
    functions of one input each, those in pieces; and choices by such products.

    outputs: the expressions, and whether they are choices; inputs: float32 operands by name, their places."""
    leaves: dict[Node, Node] = {}
    skeletons = [_skeleton(_at_finite(root), leaves, choice) for root, choice in outputs]
    values = {_at_finite(root) for root, choice in outputs if not choice}
    products = {}
    chosen: dict[tuple[str, Node], Pieces] = {}
    for leaf in leaves:
        product = _product(leaf, set(inputs))
        if product is None:
            return None
        products[leaf] = product
        for name, part in product[1].items():
            known = [pieces.reach for (other, _), pieces in chosen.items() if other == name]
            # choices are by slopes, for their codes
            pieces = _in_pieces(part, name, known, derivative or leaf not in values, usual)
            if pieces is not None:
                chosen[name, part] = pieces
            elif (leaf in values and single_error(part) > SINGLE_LIMIT[0]) or _alone(
                part, name, Single
            ) is None:
                return None
    beyond = set(inputs) - {name for name, _ in chosen}  # these may be infinite
    if not chosen or any(_at_finite(root, beyond) is not root for root, _ in outputs):
        return None

    program = Program()
    arithmetic = Single(program)
    x = {name: program.input(place, "f32") for name, place in inputs.items()}
    conditions = {
        program.lt(program.abs(x[n]), program.const(c.reach, "f32")) for (n, _), c in chosen.items()
    }
    conditions |= {
        _moderate(program, x[name]) for product in products.values() for name in _between(*product)
    }
    made = {}
    for leaf, (free, of_one) in products.items():
        terms = []
        for name, part in of_one.items():
            if (name, part) in chosen:
                terms.append((chosen[name, part].order, evaluate(chosen[name, part], x[name], arithmetic)))
            else:
                terms.append((0, Scaled(lower([part], program, arithmetic, {name: x[name]})[0])))
        terms.sort(key=lambda term: term[0])  # first what is not small
        factors = [
            *(t for _, t in terms[:1]),
            *(Scaled(x[name]) for name in free),
            *(t for _, t in terms[1:]),
        ]
        made[str(leaves[leaf].payload)] = arithmetic.to_value(reduce(arithmetic.mul, factors))
    results = lower(skeletons, program, arithmetic, made)
    condition = reduce(program.and_, sorted(conditions, key=lambda value: value.index))
    return Shortcut(program, condition, tuple(results))


def _in_pieces(part: Node, name: str, known: list[float], derivative: bool, usual: type) -> Pieces | None:
    """A function in pieces, if these are much shorter than it is; known: where others of the input reach"""
    cost = _alone(part, name, usual)
    if cost is None or cost <= LIGHT:
        return None
    tried = (fitted(part, name, reach, derivative) for reach in (*known, *REACHES))
    pieces = next(filter(None, tried), None)
    if pieces is None:
        return None
    program = Program()
    evaluate(pieces, program.input(0, "f32"), Single(program))
    return pieces if _cost(program) < WORTH * cost else None


def _alone(part: Node, name: str, arithmetic: type) -> float | None:
    """What a function costs in an arithmetic; None if that has no such primitive"""
    program = Program()
    x = program.input(0, "f32" if arithmetic is Single else "f64")
    try:
        lower([part], program, arithmetic(program), {name: x})
    except (AttributeError, KeyError):
        return None
    return _cost(program)


def _skeleton(root: Node, leaves: dict[Node, Node], choice: bool) -> Node:
    """The expression with a symbol in place of each leaf: of itself, or of what its choices are between and by"""
    if not symbols_in(root):
        return root
    if choice and (root.op in _CHOICES or (root.op == "add" and root.args[1].op == "where")):
        return make(root.op, [_skeleton(arg, leaves, choice) for arg in root.args], root.payload)
    return leaves.setdefault(root, symbol(f"leaf{len(leaves)}_"))


def _moderate(program: Program, x: Value) -> Value:
    """Whether |x| is 0 or far from the ends of float32's range"""
    size = program.abs(x)
    small, large, zero = (program.const(c, "f32") for c in (SMALL, 1 / SMALL, 0.0))
    return program.or_(program.and_(program.ge(size, small), program.le(size, large)), program.eq(size, zero))


def _between(free: list[str], of_one: Mapping[str, Node]) -> list[str]:
    """Factors that do not come last: a product with them must stay in float32's range"""
    return free if len(of_one) > 1 else free[:-1]


def _at_finite(root: Node, names: AbstractSet[str] | None = None) -> Node:
    """The expression where these inputs (None: all) are finite"""

    def size(n: Node) -> Node:
        return n.args[0] if n.op == "abs" else n

    def rule(n: Node) -> Node | None:
        if n.op not in ("lt", "le", "gt", "ge", "eq", "ne"):
            return None
        a, b = n.args
        for x, limit in ((a, b), (b, a)):
            bounded = size(x).op == "symbol" and (names is None or size(x).payload in names)
            if bounded and limit.op == "number" and math.isinf(limit.payload):
                return make(n.op, [number(0) if arg is x else arg for arg in n.args])
        return None

    changed = rebuild(root, rule)
    return root if changed is root else simplify(changed)


def _product(root: Node, inputs: set[str]) -> tuple[list[str], dict[str, Node]] | None:
    """(inputs that are factors of a product, what else is in it: by the one input it depends on)"""
    above, below = factors(root)
    free = [f for f in above if f.op == "symbol"]
    groups: dict[str, tuple[list[Node], list[Node]]] = {}
    numbers: tuple[list[Node], list[Node]] = ([], [])
    for side, members in enumerate((above, below)):
        for member in members:
            names = symbols_in(member)
            if side == 0 and member.op == "symbol":
                continue
            if len(names) > 1:
                return None
            (groups.setdefault(names[0], ([], [])) if names else numbers)[side].append(member)
    for member in free:
        if member.payload in groups:
            groups[member.payload][0].append(member)
    others = [f.payload for f in free if f.payload not in groups]
    if not {*groups, *others} <= inputs or (any(numbers) and not groups):
        return None
    for group in list(groups.values())[:1]:
        for side in (0, 1):
            group[side].extend(numbers[side])
    return others, {name: quotient(*group) for name, group in groups.items()}


def _cost(program: Program) -> float:
    """Of a vector of float32 or twice as many of float64, in instructions"""
    slow = {"div": 8, "quotient": 4, "sqrt": 8, "gather": 8}
    return sum(
        slow.get(i.op, 1) * (2 if "f64" in (i.type, *(a.type for a in i.args)) else 1)
        for _, i in program
        if i.op not in ("const", "input")
    )
