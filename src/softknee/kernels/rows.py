"""CPU kernels of functions of a whole row: the sparse relatives of softmax.

sparsemax and entmax with alpha = 1.5 (Peters, Niculae and Martins 2019): p = max(x - c, 0), or its half
squared, with the c at which a row sums to 1. c is found by Newton's method from the left, whose steps
never pass the root: for sparsemax until no entry leaves the support, which makes it exact; for entmax15 of
the sum's square root, which is convex and nearly linear. A step reads the row once, from the cache; sums
are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal

from softknee.kernels import native
from softknee.kernels.entry import Form
from softknee.kernels.llvm import MEMORY, SIZE

__all__ = ["backward", "forward"]

_LANES = 16
_VECTOR = f"<{_LANES} x double>"
_MASK = f"<{_LANES} x i1>"
_STEPS = 100  # of Newton's method; some ten are enough

Member = Literal["sparsemax", "entmax15"]
Row = Literal["float32", "float64"]
#: a function of a row's vectors: (load, store, sums so far) -> the sums
Body = Callable[[Callable[[str], str], Callable[[str, str], None], list[str]], list[str]]


class _Text:
    def __init__(self, storage: Row) -> None:
        self.memory = MEMORY[storage]
        self.narrow = f"<{_LANES} x {self.memory}>"
        self.align = SIZE[storage]
        self.lines: list[str] = []
        self._count = 0

    def put(self, text: str) -> str:
        self._count += 1
        self.do(f"%t{self._count} = {text}")
        return f"%t{self._count}"

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def splat(self, scalar: str) -> str:
        one = self.put(f"insertelement {_VECTOR} poison, double {scalar}, i64 0")
        return self.put(f"shufflevector {_VECTOR} {one}, {_VECTOR} poison, <{_LANES} x i32> zeroinitializer")

    def total(self, vector: str) -> str:
        return self.put(
            f"call reassoc double @llvm.vector.reduce.fadd.v16f64(double 0.0, {_VECTOR} {vector})"
        )

    def over_row(self, name: str, before: str, sums: list[str], body: Body) -> list[str]:
        """The loop over a row: whole vectors, then the rest with a mask. before: the label it is reached
        from; it ends in the label `name.done`. Every sum starts at its value in sums."""
        ids = range(len(sums))
        self.do(f"br label %{name}.head")
        self.label(f"{name}.head")
        self.do(f"%{name}.j = phi i64 [ 0, %{before} ], [ %{name}.next, %{name}.whole ]")
        patch = len(self.lines)
        self.do(f"%{name}.next = add i64 %{name}.j, {_LANES}")
        self.do(f"%{name}.fits = icmp sle i64 %{name}.next, %n")
        self.do(f"br i1 %{name}.fits, label %{name}.whole, label %{name}.end")
        self.label(f"{name}.whole")
        current = [f"%{name}.s{k}" for k in ids]
        after = body(*self._access(name, None), current)
        self.do(f"br label %{name}.head")
        self.lines[patch:patch] = [
            f"  {c} = phi {_VECTOR} [ {s}, %{before} ], [ {a}, %{name}.whole ]"
            for c, s, a in zip(current, sums, after, strict=True)
        ]
        self.label(f"{name}.end")
        self.do(f"%{name}.left = sub i64 %n, %{name}.j")
        self.do(f"%{name}.any = icmp sgt i64 %{name}.left, 0")
        self.do(f"br i1 %{name}.any, label %{name}.rest, label %{name}.done")
        self.label(f"{name}.rest")
        left = self.put(f"insertelement <{_LANES} x i64> poison, i64 %{name}.left, i64 0")
        left = self.put(
            f"shufflevector <{_LANES} x i64> {left}, <{_LANES} x i64> poison, <{_LANES} x i32> zeroinitializer"
        )
        lanes = ", ".join(f"i64 {k}" for k in range(_LANES))
        mask = self.put(f"icmp slt <{_LANES} x i64> <{lanes}>, {left}")
        rest = body(*self._access(name, mask), current)
        self.do(f"br label %{name}.done")
        self.label(f"{name}.done")
        return [
            self.put(f"phi {_VECTOR} [ {c}, %{name}.end ], [ {r}, %{name}.rest ]")
            for c, r in zip(current, rest, strict=True)
        ]

    def _access(self, name: str, mask: str | None) -> tuple[Callable[[str], str], Callable[[str, str], None]]:
        kind = f"v16{'f32' if self.memory == 'float' else 'f64'}"

        def load(row: str, outside: str = "0xFFF0000000000000") -> str:
            at = self.put(f"getelementptr {self.memory}, ptr {row}, i64 %{name}.j")
            if mask is None:
                value = self.put(f"load {self.narrow}, ptr {at}, align {self.align}")
            else:
                other = f"<{', '.join([f'{self.memory} {outside}'] * _LANES)}>"
                value = self.put(
                    f"call {self.narrow} @llvm.masked.load.{kind}.p0(ptr {at}, i32 {self.align}, {_MASK} {mask}, "
                    f"{self.narrow} {other})"
                )
            return value if self.memory == "double" else self.put(f"fpext {self.narrow} {value} to {_VECTOR}")

        def store(row: str, value: str) -> None:
            at = self.put(f"getelementptr {self.memory}, ptr {row}, i64 %{name}.j")
            if self.memory == "float":
                value = self.put(f"fptrunc {_VECTOR} {value} to {self.narrow}")
            if mask is None:
                self.do(f"store {self.narrow} {value}, ptr {at}, align {self.align}")
            else:
                self.do(
                    f"call void @llvm.masked.store.{kind}.p0({self.narrow} {value}, ptr {at}, i32 {self.align}, "
                    f"{_MASK} {mask})"
                )

        return load, store

    def module(self, operands: int, scalars: int) -> str:
        """One kernel: its rows are %first to %last; geometry[0] is their length %n."""
        head = [
            "define void @kernel(ptr %operands, ptr %scalars, ptr %geometry, i64 %slot, i64 %first, i64 %last) #0 {"
        ]
        head += ["start:", "  %n = load i64, ptr %geometry"]
        for k in range(operands):
            head.append(f"  %op.p.{k} = getelementptr i64, ptr %operands, i64 {k}")
            head.append(f"  %op.{k} = load ptr, ptr %op.p.{k}")
        for k in range(scalars):
            head.append(f"  %sc.p.{k} = getelementptr double, ptr %scalars, i64 {k}")
            head.append(f"  %sc.{k} = load double, ptr %sc.p.{k}")
        head += ["  br label %rows", "rows:", "  %row = phi i64 [ %first, %start ], [ %row.next, %row.done ]"]
        head += [
            "  %row.more = icmp slt i64 %row, %last",
            "  br i1 %row.more, label %one, label %finished",
            "one:",
        ]
        head.append("  %offset = mul i64 %row, %n")
        head += [
            f"  %row.{k} = getelementptr {self.memory}, ptr %op.{k}, i64 %offset" for k in range(operands)
        ]
        foot = [
            "row.done:",
            "  %row.next = add i64 %row, 1",
            "  br label %rows",
            "finished:",
            "  ret void",
            "}",
        ]
        kinds = ("f32", "float"), ("f64", "double")
        declared = [
            f"declare {_VECTOR} @llvm.maximum.v16f64({_VECTOR}, {_VECTOR})",
            f"declare {_VECTOR} @llvm.sqrt.v16f64({_VECTOR})",
            "declare double @llvm.sqrt.f64(double)",
            f"declare double @llvm.vector.reduce.fadd.v16f64(double, {_VECTOR})",
            f"declare double @llvm.vector.reduce.fmaximum.v16f64({_VECTOR})",
            *(
                f"declare <16 x {m}> @llvm.masked.load.v16{k}.p0(ptr, i32, {_MASK}, <16 x {m}>)"
                for k, m in kinds
            ),
            *(f"declare void @llvm.masked.store.v16{k}.p0(<16 x {m}>, ptr, i32, {_MASK})" for k, m in kinds),
            'attributes #0 = { nounwind "no-frame-pointer-elim"="false" }',
        ]
        return "\n".join([*head, *self.lines, *foot, *declared, ""])


_ZEROS, _ONES = "zeroinitializer", f"<{', '.join(['double 1.0'] * _LANES)}>"
_HALVES = f"<{', '.join(['double 0.5'] * _LANES)}>"
_LOWEST = f"<{', '.join(['double 0xFFF0000000000000'] * _LANES)}>"


def _forward(member: Member, storage: Row) -> str:
    """Operands: x, p. Scalars: what a row without an entry is filled with; the step that is the last."""
    t = _Text(storage)

    def highest(load: Callable[[str], str], _: object, sums: list[str]) -> list[str]:
        return [
            t.put(f"call {_VECTOR} @llvm.maximum.v16f64({_VECTOR} {sums[0]}, {_VECTOR} {load('%row.0')})")
        ]

    (tops,) = t.over_row("max", "one", [_LOWEST], highest)
    t.do(f"%top = call double @llvm.vector.reduce.fmaximum.v16f64({_VECTOR} {tops})")
    size = t.put("call double @llvm.fabs.f64(double %top)")
    t.do(f"%finite = fcmp olt double {size}, 0x7FF0000000000000")
    t.do("br i1 %finite, label %search, label %other")

    t.label("other")  # nothing but -inf; or NaN, or inf, for which there is no answer
    empty = t.put("fcmp oeq double %top, 0xFFF0000000000000")
    filling = t.splat(t.put(f"select i1 {empty}, double %sc.0, double 0x7FF8000000000000"))

    def fill(_: object, store: Callable[[str, str], None], sums: list[str]) -> list[str]:
        store("%row.1", filling)
        return []

    t.over_row("fill", "other", [], fill)
    t.do("br label %row.done")

    width = "1.0" if member == "sparsemax" else "2.0"
    t.label("search")
    t.do(f"%c.0 = fsub double %top, {width}")
    t.do("br label %newton")
    t.label("newton")
    t.do("%c = phi double [ %c.0, %search ], [ %c.next, %again ]")
    t.do("%step = phi i64 [ 0, %search ], [ %step.next, %again ]")
    t.do("%held = phi double [ -1.0, %search ], [ %now, %again ]")
    at = t.splat("%c")

    def above(load: Callable[[str], str]) -> str:
        return t.put(f"fsub {_VECTOR} {load('%row.0')}, {at}")

    def sums_of(load: Callable[[str], str], _: object, sums: list[str]) -> list[str]:
        over = above(load)
        inside = t.put(f"fcmp ogt {_VECTOR} {over}, {_ZEROS}")
        kept = t.put(f"select {_MASK} {inside}, {_VECTOR} {over}, {_VECTOR} {_ZEROS}")
        if member == "sparsemax":
            other = t.put(f"select {_MASK} {inside}, {_VECTOR} {_ONES}, {_VECTOR} {_ZEROS}")
        else:
            kept = t.put(f"fmul {_VECTOR} {kept}, {_HALVES}")
            other = t.put(f"fmul {_VECTOR} {kept}, {kept}")
        return [t.put(f"fadd {_VECTOR} {old}, {new}") for old, new in zip(sums, (kept, other), strict=True)]

    first, second = map(t.total, t.over_row("sum", "newton", [_ZEROS, _ZEROS], sums_of))
    if member == "sparsemax":  # the entries above c, and by how much
        excess = t.put(f"fsub double {first}, 1.0")
        move = t.put(f"fdiv double {excess}, {second}")
        t.do(f"%now = fadd double {second}, 0.0")
        settled = t.put("fcmp oeq double %now, %held")
    else:  # sums of the halves and of their squares
        root = t.put(f"call double @llvm.sqrt.f64(double {second})")
        excess = t.put(f"fsub double {root}, 1.0")
        half = t.put(f"fdiv double {t.put(f'fmul double {excess}, {root}')}, {first}")
        move = t.put(f"fmul double {half}, 2.0")
        t.do(f"%now = fadd double {move}, 0.0")
        settled = t.put("fcmp ole double %now, %sc.1")
    t.do(f"%c.next = fadd double %c, {move}")
    t.do("%step.next = add i64 %step, 1")
    late = t.put(f"icmp sge i64 %step.next, {_STEPS}")
    t.do(f"br i1 {t.put(f'or i1 {settled}, {late}')}, label %found, label %again")
    t.label("again")
    t.do("br label %newton")
    t.label("found")
    at = t.splat("%c.next")

    def write(load: Callable[[str], str], store: Callable[[str, str], None], sums: list[str]) -> list[str]:
        over = above(load)
        inside = t.put(f"fcmp ogt {_VECTOR} {over}, {_ZEROS}")
        p = t.put(f"select {_MASK} {inside}, {_VECTOR} {over}, {_VECTOR} {_ZEROS}")
        if member == "entmax15":
            p = t.put(f"fmul {_VECTOR} {p}, {_HALVES}")
            p = t.put(f"fmul {_VECTOR} {p}, {p}")
        store("%row.1", p)
        return []

    t.over_row("write", "found", [], write)
    t.do("br label %row.done")
    return t.module(2, 2) + "declare double @llvm.fabs.f64(double)\n"


def _backward(member: Member, storage: Row) -> str:
    """Operands: p, g, the gradient by x: s (g - sum(s g) / sum s), s = 1 or sqrt(p) where p > 0, else 0."""
    t = _Text(storage)

    def slope(load: Callable[..., str]) -> str:
        p = load("%row.0", "0.0")
        if member == "entmax15":
            return t.put(f"call {_VECTOR} @llvm.sqrt.v16f64({_VECTOR} {p})")
        none = t.put(f"fcmp oeq {_VECTOR} {p}, {_ZEROS}")
        some = t.put(f"fcmp ogt {_VECTOR} {p}, {_ZEROS}")
        nan = t.put(f"select {_MASK} {none}, {_VECTOR} {_ZEROS}, {_VECTOR} {p}")
        return t.put(f"select {_MASK} {some}, {_VECTOR} {_ONES}, {_VECTOR} {nan}")

    def sums_of(load: Callable[..., str], _: object, sums: list[str]) -> list[str]:
        s = slope(load)
        weighted = t.put(f"fmul {_VECTOR} {s}, {load('%row.1', '0.0')}")
        return [t.put(f"fadd {_VECTOR} {old}, {new}") for old, new in zip(sums, (s, weighted), strict=True)]

    total, weighted = map(t.total, t.over_row("sum", "one", [_ZEROS, _ZEROS], sums_of))
    empty = t.put(f"fcmp oeq double {total}, 0.0")
    t.do(f"%mean = fdiv double {weighted}, {t.put(f'select i1 {empty}, double 1.0, double {total}')}")
    mean = t.splat("%mean")

    def write(load: Callable[..., str], store: Callable[[str, str], None], sums: list[str]) -> list[str]:
        s = slope(load)
        centred = t.put(f"fsub {_VECTOR} {load('%row.1', '0.0')}, {mean}")
        store("%row.2", t.put(f"fmul {_VECTOR} {s}, {centred}"))
        return []

    t.over_row("write", "sum.done", [], write)
    t.do("br label %row.done")
    return t.module(3, 0)


@cache
def forward(member: Member, storage: Row) -> native.NativeCall:
    """(-address of the rows' length, groups, threads, x, p, filling of empty rows, last step)"""
    return native.load(
        f"rows.forward {member} {storage} {_STEPS}", lambda: _forward(member, storage), Form(2, 2)
    ).call


@cache
def backward(member: Member, storage: Row) -> native.NativeCall:
    """(-address of the rows' length, groups, threads, p, g, gradient)"""
    return native.load(
        f"rows.backward {member} {storage}", lambda: _backward(member, storage), Form(3, 0)
    ).call
