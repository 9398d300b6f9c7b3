"""`from softknee import nn`: torch.nn, with every activation of the catalogue as a module.

The names torch.nn has are here under the same name, signature, `repr` and state_dict keys.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any


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
