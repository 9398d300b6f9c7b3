"""Every rule finds its example's fault, is silent on the repair, and explains itself."""

from __future__ import annotations

import pytest

from softknee.diagnose.examples import run
from softknee.diagnose.rules import RULES, Rule, find


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda r: r.name)
def test_example(rule: Rule) -> None:
    failing, repaired = run(rule.example.failing), run(rule.example.repaired)
    found = [f for f in failing.findings if f.code == rule.code and f.severity != "note"]
    assert found
    for f in found:
        assert f.evidence
        assert f.message
        assert f.cause.endswith(".")
        assert f.fix.endswith(".")
    assert repaired.healthy, repaired


def test_codes_and_names_are_unique() -> None:
    assert len({r.name for r in RULES.values()}) == len(RULES)
    assert all(code == rule.code for code, rule in RULES.items())
    assert find("dead_units") is find("SK101")
    with pytest.raises(ValueError, match="nearest: dead-units"):
        find("dead-unit")
