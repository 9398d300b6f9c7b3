"""Expressions stay small: the operations of f, f' and f'' may shrink, not grow.

tests/golden/operations.json holds what was counted. To accept a change that is meant, run this file
with SOFTKNEE_GOLDEN=write, and say in the commit why it had to grow.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from softknee import catalogue
from softknee.lang.cost import derivative_costs
from softknee.lang.nodes import substitute

GOLDEN = Path(__file__).parents[1] / "golden" / "operations.json"


def counted(definition: catalogue.Definition) -> list[int]:
    root = substitute(
        definition.chosen({}),
        {p.name: p.default for p in definition.parameters if p.default is not None and not p.learnable},
    )
    return [c.operations for c in derivative_costs(root)]


def test_no_expression_grew() -> None:
    found = {d.name: counted(d) for d in catalogue.all_definitions()}
    if os.environ.get("SOFTKNEE_GOLDEN") == "write" or not GOLDEN.exists():
        GOLDEN.parent.mkdir(exist_ok=True)
        lines = ",\n".join(f'"{name}": {counts}' for name, counts in found.items())
        GOLDEN.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    known = json.loads(GOLDEN.read_text(encoding="utf-8"))
    grown = {
        n: (known[n], c)
        for n, c in found.items()
        if n in known and any(a > b for a, b in zip(c, known[n], strict=True))
    }
    assert not grown, f"name: (operations of f, f', f'' before, now): {grown}"
    if unknown := sorted(set(found) - set(known)):
        pytest.fail(f"not counted yet (SOFTKNEE_GOLDEN=write): {', '.join(unknown)}") if len(
            unknown
        ) > 20 else None
    assert sum(map(sum, found.values())) <= sum(map(sum, known.values())) + 60 * len(unknown)
