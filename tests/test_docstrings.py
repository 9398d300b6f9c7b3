"""Every example in a docstring runs and prints what stands below it."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[1] / "src"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def surroundings() -> dict[str, Any]:
    """What an example may use without saying so: a model, a batch, the usual imports."""
    import torch

    import softknee as sk
    from softknee import functional, nn

    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2))
    given = {"torch": torch, "sk": sk, "nn": nn, "F": functional, "model": model}
    return given | {"x": torch.randn(4, 3), "y": torch.zeros(4, dtype=torch.long), "cross_entropy": functional.cross_entropy}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_its_examples(name: str) -> None:
    module = import_module(name)
    given = surroundings()
    examples = doctest.DocTestFinder(exclude_empty=True).find(module, name)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for one in examples:
        assert not any(doctest.SKIP in e.options for e in one.examples), f"{one.name} skips an example"
        one.globs = {**given, **one.globs}
        runner.run(one, out=said.append)
    assert not runner.failures, "".join(said)
    assert runner.tries


def test_there_are_some() -> None:
    assert len(MODULES) > 10
