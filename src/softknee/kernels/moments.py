"""CPU kernels that sum up what an activation took and gave, unit by unit, in one pass over z and f, and the squares
of the gradients on its two sides.

Sums are taken of differences to the first sample, in float32 over some hundred rows, and those are added up
in float64: a variance keeps its digits however far the mean lies from zero.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache, lru_cache

from softknee.kernels import native
from softknee.kernels.entry import CHUNK, Form

__all__ = ["PARTS", "ROWS", "SLOTS", "geometry", "kernel", "squares", "step_over"]

#: what a row of the result holds; the last two are minima, the others sums
ROWS = ("z", "zz", "f", "ff", "alive", "flat", "zero", "lowest", "-highest")
_ACCUMULATORS = ("s", "ss", "t", "tt", "alive", "flat", "zero", "low", "high")
_FLOATS = ("s", "ss", "t", "tt", "low", "high")
#: partial sums of squares
SLOTS = 8
#: parts that rows may be cut into, each with a result of its own: what one thread wrote, it also reads
PARTS = 2
_GEOMETRY = ("rows", "units", "inner", "stride", "block", "vectors", "share")
_AHEAD = 8  # rows
_BLOCK = 256  # rows, or for planes some thousand values: as many as float32 may add up


class _Text:
    def __init__(self, lanes: int, rising: bool) -> None:
        self.lanes, self.rising = lanes, rising
        self.accumulators = _ACCUMULATORS[:7] if rising else _ACCUMULATORS
        self.floats, self.doubles = f"<{lanes} x float>", f"<{lanes} x double>"
        self.masks, self.ints = f"<{lanes} x i1>", f"<{lanes} x i32>"
        self.lines: list[str] = []
        self._count = 0

    def put(self, text: str, name: str = "") -> str:
        self._count += not name
        name = name or f"t{self._count}"
        self.do(f"%{name} = {text}")
        return f"%{name}"

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")

    def splat(self, scalar: str, kind: str = "float", name: str = "") -> str:
        v = f"<{self.lanes} x {kind}>"
        one = self.put(f"insertelement {v} poison, {kind} {scalar}, i64 0")
        return self.put(f"shufflevector {v} {one}, {v} poison, <{self.lanes} x i32> zeroinitializer", name)

    def load(self, operand: str, offset: str, mask: str | None, other: str) -> str:
        """A vector of float32; other: what stands where the mask is off."""
        at = self.put(f"getelementptr float, ptr {operand}, i64 {offset}")
        if mask is None:
            return self.put(f"load {self.floats}, ptr {at}, align 4")
        return self.put(
            f"call {self.floats} @llvm.masked.load.v{self.lanes}f32.p0(ptr {at}, i32 4, {self.masks} {mask}, "
            f"{self.floats} {other})"
        )

    def below(self, limit: str) -> str:
        """The mask of the first so many lanes"""
        lanes = ", ".join(f"i64 {k}" for k in range(self.lanes))
        wide = self.splat(limit, "i64")
        return self.put(f"icmp slt <{self.lanes} x i64> <{lanes}>, {wide}")

    def first(self) -> dict[str, str]:
        """What the accumulators start with."""
        inf = f"splat (float 0x{'7FF0000000000000'})"
        less = f"splat (float 0x{'FFF0000000000000'})"
        return dict.fromkeys(self.accumulators, "zeroinitializer") | {"low": inf, "high": less}

    def kind(self, accumulator: str) -> str:
        if accumulator == "alive":
            return self.masks
        return self.floats if accumulator in _FLOATS else self.ints

    def widened(self, accumulator: str, value: str) -> str:
        how = "fpext" if accumulator in _FLOATS else "uitofp" if accumulator == "alive" else "sitofp"
        return self.put(f"{how} {self.kind(accumulator)} {value} to {self.doubles}")

    def phis(self, name: str, *origins: tuple[dict[str, str], str], at: int | None = None) -> dict[str, str]:
        """The accumulators at a label; origins: their values, and the label they come from. at: the line."""
        lines = []
        for a in self.accumulators:
            places = ", ".join(f"[ {values[a]}, %{label} ]" for values, label in origins)
            lines.append(f"  %{name}.{a} = phi {self.kind(a)} {places}")
        place = len(self.lines) if at is None else at
        self.lines[place:place] = lines
        return {a: f"%{name}.{a}" for a in self.accumulators}

    def step(self, offset: str, old: dict[str, str], mask: str | None) -> dict[str, str]:
        """One vector more."""
        v, m = self.floats, self.masks
        z, f = self.load("%op.0", offset, mask, "%c"), self.load("%op.1", offset, mask, "%d")
        new = {}
        for value, centre, total, squares in ((z, "%c", "s", "ss"), (f, "%d", "t", "tt")):
            off = self.put(f"fsub {v} {value}, {centre}")
            new[total] = self.put(f"fadd {v} {old[total]}, {off}")
            new[squares] = self.put(
                f"call {v} @llvm.fma.v{self.lanes}f32({v} {off}, {v} {off}, {v} {old[squares]})"
            )
        counted = {}
        for name, both, *tests in (
            ("alive", "and", ("oge", z, "%first.z"), ("ole", z, "%last.z")),
            ("flat", "or", ("olt", z, "%low.z"), ("ogt", z, "%high.z")),
            ("zero", "and", ("oeq", f, "zeroinitializer")),
        ):
            if self.rising:
                tests = tests[:1]
            found = [self.put(f"fcmp {code} {v} {a}, {b}") for code, a, b in tests]
            counted[name] = found[0] if len(found) == 1 else self.put(f"{both} {m} {found[0]}, {found[1]}")
            if mask is not None:
                counted[name] = self.put(f"and {m} {counted[name]}, {mask}")
            if name == "alive":
                new[name] = self.put(f"or {m} {old[name]}, {counted[name]}")
                continue
            ones = self.put(f"sext {m} {counted[name]} to {self.ints}")
            new[name] = self.put(f"sub {self.ints} {old[name]}, {ones}")
        for name, code in () if self.rising else (("low", "olt"), ("high", "ogt")):
            beyond = self.put(f"fcmp {code} {v} {f}, {old[name]}")
            new[name] = self.put(f"select {m} {beyond}, {v} {f}, {v} {old[name]}")
        return new

    def flush(self, kind: str, value: dict[str, str], centres: tuple[str, str], count: str, place: str,
              mask: str | None) -> None:  # fmt: skip
        """Adds to the result: kind is that of what is added, double or a vector of it."""

        def plus(a: str, b: str) -> str:
            return self.put(f"fadd {kind} {a}, {b}")

        def times(a: str, b: str) -> str:
            return self.put(f"fmul {kind} {a}, {b}")

        results = []
        for total, squares, c in (("s", "ss", centres[0]), ("t", "tt", centres[1])):
            mean = times(count, c)
            results.append(plus(value[total], mean))
            cross = times(c, plus(value[total], value[total]))
            results.append(plus(plus(value[squares], cross), times(mean, c)))
        results += [value["alive"], value["flat"], value["zero"]]
        if not self.rising:
            results += [value["low"], self.put(f"fneg {kind} {value['high']}")]
        vector = kind != "double"
        for k, result in enumerate(results):
            row = self.put(f"mul i64 %stride, {k}")
            at = self.put(f"getelementptr double, ptr %op.2, i64 {self.put(f'add i64 {row}, {place}')}")
            name = f"v{self.lanes}f64.p0"
            if mask is None or not vector:
                old = self.put(f"load {kind}, ptr {at}, align 8")
            else:
                old = self.put(
                    f"call {kind} @llvm.masked.load.{name}(ptr {at}, i32 8, {self.masks} {mask}, "
                    f"{kind} zeroinitializer)"
                )
            if k < 7:
                made = plus(old, result)
            else:
                less = self.put(f"fcmp olt {kind} {result}, {old}")
                condition = f"{self.masks if vector else 'i1'} {less}"
                made = self.put(f"select {condition}, {kind} {result}, {kind} {old}")
            if mask is None or not vector:
                self.do(f"store {kind} {made}, ptr {at}, align 8")
            else:
                self.do(
                    f"call void @llvm.masked.store.{name}({kind} {made}, ptr {at}, i32 8, {self.masks} {mask})"
                )

    def module(
        self,
        geometry: tuple[str, ...] = _GEOMETRY,
        operands: int = 3,
        more: Sequence[str] = (),
    ) -> str:
        head = [
            "define void @kernel(ptr %operands, ptr %scalars, ptr %geometry, i64 %slot, i64 %begin, i64 %end) #0 {",
            "start:",
        ]
        for k, name in enumerate(geometry):
            head.append(f"  %g.{k} = getelementptr i64, ptr %geometry, i64 {k}")
            head.append(f"  %{name} = load i64, ptr %g.{k}")
        for k in range(operands):
            head.append(f"  %op.p.{k} = getelementptr ptr, ptr %operands, i64 {k}")
            head.append(f"  %op.{k} = load ptr, ptr %op.p.{k}")
        n, v, d, m = self.lanes, self.floats, self.doubles, self.masks
        declared = [
            "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)",
            f"declare {v} @llvm.fma.v{n}f32({v}, {v}, {v})",
            f"declare {d} @llvm.fma.v{n}f64({d}, {d}, {d})",
            f"declare {v} @llvm.masked.load.v{n}f32.p0(ptr, i32, {m}, {v})",
            f"declare {d} @llvm.masked.load.v{n}f64.p0(ptr, i32, {m}, {d})",
            f"declare void @llvm.masked.store.v{n}f64.p0({d}, ptr, i32, {m})",
            f"declare double @llvm.vector.reduce.fadd.v{n}f64(double, {d})",
            f"declare float @llvm.vector.reduce.fmin.v{n}f32({v})",
            f"declare float @llvm.vector.reduce.fmax.v{n}f32({v})",
            'attributes #0 = { nounwind "no-frame-pointer-elim"="false" }',
        ]
        return "\n".join(
            [
                *head,
                *self.lines,
                "finished:",
                "  ret void",
                "}",
                *declared,
                *more,
                "",
            ]
        )

    def limits(self) -> None:
        for k, name in enumerate(("first", "last", "low", "high")):
            at = self.put(f"getelementptr double, ptr %scalars, i64 {k}")
            narrow = self.put(f"fptrunc double {self.put(f'load double, ptr {at}')} to float")
            self.splat(narrow, name=f"{name}.z")

    def units_from(self, start: str) -> None:
        """The loop over the units of work; its body begins behind this, and ends at %unit.next."""
        self.do("br label %each")
        self.label("each")
        self.do(f"%u = phi i64 [ %begin, %{start} ], [ %u.next, %next ]")
        self.do(f"br i1 {self.put('icmp slt i64 %u, %end')}, label %one, label %finished")
        self.label("next")
        self.do("%u.next = add i64 %u, 1")
        self.do("br label %each")
        self.label("one")

    def blocks(self, name: str, origin: str, first: str = "0", end: str = "%rows") -> None:
        """The loop over blocks of the rows first ... end - 1, from %NAME.from to %NAME.to; its body ends with a jump
        to NAME.again, from the label NAME.flush."""
        self.do(f"br label %{name}.again")
        self.label(f"{name}.again")
        self.do(f"%{name}.from = phi i64 [ {first}, %{origin} ], [ %{name}.to, %{name}.flush ]")
        more = self.put(f"icmp slt i64 %{name}.from, {end}")
        self.do(f"br i1 {more}, label %{name}.block, label %next")
        self.label(f"{name}.block")
        far = self.put(f"add i64 %{name}.from, %block")
        beyond = self.put(f"icmp sgt i64 {far}, {end}")
        self.put(f"select i1 {beyond}, i64 {end}, i64 {far}", f"{name}.to")
        self.put(f"sub i64 %{name}.to, %{name}.from", f"{name}.count")


def _columns(lanes: int, rising: bool) -> str:
    """z and f are (rows, units): a unit of work is a vector of columns, in a part of the rows."""
    t = _Text(lanes, rising)
    t.limits()
    t.units_from("start")
    t.put("udiv i64 %u, %vectors", "part.of.rows")
    t.put(f"mul i64 {t.put('urem i64 %u, %vectors')}, {lanes}", "column")
    t.put("mul i64 %part.of.rows, %share", "first.row")
    beyond = t.put("add i64 %first.row, %share")
    t.put(f"select i1 {t.put(f'icmp sgt i64 {beyond}, %rows')}, i64 %rows, i64 {beyond}", "end.row")
    apart = t.put(f"mul i64 %part.of.rows, {t.put(f'mul i64 %stride, {len(ROWS)}')}")
    t.put(f"add i64 %column, {apart}", "place")
    t.put("sub i64 %units, %column", "left")
    inside = t.below("%left")
    for k, name in enumerate("cd"):
        sample = t.load(f"%op.{k}", "%column", inside, "zeroinitializer")
        t.put(f"freeze {t.floats} {sample}", name)
        t.put(f"fpext {t.floats} %{name} to {t.doubles}", f"{name}.wide")
    t.do(f"br i1 {t.put(f'icmp sge i64 %left, {lanes}')}, label %whole, label %part")
    for name, mask in (("whole", None), ("part", inside)):
        t.label(name)
        t.blocks(name, name, "%first.row", "%end.row")
        t.do(f"br label %{name}.head")
        t.label(f"{name}.head")
        t.do(f"%{name}.r = phi i64 [ %{name}.from, %{name}.block ], [ %{name}.r.next, %{name}.row ]")
        place = len(t.lines)
        held = {a: f"%{name}.{a}" for a in t.accumulators}
        more = t.put(f"icmp slt i64 %{name}.r, %{name}.to")
        t.do(f"br i1 {more}, label %{name}.row, label %{name}.flush")
        t.label(f"{name}.row")
        offset = t.put(f"add i64 {t.put(f'mul i64 %{name}.r, %units')}, %column")
        later = t.put(f"add i64 {offset}, {t.put(f'mul i64 %units, {_AHEAD}')}")
        for k in (0, 1):  # rows are too far apart for the processor to guess
            at = t.put(f"getelementptr float, ptr %op.{k}, i64 {later}")
            t.do(f"call void @llvm.prefetch.p0(ptr {at}, i32 0, i32 3, i32 1)")
        new = t.step(offset, held, mask)
        t.do(f"%{name}.r.next = add i64 %{name}.r, 1")
        t.do(f"br label %{name}.head")
        t.phis(name, (t.first(), f"{name}.block"), (new, f"{name}.row"), at=place)
        t.label(f"{name}.flush")
        wide = {a: t.widened(a, held[a]) for a in t.accumulators}
        count = t.splat(t.put(f"sitofp i64 %{name}.count to double"), "double")
        t.flush(t.doubles, wide, ("%c.wide", "%d.wide"), count, "%place", mask)
        t.do(f"br label %{name}.again")
    return t.module()


def _planes(lanes: int, rising: bool) -> str:
    """z and f are (rows, units, inner): a unit of work is a unit."""
    t = _Text(lanes, rising)
    t.limits()
    t.units_from("start")
    t.put("mul i64 %u, %inner", "plane")
    for k, name in enumerate("cd"):
        at = t.put(f"getelementptr float, ptr %op.{k}, i64 %plane")
        one = t.put(f"load float, ptr {at}, align 4")
        t.splat(one, name=name)
        t.put(f"fpext float {one} to double", f"{name}.wide")
    t.blocks("b", "one")
    t.do("br label %b.rows")
    t.label("b.rows")
    t.do("%r = phi i64 [ %b.from, %b.block ], [ %r.next, %b.row.done ]")
    outer = len(t.lines)
    held = {a: f"%o.{a}" for a in t.accumulators}
    t.do(f"br i1 {t.put('icmp slt i64 %r, %b.to')}, label %b.row, label %b.flush")
    t.label("b.row")
    row = t.put("mul i64 %r, %units")
    base = t.put(f"mul i64 {t.put(f'add i64 {row}, %u')}, %inner")
    t.do("br label %b.head")
    t.label("b.head")
    t.do("%j = phi i64 [ 0, %b.row ], [ %j.next, %b.vector ]")
    inner = len(t.lines)
    now = {a: f"%i.{a}" for a in t.accumulators}
    t.put("sub i64 %inner, %j", "left")
    t.do(f"br i1 {t.put(f'icmp sge i64 %left, {lanes}')}, label %b.vector, label %b.end")
    t.label("b.vector")
    new = t.step(t.put(f"add i64 {base}, %j"), now, None)
    t.do(f"%j.next = add i64 %j, {lanes}")
    t.do("br label %b.head")
    t.phis("i", (held, "b.row"), (new, "b.vector"), at=inner)
    t.label("b.end")
    t.do(f"br i1 {t.put('icmp sgt i64 %left, 0')}, label %b.rest, label %b.row.done")
    t.label("b.rest")
    rest = t.step(t.put(f"add i64 {base}, %j"), now, t.below("%left"))
    t.do("br label %b.row.done")
    t.label("b.row.done")
    after = t.phis("e", (now, "b.end"), (rest, "b.rest"))
    t.do("%r.next = add i64 %r, 1")
    t.do("br label %b.rows")
    t.phis("o", (t.first(), "b.block"), (after, "b.row.done"), at=outer)
    t.label("b.flush")
    wide = {}
    for a in t.accumulators:
        if a in ("low", "high"):
            least = "fmin" if a == "low" else "fmax"
            one = t.put(f"call float @llvm.vector.reduce.{least}.v{lanes}f32({t.floats} {held[a]})")
            wide[a] = t.put(f"fpext float {one} to double")
        else:
            wide[a] = t.put(
                f"call reassoc double @llvm.vector.reduce.fadd.v{lanes}f64(double 0.0, {t.doubles} "
                f"{t.widened(a, held[a])})"
            )
    count = t.put(f"sitofp i64 {t.put('mul i64 %b.count, %inner')} to double")
    t.flush("double", wide, ("%c.wide", "%d.wide"), count, "%u", None)
    t.do("br label %b.again")
    return t.module()


def _squares(lanes: int) -> str:
    """a and b are rows; the sums are of float64 from the start, as gradients are often tiny."""
    t = _Text(lanes, False)
    wide = t.doubles
    t.units_from("start")
    t.put(f"mul i64 %u, {CHUNK}", "from")
    far = t.put(f"add i64 %from, {CHUNK}")
    t.put(f"select i1 {t.put(f'icmp sgt i64 {far}, %size')}, i64 %size, i64 {far}", "to")
    t.do("br label %head")

    def step(mask: str | None) -> list[str]:
        made = []
        for k in (0, 1):
            value = t.put(f"fpext {t.floats} {t.load(f'%op.{k}', '%j', mask, 'zeroinitializer')} to {wide}")
            three = ", ".join(f"{wide} {x}" for x in (value, value, f"%sum.{k}"))
            made.append(t.put(f"call {wide} @llvm.fma.v{lanes}f64({three})"))
        return made

    t.label("head")
    t.do("%j = phi i64 [ %from, %one ], [ %j.next, %whole ]")
    place = len(t.lines)
    t.put("sub i64 %to, %j", "left")
    t.do(f"br i1 {t.put(f'icmp sge i64 %left, {lanes}')}, label %whole, label %part")
    t.label("whole")
    new = step(None)
    t.do(f"%j.next = add i64 %j, {lanes}")
    t.do("br label %head")
    t.lines[place:place] = [
        f"  %sum.{k} = phi {wide} [ zeroinitializer, %one ], [ {new[k]}, %whole ]" for k in (0, 1)
    ]
    t.label("part")
    for k, total in enumerate(step(t.below("%left"))):
        one = t.put(f"call reassoc double @llvm.vector.reduce.fadd.v{lanes}f64(double 0.0, {wide} {total})")
        at = t.put(f"getelementptr double, ptr %op.2, i64 {t.put(f'add i64 %slot, {k * SLOTS}')}")
        old = t.put(f"load double, ptr {at}")
        t.do(f"store double {t.put(f'fadd double {old}, {one}')}, ptr {at}")
    t.do("br label %next")
    return t.module(("size",))


def _step(lanes: int) -> str:
    """One pass over the sums of a step: see `step_over`."""
    t = _Text(lanes, False)
    d, m, ints = t.doubles, t.masks, f"<{lanes} x i64>"
    t.put("load double, ptr %scalars", "now.f")
    t.put("getelementptr double, ptr %scalars, i64 1", "late.p")
    t.put("load double, ptr %late.p", "late.f")
    now, late = (t.splat(t.put(f"fptosi double %{x}.f to i64"), "i64") for x in ("now", "late"))
    t.put(f"mul i64 %stride, {len(ROWS)}", "apart")

    def at(operand: int, place: str) -> str:
        return t.put(f"getelementptr double, ptr %op.{operand}, i64 {place}")

    def read(place: str, mask: str, kind: str = "f64") -> str:
        v = d if kind == "f64" else ints
        return t.put(
            f"call {v} @llvm.masked.load.v{lanes}{kind}.p0(ptr {place}, i32 8, {m} {mask}, {v} zeroinitializer)"
        )

    def write(value: str, place: str, mask: str, kind: str = "f64") -> None:
        v = d if kind == "f64" else ints
        t.do(f"call void @llvm.masked.store.v{lanes}{kind}.p0({v} {value}, ptr {place}, i32 8, {m} {mask})")

    t.units_from("start")
    for k, name in enumerate(("units", "first", "values")):
        number = t.put(f"add i64 {t.put('mul i64 %u, 3')}, {k + 1}")
        t.put(f"load i64, ptr {t.put(f'getelementptr i64, ptr %geometry, i64 {number}')}", name)
    t.put(f"mul i64 %u, {len(ROWS) + 1}", "row")
    t.put(f"mul i64 %u, {2 * SLOTS}", "norms")
    t.put("sitofp i64 %values to double", "n")
    t.put("sitofp i64 %units to double", "width")
    t.do(f"br i1 {t.put('icmp sgt i64 %values, 0')}, label %seen, label %next")
    t.label("seen")
    t.do("br label %head")
    t.label("head")
    t.do("%j = phi i64 [ 0, %seen ], [ %j.next, %body ]")
    place = len(t.lines)
    t.put("sub i64 %units, %j", "left")
    t.do(f"br i1 {t.put('icmp sgt i64 %left, 0')}, label %body, label %after")
    t.label("body")
    inside = t.below("%left")
    made = []
    t.put("add i64 %first, %j", "column")

    def least(a: str, b: str) -> str:
        return t.put(f"select {m} {t.put(f'fcmp olt {d} {a}, {b}')}, {d} {a}, {d} {b}")

    for k in range(len(ROWS)):
        where = t.put(f"add i64 {t.put(f'mul i64 %stride, {k}')}, %column")
        kept, parts = at(1, where), [at(0, where), at(0, t.put(f"add i64 {where}, %apart"))]
        before, (value, other) = read(kept, inside), (read(p, inside) for p in parts)
        for part in parts:
            write("splat (double 0x7FF0000000000000)" if k >= 7 else "zeroinitializer", part, inside)
        if k >= 7:
            write(least(least(value, other), before), kept, inside)
            continue
        value = t.put(f"fadd {d} {value}, {other}")
        if k == 4:
            alive = t.put(f"fcmp ogt {d} {value}, zeroinitializer")
            value = t.put(f"select {m} {alive}, {d} splat (double 1.0), {d} zeroinitializer")
        write(t.put(f"fadd {d} {before}, {value}"), kept, inside)
        made.append(t.put(f"fadd {d} %sum.{k}, {value}"))
        if k == 0:
            square = ", ".join(f"{d} {x}" for x in (value, value, "%sum.7"))
            means = t.put(f"call {d} @llvm.fma.v{lanes}f64({square})")
    last = read(at(2, "%column"), inside, "i64")
    back = t.put(f"and {m} {alive}, {t.put(f'icmp slt {ints} {last}, {late}')}")
    write(last, at(3, "%column"), back, "i64")
    write(t.put(f"select {m} {alive}, {ints} {now}, {ints} {last}"), at(2, "%column"), inside, "i64")
    some = t.put(f"zext i1 {t.put(f'call i1 @llvm.vector.reduce.or.v{lanes}i1({m} {back})')} to i64")
    t.put(f"or i64 %any, {some}", "any.next")
    t.do(f"%j.next = add i64 %j, {lanes}")
    t.do("br label %head")
    made.append(means)
    t.lines[place:place] = [
        "  %any = phi i64 [ 0, %seen ], [ %any.next, %body ]",
        *[f"  %sum.{k} = phi {d} [ zeroinitializer, %seen ], [ {x}, %body ]" for k, x in enumerate(made)],
    ]
    t.label("after")
    total = t.put("fmul double %n, %width")
    for k in range(8):
        one = t.put(f"call reassoc double @llvm.vector.reduce.fadd.v{lanes}f64(double 0.0, {d} %sum.{k})")
        by = "%width" if k == 4 else t.put(f"fmul double {total}, %n") if k == 7 else total
        t.do(f"store double {t.put(f'fdiv double {one}, {by}')}, ptr {at(4, t.put(f'add i64 %row, {k}'))}")
    for k in (0, 1):
        norms = at(5, t.put(f"add i64 %norms, {k * SLOTS}"))
        several = t.put(f"load <{SLOTS} x double>, ptr {norms}, align 8")
        one = t.put(
            f"call reassoc double @llvm.vector.reduce.fadd.v{SLOTS}f64(double 0.0, <{SLOTS} x double> {several})"
        )
        t.do(f"store <{SLOTS} x double> zeroinitializer, ptr {norms}, align 8")
        t.do(f"store double {one}, ptr {at(4, t.put(f'add i64 %row, {8 + k}'))}")
    flag = at(6, "0")
    seen = t.put(f"load i64, ptr {flag}")
    t.do(f"store i64 {t.put(f'or i64 {seen}, %any')}, ptr {flag}")
    t.do("br label %next")
    more = [
        f"declare {ints} @llvm.masked.load.v{lanes}i64.p0(ptr, i32, {m}, {ints})",
        f"declare void @llvm.masked.store.v{lanes}i64.p0({ints}, ptr, i32, {m})",
        f"declare i1 @llvm.vector.reduce.or.v{lanes}i1({m})",
    ]
    if lanes != SLOTS:
        more.append(f"declare double @llvm.vector.reduce.fadd.v{SLOTS}f64(double, <{SLOTS} x double>)")
    return t.module(("stride",), 7, more)


def _lanes() -> int:
    return 16 if "avx512f" in native.features() else 8


@cache
def step_over() -> native.NativeCall:
    """(-address of the layers, 1, 1, step, window, last, gone, rows, norms, flag, now, late): a step is over.

    The layers: how many; how far the rows of step and window lie apart; and of each layer how many units it has, the
    first one's column, and its values a unit in this step (none: it is left out). Adds the rows of the two parts of
    the step to those of the window, and clears them. last: when each unit was alive, int64; where it is again, and
    was not since before `late`, that is kept in gone and 1 in the flag. rows: of each layer the means of z, z^2, f,
    f^2, the share alive, flat, zero, and the mean square of the units' means; then the two sums of norms, (2, SLOTS)
    a layer, which are cleared."""
    return native.load_text(_step(8), Form(7, 2)).call


@cache
def squares() -> native.Loaded:
    """(size, groups, threads, a, b, result): adds the sums of squares of a and b, rows of so many float32, to the
    two rows of the result, which is of (2, SLOTS) float64; groups: at most SLOTS, each has its own column.
    kept: for a and b."""
    return native.load_text(_squares(_lanes()), Form(3, 0))


@cache
def kernel(planes: bool, rising: bool) -> native.Loaded:
    """(-address of the geometry, groups, threads, z, f, result, first, last, low, high): adds to the result.
    kept: for z and f.

    z, f: float32, contiguous. alive: blocks of rows with a value in first <= z <= last; flat: z < low or
    z > high; zero: f = 0. rising: last and high are infinite, and the extremes are left out.
    """
    return native.load_text((_planes if planes else _columns)(_lanes(), rising), Form(3, 4))


@lru_cache(maxsize=1024)
def geometry(
    rows: int, units: int, inner: int, stride: int, parts: int = 1
) -> tuple[ctypes.Array[ctypes.c_int64], int]:
    """For tensors of shape (rows, units, inner) and a result whose rows lie so far apart: the memory, which the
    caller keeps while the kernel runs, and what to call the kernel with. parts: with inner = 1, of the rows; the
    results lie one behind the other."""
    lanes = _lanes()
    vectors = units if inner > 1 else -(-units // lanes)
    block = _BLOCK if inner == 1 else max(1, _BLOCK * lanes // inner)
    work = vectors * (parts if inner == 1 else 1)
    made = (ctypes.c_int64 * 8)(work, rows, units, inner, stride, block, vectors, -(-rows // parts))
    return made, -ctypes.addressof(made) - 8
