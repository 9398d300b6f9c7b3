"""Experiments: which activation to use, with evidence.

`softknee.compare(...)` runs a comparison; the package is callable, so that the function and the package may share
their name. `tasks -> protocol -> engine -> store -> statistics -> records`, one module each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = [
    "CompareError",
    "Comparison",
    "DataError",
    "Progress",
    "Recommendation",
    "Specification",
    "SpecificationError",
    "StoreError",
    "Task",
    "compare",
    "load",
    "parse",
    "recommend",
]

_HOMES = {
    "CompareError": "errors",
    "Comparison": "records",
    "DataError": "errors",
    "Progress": "schedule",
    "Recommendation": "advice",
    "Specification": "specification",
    "SpecificationError": "errors",
    "StoreError": "errors",
    "Task": "tasks",
    "compare": "experiment",
    "load": "data",
    "parse": "specification",
    "recommend": "advice",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Callable(ModuleType):
    """The package as its function: the one with a progress bar where `softknee.show` has put it, else the bare
    one, whose result can be drawn once `softknee.show.comparison` is imported."""

    front: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        from softknee.compare.experiment import compare

        if self.front is None and isinstance(keywords.get("progress"), bool):
            del keywords["progress"]  # whether to show a bar, which only the front has
        return (self.front or compare)(*args, **keywords)


sys.modules[__name__].__class__ = _Callable
