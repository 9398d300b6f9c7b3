"""`from softknee import nn`: torch.nn, with every activation of the catalogue as a module.

The names torch.nn has are here under the same name, signature, `repr` and state_dict keys.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from importlib.util import find_spec, spec_from_loader
from typing import Any


class _Theirs(MetaPathFinder, Loader):
    """`from softknee.nn.utils import ...`: a submodule that torch.nn has and this package has not."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        other, _, rest = name.partition(f"{__name__}.")
        if other or not rest or ("." not in rest and PathFinder.find_spec(name, path) is not None):
            return None  # elsewhere, or a file of ours
        return None if find_spec(f"torch.nn.{rest}") is None else spec_from_loader(name, self)

    def exec_module(self, module: Any) -> None:
        # what stands in sys.modules is what the import gives
        sys.modules[module.__name__] = import_module("torch." + module.__name__.partition(".")[2])


# before the usual finder: that would make a second copy of a module of theirs, and put it into their package
sys.meta_path.insert(0, _Theirs())


def __getattr__(name: str) -> Any:
    if name == "__all__":  # `from softknee.nn import *`
        return __dir__()
    if name.startswith("__"):
        raise AttributeError(name)
    if name.islower() and find_spec(f"{__name__}.{name}") is not None:
        return import_module(f"{__name__}.{name}")  # our own functional, not torch's
    made = import_module(f"{__name__}.classes").find(name)
    if getattr(made, "__module__", "") == __name__ and made.definition.family != "user":
        globals()[name] = made
    return made


def __dir__() -> list[str]:
    import torch

    from softknee import catalogue
    from softknee.nn import beyond

    ours = [*(d.module for d in catalogue.all_definitions()), *beyond.MODULES]
    return sorted({*ours, *(n for n in dir(torch.nn) if not n.startswith("_"))})
