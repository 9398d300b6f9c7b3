"""The claims ledger is whole: every claim has its script, record and page; contradictions are reported."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from softknee import catalogue
from softknee.claims import (
    Entry,
    Evidence,
    Record,
    entries,
    laboratory,
    measured,
    overall,
    records,
    run_all,
)
from softknee.claims.entry import entry
from softknee.claims.record import kind, load, save
from softknee.claims.together import fit_together
from softknee.cli import app
from softknee.show.claims import picture

ROOT = Path(__file__).parents[2]
CLAIMS = entries()
CHEAP = ("printed-tensors", "celu-identities", "backward-step-by-hand", "gelu-sigma-to-zero")

SCRIPT = '''"""One is {claim}.

Taught: nowhere.

Practice: Count.
"""

TOPIC, ABOUT = "Choosing", ()


def measure(e):
    e.say("1")
    e.bars("one", {{"one": 1.0}}, "x")
    return {verdict}
'''


@pytest.fixture(scope="module")
def pages() -> object:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module("claims_pages")
    finally:
        sys.path.pop(0)


@pytest.mark.parametrize("one", CLAIMS, ids=lambda one: one.name)
def test_a_claim_is_whole(one: Entry, pages: object) -> None:
    source = one.script.read_text(encoding="utf-8")
    assert source.count("\n") <= 60, "a script is short because the library does the work"
    assert all(name in catalogue.names() for name in one.about)
    assert one.right if one.effect else not one.right
    record = records().get(one.name)
    assert record is not None, f"softknee claims run {one.name} --record"
    assert record.digest == one.digest, "the script has changed since it was recorded"
    assert kind(record.verdict)
    assert record.said
    assert record.figures
    text = pages.page(one, record)  # type: ignore[attr-defined]
    assert all(f"{one.name}-{i}-light.svg" in text for i in range(1, len(record.figures) + 1))


def test_no_record_is_left_over() -> None:
    assert set(records()) == {one.name for one in CLAIMS}


def test_scripts_measure_through_the_library() -> None:
    for one in CLAIMS:
        tree = ast.parse(one.script.read_text(encoding="utf-8"))
        assert [n.name for n in tree.body if isinstance(n, ast.FunctionDef)].count("measure") == 1, one.name


@pytest.mark.parametrize("name", CHEAP)
def test_a_cheap_claim_gives_its_recorded_verdict(name: str) -> None:
    (one,) = [e for e in CLAIMS if e.name == name]
    assert measured(one).contradictions(records()[name]) == []


def test_training_together_is_training_one_by_one() -> None:
    splits = [laboratory.data("digits", seed, samples=200) for seed in range(2)]
    for act, net in (("tanh", {}), ("prelu", {}), ("relu", {"norm": True})):
        kind_of = (lambda: laboratory.activation("prelu")) if act == "prelu" else act
        both = [[laboratory.mlp([64, 16, 10], kind_of, s, **net) for s in range(2)] for _ in range(2)]
        x, y = (torch.stack([getattr(s, name) for s in splits]) for name in "xy")
        together = fit_together(both[0], x, y, epochs=2, optimiser="sgd", lr=0.1)
        alone = [
            laboratory.fit(both[1][s], splits[s], epochs=2, optimiser="sgd", lr=0.1, seed=s) for s in range(2)
        ]
        np.testing.assert_allclose(together, alone, rtol=1e-4)
        for one, other in zip(*both, strict=True):
            for p, q in zip(one.parameters(), other.parameters(), strict=True):
                torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)


def test_a_difference_needs_interval_and_test() -> None:
    random = np.random.default_rng(0)
    base = random.normal(0.9, 0.01, 8)
    found = Evidence().tests("t", {"a": base, "b": base + 0.05, "c": base + np.array([1, -1] * 4) / 100})
    assert (found["b"], found["c"]) == ("higher", "same")
    few = Evidence().tests("t", {"a": base[:4], "b": base[:4] + random.normal(0.05, 0.001, 4)})
    assert few["b"] == "same"  # four seeds cannot show it: the smallest p is 1/8


def test_one_verdict_out_of_several() -> None:
    assert overall(["holds", "holds"], "x") == "holds"
    assert (
        overall(["holds", "refuted"], "x")
        == overall(["holds", "not distinguishable"], "x")
        == "holds only if x"
    )
    assert overall(["refuted", "not distinguishable"], "x") == "refuted"


def test_published_numbers_stand_beside() -> None:
    e = Evidence()
    base = np.linspace(0.8, 0.9, 8)
    test = e.tests(None, {"relu": base, "elu": base + 0.02})
    assert e.tables == e.figures == []
    assert (test.verdict("elu", "higher"), test.verdict("elu", "lower")) == ("holds", "refuted")
    e.beside("t", {"relu": 90.0, "elu": 91.5}, test)
    (first, second) = e.tables[0]["rows"]
    assert first[:3] == ["relu", "90.00", ""]
    assert second[:3] == ["elu", "91.50", "+1.50"]
    assert second[4].startswith("+2.0")


def test_networks_of_compare_are_chosen_by_validation_data() -> None:
    ((_, found),) = laboratory.compared(
        "iris", "relu,prelu", seeds=2, lr=(1e-6, 1e-2), epochs=4, depth=2, width=8
    ).items()
    assert list(found) == ["relu", "prelu"]
    assert all(score > 0.5 for score in laboratory.scores(found)["relu"])  # the small rate learns nothing
    assert len(found["prelu"][0].learned["weight"]) == 5


def test_a_moving_picture_shows_one_frame_at_a_time() -> None:
    e = Evidence()
    e.frames("t", [0.0, 1.0], {f"epoch {i}": {"a": [0.0, i]} for i in range(3)})
    drawn = picture(e.figures[0])
    assert drawn.count("<animate ") == 6
    assert drawn.count('visibility="visible"') == 2  # what is seen where nothing moves: the last


def _script(folder: Path, name: str, verdict: str) -> Entry:
    path = folder / f"{name}.py"
    path.write_text(SCRIPT.format(claim="one", verdict=verdict), encoding="utf-8")
    return entry(path)


def test_runs_are_kept_and_failures_said(tmp_path: Path) -> None:
    good, out = _script(tmp_path, "good", "'holds'"), tmp_path / "out"
    heard: list[str] = []
    found = run_all(
        [good], out, 2, lambda one, result, done, total: heard.append(f"{one.name} {done}/{total}")
    )
    assert isinstance(found["good"], Record)
    assert found["good"].verdict == "holds"
    assert heard == ["good 1/1"]
    before = (out / "good.json").stat().st_mtime_ns
    again = run_all([good], out, 1, lambda *heard: None)
    assert isinstance(again["good"], Record)
    assert (out / "good.json").stat().st_mtime_ns == before  # taken from where it was kept
    changed = _script(tmp_path, "good", "1 / 0")
    assert "ZeroDivisionError" in str(run_all([changed], out, 1, lambda *heard: None)["good"])


def test_a_contradiction_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = next(e for e in CLAIMS if e.name == CHEAP[0])
    right = records()[one.name]
    out = tmp_path / "out"
    planted = Record(**{**right.__dict__, "verdict": "refuted"})
    save(planted, out)
    assert load(out / f"{one.name}.json").contradictions(right) == ["recorded: holds; this run: refuted"]
    monkeypatch.setattr("softknee.compare.experiment.versions", dict)  # so that it counts as finished
    done = CliRunner().invoke(app, ["claims", "run", one.name, "--out", str(out)])
    assert done.exit_code == 1
    assert "contradiction" in done.output


def test_the_command_line_lists_and_names_the_nearest() -> None:
    done = CliRunner().invoke(app, ["claims"])
    assert done.exit_code == 0
    assert all(one.name in done.output for one in CLAIMS)
    wrong = CliRunner().invoke(app, ["claims", "show", "gelu-rang"])
    assert wrong.exit_code == 2
