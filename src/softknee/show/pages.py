"""What HTML pages share: how their templates are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["environment"]


def environment(filters: dict[str, Callable[..., Any]]) -> Environment:
    """The templates of this package; what they show is escaped, and a name that is not given is an error."""
    made = Environment(
        loader=PackageLoader("softknee.show"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    made.filters |= filters
    return made
