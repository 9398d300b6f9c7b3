"""The expression language: nodes, and one operation on them a module."""

from softknee.lang.nodes import *  # noqa: F403
from softknee.lang.nodes import __all__ as __all__
