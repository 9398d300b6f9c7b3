"""Sums whose terms cancel: beside their roots the terms' errors are left, so that what is left is computed in more.

What an arithmetic makes of a sum is trusted as long as enough is left of its terms. A kernel asks that of every element:
of few it is not so, and these are computed again, in the next arithmetic (`llvm.Finer`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from softknee.kernels.error import digits_of
from softknee.kernels.llvm import Finer, Operand, Scalar
from softknee.kernels.lower import lower
from softknee.kernels.primitives import Double, Pair, Triple
from softknee.kernels.program import Program, Value
from softknee.lang.nodes import Node, symbols_in, walk, where
from softknee.lang.stabilise import vanishes

__all__ = ["beside_roots"]


@dataclass(frozen=True)
class _Trust:
    """How far an arithmetic is trusted"""

    storage: str  # of its results
    finer: type  # what takes its place
    functions: float  #: what has to be left of terms with errors of 2^-42, or in pairs 2^-61
    roundings: float  #: the same of terms that were only rounded; 0: anything


_TRUSTED = {
    Double: _Trust("float32", Pair, 2.0**-16, 0.0),
    Pair: _Trust("float64", Triple, 2.0**-10, 2.0**-46),
}
#: operations that make no errors but those of rounding
_ROUNDED = {
    "number", "constant", "symbol", "neg", "abs", "sign", "add", "sub", "mul", "div", "sqrt", "minimum", "maximum", "where",
    "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not",
}  # fmt: skip


def beside_roots(
    outputs: Sequence[tuple[Node, Operand]],
    inputs: Sequence[tuple[str, Operand | Scalar]],
    arithmetic: Any,
    values: Mapping[str, Value],
) -> Finer | None:
    """The results for which the arithmetic may not be good enough; its program gets the condition.

    values: the inputs in it."""
    trust = _TRUSTED.get(type(arithmetic))
    if trust is None:
        return None
    doubt = _Doubt(trust, arithmetic, values, [name for name, i in inputs if isinstance(i, Operand)])
    found = {
        k: there
        for k, (e, o) in enumerate(outputs)
        if o.access == "row" and o.storage == trust.storage and (there := doubt.of(e)) is not None
    }
    if not found:
        return None
    program = Program()
    given = {name: program.input(k, "f64") for k, (name, _) in enumerate(inputs)}
    results = lower([outputs[k][0] for k in found], program, trust.finer(program), given)
    return Finer(
        program, dict(zip(found, results, strict=True)), reduce(arithmetic.program.or_, found.values())
    )


@dataclass(frozen=True)
class _Doubt:
    """Where too little is left of the terms of a sum that is a factor of a result, other than at 0"""

    trust: _Trust
    arithmetic: Any
    values: Mapping[str, Value]
    names: Sequence[str]  # of tensors

    def of(self, n: Node, seen: Callable[[Node], Node] = lambda m: m) -> Value | None:
        """seen: a part of the result where it counts, NaN elsewhere"""
        p = self.arithmetic.program
        if n.op in ("mul", "div", "neg"):
            found = [each for each in (self.of(a, seen) for a in n.args) if each is not None]
            return reduce(p.or_, found) if found else None
        if n.op == "where":
            condition, a, b = n.args
            if (either := self.of(a, seen)) == self.of(b, seen):
                return either
            yes = self.of(a, lambda m: seen(where(condition, m, math.nan)))
            no = self.of(b, lambda m: seen(where(condition, math.nan, m)))
            if yes is no is None:
                return None
            here = p.ne(self._computed(where(condition, 1, 0)), p.const(0.0))
            return reduce(p.or_, filter(None, (yes and p.and_(here, yes), no and p.and_(p.not_(here), no))))
        if n.op not in ("add", "sub") or not (left := self._left(n)):
            return None
        if not any(vanishes(seen(n), name) for name in self.names if name in symbols_in(n)):
            return None
        # where they cancel, the terms are of one size: that of those with errors, if there are any
        size = reduce(p.add, map(self._size, [a for a in n.args if not _is_rounded(a)] or n.args[:1]))
        return p.lt(p.abs(self._computed(n)), p.mul(size, p.const(left)))

    def _left(self, n: Node) -> float:
        """The part of its terms that has to be left of a sum; 0: anything"""
        if not _is_rounded(n):
            return self.trust.functions
        digits = dict.fromkeys(symbols_in(n), 53)
        held = len(digits) == 1 or all(digits_of(a, digits) <= 2 * 53 for a in n.args)
        return 0.0 if held else self.trust.roundings

    def _computed(self, n: Node) -> Value:
        return lower([n], self.arithmetic.program, self.arithmetic, self.values)[0]

    def _size(self, n: Node) -> Value:
        """What a term would be if none of its own terms cancelled"""
        p = self.arithmetic.program
        if n.op in ("add", "sub", "mul") and any(
            m.op in ("add", "sub") and not _is_rounded(m) for m in walk(n)
        ):
            return (p.mul if n.op == "mul" else p.add)(*map(self._size, n.args))
        return p.abs(self._computed(n))


def _is_rounded(n: Node) -> bool:
    return all(m.op in _ROUNDED for m in walk(n))
