"""The rules: each looks at what was measured and says what is wrong. One file a group of them."""

from __future__ import annotations

from softknee.diagnose.rules import conditions, flow, learning, structure, units
from softknee.diagnose.rules.base import Context, Example, Rule, named

__all__ = ["RULES", "Context", "Example", "Rule", "find"]

#: every rule, by its code
RULES: dict[str, Rule] = {
    rule.code: rule for module in (units, flow, conditions, structure, learning) for rule in module.RULES
}


def find(name: str) -> Rule:
    """A rule by its name or code; what is neither is a ValueError that names the nearest ones."""
    return named(RULES.values(), name)
