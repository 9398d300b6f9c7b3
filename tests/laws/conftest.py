"""What is known not to hold: each line is a limit that docs/accuracy.md states.

The marks are strict: a test that begins to pass fails until its line is removed.
"""

from __future__ import annotations

import pytest

CANCELS = "vanishes by cancellation: the error is small against the terms, not against their difference"

KNOWN: dict[str, str] = {
    "test_value_and_derivative[float64-xielu]": CANCELS,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.name in KNOWN:
            item.add_marker(pytest.mark.xfail(reason=KNOWN[item.name], strict=True))
