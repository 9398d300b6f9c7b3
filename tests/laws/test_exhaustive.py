"""Every one of the 65,536 inputs of both 16-bit types: `make exhaustive`; in CI the function that looks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests import exhaustive
from tests.laws.common import every

import softknee as sk
from softknee.catalogue import Definition
from softknee.testing import cases_of
from softknee.testing.metric import FORMATS


@pytest.mark.exhaustive
@every
@pytest.mark.parametrize("dtype", exhaustive.TYPES)
@pytest.mark.parametrize("order", [0, 1], ids=exhaustive.ORDERS)
def test_every_16_bit_input(definition: Definition, dtype: str, order: int) -> None:
    for case in cases_of(definition, dtype):
        wrong, worst, _ = exhaustive.wrong_results(case, dtype, order)
        assert not wrong, (
            f"{case}: {len(wrong)} results are not correctly rounded, up to {worst:.3g} ULP: {wrong[:3]}"
        )


def test_every_function_is_recorded() -> None:
    """What is published: no result is wrong."""
    recorded = {e["what"]: e["wrong"] for e in map(json.loads, exhaustive.RESULTS.read_text().splitlines())}
    assert recorded == dict.fromkeys(
        (exhaustive.key_of(*task) for task in exhaustive.tasks([], list(exhaustive.TYPES))), 0
    )


@pytest.mark.parametrize("dtype", exhaustive.TYPES)
def test_rounding_to_16_bits(dtype: str) -> None:
    every_number = exhaustive.every_number(dtype).double().numpy()
    assert len(every_number) == 65_536
    kept = exhaustive.nearest(every_number, FORMATS[dtype])
    assert np.array_equal(kept, every_number, equal_nan=True)
    values = np.random.default_rng(0).normal(size=2000) * np.exp2(
        np.random.default_rng(1).uniform(-30, 18, 2000)
    )
    values = values.astype(np.float32).astype(np.float64)  # from float32 torch rounds once
    want = torch.from_numpy(values).float().to(getattr(torch, dtype)).double().numpy()
    assert np.array_equal(exhaustive.nearest(values, FORMATS[dtype]), want)


@pytest.mark.parametrize("name", ["silu", "softshrink"])
def test_one_function_at_every_input(name: str) -> None:
    (case,) = cases_of(sk.get(name).definition, "bfloat16")
    assert exhaustive.wrong_results(case, "bfloat16", 1)[0] == []


def test_it_resumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results" / "exhaustive.jsonl"
    assert exhaustive.main(["relu", "--dtype", "float16", "--out", str(out)]) == 0
    assert [json.loads(line)["wrong"] for line in out.read_text().splitlines()] == [0, 0]
    out.write_text(out.read_text() + '{"cut sh')
    assert exhaustive.main(["relu", "--dtype", "float16", "--out", str(out)]) == 0
    assert "2 are done already" in capsys.readouterr().out
