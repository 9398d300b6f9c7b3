"""What all tests share: where kernels are cached, how Hypothesis draws, no window for a plot."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings


@pytest.fixture(autouse=True)
def own_activations_go() -> Iterator[None]:
    """What a test defines does not stay in the catalogue."""
    from softknee import catalogue

    tables = (catalogue._by_name, catalogue._by_key, catalogue._by_module)
    saved = [dict(table) for table in tables]
    yield
    for table, before in zip(tables, saved, strict=True):
        if table != before:
            table.clear()
            table.update(before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if " " in sys.prefix:
        for item in items:
            if item.get_closest_marker("inductor"):
                item.add_marker(
                    pytest.mark.skip(reason="torch's compiler does not quote the folder of its libraries")
                )


# Not the user's own cache; subprocesses inherit it. Kept from run to run, as a user's is.
os.environ.setdefault("SOFTKNEE_CACHE", str(Path(__file__).parents[1] / ".pytest_cache" / "kernels"))
os.environ["MPLBACKEND"] = "Agg"
# The kernels for GPUs are interpreted: before Triton is imported, and torch imports it.
os.environ.setdefault("TRITON_INTERPRET", "1")

# The same examples every time, so that a failure is the change's own; `exhaustive` draws anew.
settings.register_profile("default", derandomize=True, deadline=None, max_examples=30)
settings.register_profile("exhaustive", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("SOFTKNEE_TESTS", "default"))
