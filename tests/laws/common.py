"""What the laws share: the cases of every definition, once a process, and how failures are shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import pytest

from softknee import catalogue
from softknee.catalogue import Definition
from softknee.lang.evaluate import evaluate
from softknee.testing import Case, Failure, cases_of

DEFINITIONS = catalogue.all_definitions()
every = pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda d: d.name)
parametrised = pytest.mark.parametrize(
    "definition", [d for d in DEFINITIONS if d.parameters], ids=lambda d: d.name
)
learnable = pytest.mark.parametrize(
    "definition", [d for d in DEFINITIONS if d.learnable], ids=lambda d: d.name
)
TYPES = ("float32", "float64", "bfloat16", "float16")
every_type = pytest.mark.parametrize("dtype", TYPES)


@lru_cache(maxsize=512)
def cases(definition: Definition, dtype: str | None = None) -> list[Case]:
    return cases_of(definition, dtype)


#: what parameters are multiplied with, to leave their defaults and special values
FACTORS = (1.375, 0.3, -0.7, 19.5)


def unusual(definition: Definition) -> list[Case]:
    """Cases away from the default parameters, as Python numbers, as far as the constraints allow."""
    found = []
    for factor in FACTORS:
        values = {}
        for k, p in enumerate(definition.parameters):
            usual = p.default if p.default is not None else p.example
            values[p.name] = float(usual or 0.4) * factor + 0.1 * k
        try:
            if all(evaluate(c, values) for c in definition.constraints):
                found += [Case(definition, c.choices, values) for c in cases(definition)]
        except ZeroDivisionError:
            continue
    return found


def assert_none(failures: Sequence[Failure]) -> None:
    """Shows the first ten: a pytest message, one line each."""
    if failures:
        more = f"\n... and {len(failures) - 10} more" if len(failures) > 10 else ""
        pytest.fail("\n".join(map(str, failures[:10])) + more, pytrace=False)
