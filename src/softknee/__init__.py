"""softknee: every activation function, from one definition each.

>>> import softknee as sk
>>> sk.get("gelu")(-6.0)
-5.9195258702261885e-09

`from softknee import nn, functional as F` replaces torch's; `sk.names()` lists what there is.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

#: public name -> where it lives; imported on first use, so that `import softknee` is quick
_HOMES = {
    "Activation": "softknee.api:Activation",
    "Parameter": "softknee.api:Parameter",
    "define": "softknee.api:define",
    "get": "softknee.api:get",
    "names": "softknee.api:names",
    "explorer": "softknee.explorer",
    "functional": "softknee.nn.functional",
    "nn": "softknee.nn",
    "init": "softknee.nn.initialise",
    "options": "softknee.nn.options:options",
    "parameter_groups": "softknee.nn.regularise:parameter_groups",
    "swap": "softknee.nn.swap:swap",
    "check": "softknee.diagnose.session:check",
    "watch": "softknee.diagnose.watch:watch",
    "compare": "softknee.show.comparison:compare",
    "testing": "softknee.testing",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604

if TYPE_CHECKING:
    from softknee import compare, explorer, nn, testing
    from softknee.api import Activation, Parameter, define, get, names
    from softknee.diagnose.session import check
    from softknee.diagnose.watch import watch
    from softknee.nn import functional
    from softknee.nn import initialise as init
    from softknee.nn.options import options
    from softknee.nn.regularise import parameter_groups
    from softknee.nn.swap import swap


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"softknee has no {name!r}; it has: {', '.join(__all__)}")
    module, _, attribute = home.partition(":")
    found = import_module(module)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
