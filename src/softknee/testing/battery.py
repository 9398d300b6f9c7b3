"""`check_activation`: every law on one activation, and a report of what holds, fails and is not known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from softknee import catalogue
from softknee.catalogue.definition import Definition
from softknee.testing import laws, mechanics
from softknee.testing.cases import Case, cases_of
from softknee.testing.laws import Failure

__all__ = ["CheckError", "CheckReport", "check_activation"]

DTYPES = ("float32", "float64", "bfloat16", "float16")


class CheckError(AssertionError):
    """An activation breaks a law; `report` says which, where and by how much."""

    def __init__(self, report: CheckReport) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass
class CheckReport:
    """What `check_activation` found.

    failures: the laws that were broken. unproven: what could not be decided, such as a limit that was
    not found. passed: the laws that hold. errors: (type, order of derivative) -> the largest error in
    ULP and the number of points it was measured at.
    """

    name: str
    failures: list[Failure] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    errors: dict[tuple[str, int], tuple[float, int]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.failures

    def __bool__(self) -> bool:
        return self.ok

    def _summary(self) -> str:
        if self.ok:
            return f"{self.name}: all {len(self.passed)} laws hold"
        broken = sorted({f.law for f in self.failures})
        return (
            f"{self.name}: breaks {len(broken)} of {len(broken) + len(self.passed)} laws: {', '.join(broken)}"
        )

    def _lines(self) -> list[str]:
        lines = []
        for (dtype, order), (worst, count) in self.errors.items():
            bound = laws.BOUNDS[dtype][order]
            allowed = "correctly rounded" if bound == 0.5 else f"{bound:g}"
            lines.append(
                f"{dtype:9} {('value', 'derivative')[order]:10} {worst:8.3g} ULP at most in {count} points (allowed: {allowed})"
            )
        return lines

    def __str__(self) -> str:
        lines = [self._summary(), *("  " + line for line in self._lines())]
        if self.passed:
            lines.append("  holds: " + ", ".join(self.passed))
        for law in sorted({f.law for f in self.failures}):
            found = [f for f in self.failures if f.law == law]
            lines += [f"  FAILS  {f}" for f in found[:5]]
            if len(found) > 5:
                lines.append(f"         ... and {len(found) - 5} more of this law")
        lines += [f"  not proven: {text}" for text in self.unproven]
        return "\n".join(lines)

    __repr__ = __str__

    def __rich_console__(self, console: Any, options: Any) -> Iterable[Any]:
        from rich.table import Table
        from rich.text import Text

        yield Text(self._summary(), style="bold green" if self.ok else "bold red")
        table = Table("type", "of", "largest error (ULP)", "allowed", "points")
        for (dtype, order), (worst, count) in self.errors.items():
            bound = laws.BOUNDS[dtype][order]
            allowed = "correctly rounded" if bound == 0.5 else f"{bound:g}"
            table.add_row(dtype, ("value", "derivative")[order], f"{worst:.3g}", allowed, str(count))
        if self.errors:
            yield table
        for f in self.failures[:20]:
            yield Text(str(f), style="red")
        if len(self.failures) > 20:
            yield Text(f"... and {len(self.failures) - 20} more", style="red")
        for text in self.unproven:
            yield Text(f"not proven: {text}", style="yellow")


def definition_of(activation: Any) -> Definition:
    """The definition of a name, an Activation, an activation module or function, or a definition itself."""
    if isinstance(activation, Definition):
        return activation
    if isinstance(activation, str):
        return catalogue.get(activation)
    found = getattr(activation, "definition", None)
    if isinstance(found, Definition):
        return found
    raise TypeError(
        "check_activation takes the name of an activation, an Activation (softknee.get, softknee.define) or a "
        f"Definition, got {type(activation).__name__}: {activation!r:.60}"
    )


def check_activation(
    activation: Any,
    *,
    dtypes: Sequence[str] = DTYPES,
    samples: int = 64,
    compile: bool = False,
    raises: bool = True,
) -> CheckReport:
    """Tries every law on an activation: accuracy of value and derivative against mpmath on its formula,
    limits at infinity, NaN, overflow, kinks, gradients of every kind, layouts, transforms, modules.

    dtypes: the types to try, by name or as torch dtypes. samples: random points a type, besides the
    hard ones. compile: also under torch.compile, which takes some seconds. raises: a broken law is a
    `CheckError` that carries the report; else only the report says it.

    >>> import softknee as sk
    >>> sk.testing.check_activation("softsign", dtypes=["float32"], samples=8).ok
    True
    """
    definition = definition_of(activation)
    names = tuple(str(getattr(d, "name", d)).removeprefix("torch.") for d in dtypes)
    if unknown := [n for n in names if n not in DTYPES]:
        raise ValueError(f"dtypes must be among {', '.join(DTYPES)}, got {unknown[0]!r}")
    report = CheckReport(definition.name)
    for p in definition.parameters:
        if p.default is None and p.example is None:
            report.unproven.append(
                f"the parameter {p.name!r} has no default and no example: tried at 0.75 only"
            )

    def law(name: str, run: Callable[[Case], list[Failure]], cases: Iterable[Case]) -> None:
        found = []
        for case in cases:
            try:
                found += run(case)
            except Exception as error:  # noqa: BLE001 - a law that cannot be tried is not a law that holds
                found.append(
                    Failure(name, str(case), f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
                )
        report.failures.extend(found)
        if not found:
            report.passed.append(name)

    for dtype in names:
        cases = cases_of(definition, dtype)

        def accuracy(case: Case, dtype: str = dtype) -> list[Failure]:
            points = [v for v in case.points(dtype, samples) if math.isfinite(v)]
            found, worst = laws.accuracy(case, dtype, points)
            for order, error in enumerate(worst):
                before = report.errors.get((dtype, order), (0.0, 0))
                report.errors[dtype, order] = max(before[0], error), before[1] + len(points)
            return found

        def limits(case: Case, dtype: str = dtype) -> list[Failure]:
            found, unproven = laws.limits(case, dtype)
            report.unproven += [text for text in unproven if text not in report.unproven]
            return found

        law(f"accuracy in {dtype}", accuracy, cases)
        law(f"limits and NaN in {dtype}", limits, cases)
        law(f"no NaN, no overflow in {dtype}", lambda case, dtype=dtype: laws.totality(case, dtype), cases)
    cases = cases_of(definition)
    law("kinks", laws.kinks, cases)
    law("higher derivatives", laws.derivatives_agree, cases)
    law("gradcheck", mechanics.gradients, cases)
    law("parameter gradients", mechanics.parameter_gradients, [c for c in cases if c.tensors])
    law("dtypes", lambda case: mechanics.dtypes(case, names), cases)
    law("strides", mechanics.strides, cases)
    law("transforms", mechanics.transforms, cases)
    law("in place", mechanics.in_place, cases)
    law("modules", mechanics.modules, cases)
    if compile:
        law("compile", mechanics.compiled, cases)
    if raises and not report.ok:
        raise CheckError(report)
    return report
