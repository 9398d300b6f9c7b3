"""Where functions go wrong, in torch and elsewhere: what is right, what torch gives and what softknee gives.

    python benchmarks/defects.py               a table in the terminal
    python benchmarks/defects.py --markdown    the same for the documentation

`tests/laws/test_numerics_table.py` holds softknee to every row. All values are of float32 on the CPU.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import mpmath as mp
import torch
from rich.console import Console
from rich.table import Table

import softknee as sk
from softknee.testing import Exact, ulp_error

INF, NAN, ZERO = math.inf, math.nan, 0.0
LARGEST = float(torch.finfo(torch.float32).max)
ORDERS = ("", "'", "''")


@dataclass(frozen=True)
class Defect:
    """others: what is known to go wrong; right: the float32 result, or None: what the formula gives."""

    others: str
    name: str
    arguments: dict[str, Any] = field(hash=False)
    order: int
    x: float
    right: float | None = None

    @cached_property
    def exact(self) -> Any:
        if self.right is not None:
            return mp.mpf(self.right)
        definition = sk.get(self.name).definition
        choices = {n: v for n, v in self.arguments.items() if n in definition.choices}
        truth = Exact(definition.chosen(choices), dict(definition.defaults), definition.kinks)
        return truth.derivative(float(torch.tensor(self.x)), self.order)

    def ulp(self, got: float) -> float:
        """The error of a float32 result; a derivative at a root is counted in units of 1/4"""
        floor = 0.25 if self.order and "root" in self.others else 0.0
        return ulp_error(got, self.exact, "float32", floor=floor)

    @property
    def function(self) -> str:
        given = "".join(f", {n}={v}" for n, v in self.arguments.items())
        return f"{self.name}{ORDERS[self.order]}({self.x:.8g}{given})"


def results(
    functions: Any, defect: Defect, points: Sequence[float], dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """What softknee.functional or torch.nn.functional gives."""
    x = torch.tensor(points, dtype=torch.float64).to(dtype).requires_grad_(defect.order > 0)
    y = getattr(functions, defect.name)(x, **defect.arguments)
    for _ in range(defect.order):
        (y,) = torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)
    return y.detach()


TABLE = [
    Defect("17 % off", "gelu", {}, 0, -5.0),
    Defect("57 % off", "gelu", {}, 0, -5.5),
    Defect("exactly 0 below -6", "gelu", {}, 0, -8.0),
    Defect("exactly 0 in the subnormals", "gelu", {}, 0, -14.0),
    Defect("NaN", "gelu", {}, 0, INF, INF),
    Defect("NaN", "gelu", {}, 0, -INF, ZERO),
    Defect("NaN at large finite x", "gelu", {}, 0, -LARGEST, ZERO),
    Defect("NaN at large finite x", "gelu", {}, 0, LARGEST, LARGEST),
    Defect("as bad as the value", "gelu", {}, 1, -5.5),
    Defect("NaN gradient", "gelu", {}, 1, INF, 1.0),
    Defect("NaN gradient", "gelu", {}, 1, -INF, ZERO),
    Defect("30 % off", "gelu", {"approximate": "tanh"}, 0, -5.0),
    Defect("0 below -5.06", "gelu", {"approximate": "tanh"}, 0, -5.5),
    Defect("NaN gradient", "gelu", {"approximate": "tanh"}, 1, -1e30, ZERO),
    Defect("NaN", "silu", {}, 0, -INF, ZERO),
    Defect("NaN gradient", "silu", {}, 1, -INF, ZERO),
    Defect("NaN gradient", "silu", {}, 1, INF, 1.0),
    Defect("NaN", "mish", {}, 0, -INF, ZERO),
    Defect("NaN gradient", "mish", {}, 1, -INF, ZERO),
    Defect("NaN gradient", "mish", {}, 1, INF, 1.0),
    Defect("NaN", "hardswish", {}, 0, -INF, ZERO),
    Defect("NaN second derivative", "mish", {}, 2, 100.0),
    Defect("second derivative 0", "mish", {}, 2, 12.0),
    Defect("gradient exactly 0 from 16.64", "sigmoid", {}, 1, 17.0),
    Defect("gradient exactly 0 from 16.64", "sigmoid", {}, 1, 88.0),
    Defect("gradient exactly 0 from 9.01", "tanh", {}, 1, 10.0),
    Defect("gradient exactly 0 from 9.01", "tanh", {}, 1, -40.0),
    Defect("second derivative 0", "silu", {}, 2, 20.0),
    Defect("second derivative 0", "sigmoid", {}, 2, 20.0),
    Defect("second derivative 0", "logsigmoid", {}, 2, 20.0),
    Defect("17 % off in the second derivative", "softplus", {}, 2, 15.0),
    Defect("infinite", "softplus", {"beta": 1e30}, 0, 1.0, 1.0),
    Defect("0 instead of 3.3e-13", "tanhshrink", {}, 0, 1e-4),
    Defect("4.8 % off", "tanhshrink", {}, 0, 1e-3),
    Defect("NaN", "softsign", {}, 0, INF, 1.0),
    Defect("NaN", "softsign", {}, 0, -INF, -1.0),
    Defect("NaN gradient", "softsign", {}, 1, INF, ZERO),
    Defect("infinity above 5.7e37", "hardswish", {}, 0, 1e38, 1e38),
    Defect("857 ULP around its root", "silu", {}, 1, -1.2784645),
    Defect("1,736 ULP around its root", "mish", {}, 1, -1.1924012),
    Defect("NaN gradient: 0 times inf in the branch not taken", "elu", {}, 1, 100.0, 1.0),
    Defect("NaN gradient: 0 times inf in the branch not taken", "elu", {}, 1, 710.0, 1.0),
    Defect("NaN gradient: 0 times inf in the branch not taken", "celu", {}, 1, 100.0, 1.0),
    Defect("NaN gradient: 0 times inf in the branch not taken", "selu", {}, 1, 1e4),
    Defect("all digits lost near 0", "elu", {}, 0, -1e-20),
    Defect("slope at 0: alpha, the left one", "elu", {"alpha": 2.0}, 1, 0.0, 2.0),
    Defect("slope at 0: the left one", "selu", {}, 1, 0.0, 1.7580993408473766),
    Defect("digits lost below 1e-7", "gelu", {}, 0, 1e-9),
    Defect("NaN becomes 0", "softshrink", {}, 0, NAN, NAN),
    Defect("NaN differs between vector and tail", "hardshrink", {}, 0, NAN, NAN),
    Defect("libraries disagree at 3", "hardswish", {}, 1, 3.0),
    Defect("libraries disagree at -3", "hardswish", {}, 1, -3.0),
    Defect("libraries disagree at 3", "hardsigmoid", {}, 1, 3.0),
    Defect("libraries disagree at -3", "hardsigmoid", {}, 1, -3.0),
]


#: errors above this, in ULP, are defects and not rounding
ROUNDING = 8
WRONG = ("float32", "right", "torch", "off by", "ULP", "softknee", "ULP")
ELSEWHERE = ("float32", "right", "torch", "softknee", "ULP", "what goes wrong elsewhere")


def torch_result(defect: Defect) -> float:
    return float(results(torch.nn.functional, defect, [defect.x])[0])


def tables() -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """(title, heads, rows): where torch is wrong, and where others are"""
    wrong, elsewhere = [], []
    for d in TABLE:
        theirs, ours = torch_result(d), float(results(sk.functional, d, [d.x])[0])
        start, own = (d.function, _digits(d.exact), _digits(theirs)), (_digits(ours), f"{d.ulp(ours):.2f}")
        if d.ulp(theirs) > ROUNDING:
            error = d.ulp(theirs)
            wrong.append((*start, _share(theirs, d.exact), "" if error == INF else f"{error:,.0f}", *own))
        else:
            elsewhere.append((*start, *own, d.others))
    yield "torch is wrong", WRONG, wrong
    yield "Other libraries, or other builds of torch, are wrong", ELSEWHERE, elsewhere


def _share(got: float, right: Any) -> str:
    if not math.isfinite(got) or not right:
        return ""
    share = float(100 * abs(got - right) / abs(right))
    return f"{share:.0f}\N{NO-BREAK SPACE}%" if share >= 10 else f"{share:.2g}\N{NO-BREAK SPACE}%"


def _digits(value: Any) -> str:
    if value != value:
        return "NaN"
    digits = mp.nstr(mp.mpf(value), 6, strip_zeros=True).replace("+inf", "inf").removesuffix(".0")
    return digits.replace(".0e", "e").replace("-", "\N{MINUS SIGN}")


def markdown() -> str:
    """The tables, as the documentation shows them"""
    parts = []
    for title, heads, rows in tables():
        lines = [
            "| " + " | ".join(heads) + " |",
            "| --- |" + " ---: |" * (len(heads) - 2) + (" --- |" if heads is ELSEWHERE else " ---: |"),
        ]
        lines += ["| `" + r[0] + "` | " + " | ".join(r[1:]) + " |" for r in rows]
        parts += [f"## {title}", "\n".join(lines)]
    return "\n\n".join([*parts, f"Computed with torch {torch.__version__.partition('+')[0]} on the CPU."])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--markdown", action="store_true")
    if parser.parse_args().markdown:
        print(markdown())
        return
    for title, heads, rows in tables():
        table = Table(*heads, title=title)
        for row in rows:
            table.add_row(*row)
        Console().print(table)


if __name__ == "__main__":
    main()
